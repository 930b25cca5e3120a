"""The report's tables as text, for the terminal and for HTML."""
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from accel.report.activation_clock import BUDGETS
from accel.report.activation_paper import BASELINES, summary

Row = Mapping[str, Any]
#: Headings, and the text below them for a row.
Columns = Sequence[tuple[str, Callable[[Row], str]]]


@dataclass(frozen=True)
class Sheet:
    """A table of texts; ``sections`` are the rows that a line is drawn above."""

    title: str
    headings: list[str]
    rows: list[list[str]]
    sections: frozenset[int] = frozenset()
    left: int = 1

    def rich(self) -> Table:
        """For the terminal."""
        table = Table(title=self.title, box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
        for number, heading in enumerate(self.headings):
            left = number < self.left
            table.add_column(heading, justify="left" if left else "right", no_wrap=left)
        for number, row in enumerate(self.rows):
            if number in self.sections:
                table.add_section()
            table.add_row(*row)
        return table


def row_sheet(rows: Sequence[Row]) -> Sheet:
    """Every circuit with what it is compared with."""
    columns: Columns = [
        ("function", lambda row: str(row["function"])), ("formats", _formats),
        ("contract", lambda row: str(row["contract"])),
        ("target", lambda row: str(row["target"])), ("LUT4", _plain("lut4")), ("levels", _levels),
        *([("gates", _plain("gates"))] if any(row["gates"] for row in rows) else []),
        ("max ulp", _fixed("max_ulp", 3)), ("mean ulp", _fixed("mean_ulp")),
        ("monotone", _monotone),
        ("case LUT4", lambda row: f"{row['case_lut4']}({row['case_nowidelut_lut4']})"),
        ("ratio", _fixed("ratio_case")), ("bip. LUT4", _plain("bipartite_lut4")),
        ("ratio", _fixed("ratio_bipartite")), ("µm²", _fixed("area_um2", 1)),
        ("ps", _fixed("delay_ps", 0)), ("case/ area", _fixed("ratio_case_area")),
        ("bip./ area", _fixed("ratio_bipartite_area")), ("proven", _yes("proven", no="NO"))]
    if any(row["clock_mhz"] for row in rows):
        columns = [*columns, ("MHz", _clock)]
    return _sheet("Activation circuits", columns, rows, left=4,
                  group=lambda row: (row["function"], row["in_format"], row["out_format"]))


def paper_sheets(rows: Sequence[Row]) -> list[Sheet]:
    """The paper's circuits, and the ranges of their ratios."""
    names = tuple(BASELINES)
    whole: Columns = [
        ("circuit", lambda row: str(row["name"])), ("contract", lambda row: str(row["contract"])),
        *((name, _fixed(f"{name}_area_um2", 1)) for name in names), ("ours", _fixed("area_um2", 1)),
        *((f"{name} /ours", _fixed(f"ratio_{name}")) for name in names),
        ("ps", _fixed("delay_ps", 0)), ("GHz", _fixed("clock_ghz")),
        ("fast ps", _fixed("fast_delay_ps", 0)), ("fast GHz", _fixed("fast_clock_ghz")),
        ("mux ps", _fixed("mux_delay_ps", 0)), ("table ps", _fixed("table_delay_ps", 0)),
        ("max ulp", _fixed("max_ulp", 3)), ("proven", _yes("proven", no="NO"))]
    ranges: Columns = [
        ("function", lambda row: str(row["function"])),
        ("contract", lambda row: str(row["contract"])),
        *((f"{name}/ours", _range(f"ratio_{name}")) for name in names),
        ("published", _range("published_ratio")), ("GHz, smallest", _range("clock_ghz")),
        ("GHz, fastest", _range("fast_clock_ghz")), ("published GHz", _fixed("published_ghz"))]
    return [_sheet("The paper's 18 circuits: areas in µm², delays in ps", whole, rows, left=2,
                   group=lambda row: row["name"]),
            _sheet("Ranges over the points, beside the published ones", ranges, summary(rows),
                   left=2, group=lambda row: row["function"])]


def _sheet(title: str, columns: Columns, rows: Sequence[Row], *, left: int,
           group: Callable[[Row], object]) -> Sheet:
    keys = [group(row) for row in rows]
    return Sheet(title, [heading for heading, _ in columns],
                 [[text(row) for _, text in columns] for row in rows],
                 frozenset(_changes(keys)), left)


def _changes(keys: Sequence[object]) -> Iterable[int]:
    return (number for number, (a, b) in enumerate(pairwise(keys), 1) if a != b)


def _plain(key: str) -> Callable[[Row], str]:
    return lambda row: "-" if row[key] is None else str(row[key])


def _fixed(key: str, digits: int = 2) -> Callable[[Row], str]:
    return lambda row: "-" if row[key] is None else f"{row[key]:,.{digits}f}"


def _yes(key: str, *, no: str) -> Callable[[Row], str]:
    return lambda row: "yes" if row[key] else no


def _range(key: str) -> Callable[[Row], str]:
    return lambda row: " - ".join(f"{end:.2f}" for end in row[key])


def _formats(row: Row) -> str:
    same = row["in_format"] == row["out_format"]
    return str(row["in_format"]) if same else f"{row['in_format']} > {row['out_format']}"


def _levels(row: Row) -> str:
    return f"{row['levels']}" + (f" of {row['max_levels']}" if row["max_levels"] else "")


def _monotone(row: Row) -> str:
    if row["cost_lut4"] is not None:
        return f"{row['cost_lut4']:+d} LUT4"
    return "yes" if row["is_monotone"] else "-"


def _clock(row: Row) -> str:
    if row["clock_mhz"] is None:
        return ""
    eight = row["in_format"] == row["out_format"] == "Q3.5"
    budget = BUDGETS.get(row["function"]) if eight else None
    return f"{row['clock_mhz']:.0f}" + (f" of {budget}" if budget else "")
