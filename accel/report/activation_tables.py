"""The report's tables as text, for the terminal and for HTML."""
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

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


def row_sheets(rows: Sequence[Row]) -> list[Sheet]:
    """Circuits with what they are compared with: in LUTs, and in cells."""
    names = [*dict.fromkeys(_what(row) for row in rows)]
    rows = sorted(rows, key=lambda row: names.index(_what(row)))
    first: Columns = [
        ("function", lambda row: str(row["function"])), ("formats", _formats),
        ("contract", lambda row: str(row["contract"])), ("target", _target)]
    last: Columns = [("max ulp", _max_ulp), ("mean ulp", _fixed("mean_ulp")),
                     ("monotone", _monotone), ("proven", _yes("proven", no="NO"))]
    luts: Columns = [
        *first, ("LUT4", _plain("lut4")), ("levels", _plain("levels")),
        ("case LUT4", _plain("case_lut4")), ("ratio", _fixed("ratio_case")),
        ("bipartite LUT4", _plain("bipartite_lut4")), ("ratio", _fixed("ratio_bipartite")), *last]
    if any(row["clock_mhz"] for row in rows):
        luts = [*luts, ("MHz", _clock)]
    cells: Columns = [
        *first, ("gates", _plain("gates")), ("µm²", _fixed("area_um2", 1)),
        ("ps", _fixed("delay_ps", 0)), ("fast µm²", _fixed("fast_area_um2", 1)),
        ("fast ps", _fixed("fast_delay_ps", 0)), ("case µm²", _fixed("case_area_um2", 1)),
        ("ratio", _fixed("ratio_case_area")), ("bipartite µm²", _fixed("bipartite_area_um2", 1)),
        ("ratio", _fixed("ratio_bipartite_area")), *last]
    in_luts = [row for row in rows if row["gates"] is None]
    in_cells = [row for row in rows if row["gates"] is not None or row["area_um2"] is not None]
    return [_sheet(title, columns, some, left=4, group=_what) for title, columns, some in (
        ("Activation circuits in LUTs", luts, in_luts),
        ("Activation circuits in cells", cells, in_cells)) if some]


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
        ("max ulp", _max_ulp), ("proven", _yes("proven", no="NO"))]
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


def _what(row: Row) -> tuple[str, str, str]:
    return row["function"], row["in_format"], row["out_format"]


def _target(row: Row) -> str:
    return str(row["target"]) + (f", {row['max_levels']}" if row["max_levels"] else "")


def _max_ulp(row: Row) -> str:
    return f"{math.floor(1000 * row['max_ulp']) / 1000:.3f}"     # less than 1 stays so


def _monotone(row: Row) -> str:
    if row["monotone"]:
        return "+?" if row["cost_lut4"] is None else f"{row['cost_lut4']:+d}"
    return "yes" if row["is_monotone"] else "-"


def _clock(row: Row) -> str:
    return "" if row["clock_mhz"] is None else f"{row['clock_mhz']:.0f}"
