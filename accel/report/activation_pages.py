"""Curves of activation circuits and their errors, as a picture or within a page of HTML."""
import html
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from accel.circuits.store import Circuit
from accel.files import write_atomic
from accel.report.activation_tables import Sheet
from accel.spec.relation import CONTRACTS, TRUNCATED

#: Nothing in a picture depends on the day or the machine; text stays text.
_SETTINGS: dict[Any, str] = {"svg.hashsalt": "systolith", "svg.fonttype": "none"}
_WIDTH, _HEIGHT = 4.6, 4.8
_COLUMNS = 3
_LOOSEST_FIRST = (*reversed(CONTRACTS), TRUNCATED)
_STYLE = """body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem; color: #222 }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .55rem; text-align: right; border-bottom: 1px solid #ddd }
th { position: sticky; top: 0; background: #f4f4f4; vertical-align: bottom }
td.left { text-align: left } tr.new td { border-top: 1px solid #888 }
.no { color: #b00; font-weight: bold } figure { margin: 1rem 0 } svg { max-width: 100% }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #1a1a1a }
 th { background: #2a2a2a } td, th { border-color: #444 } svg { background: #fff } }
"""


def chosen(circuits: Iterable[Circuit]) -> list[list[Circuit]]:
    """Circuits to draw, a group for each function and formats: per contract the flattest.

    Those for the targets ``area`` and ``monotone`` only if there is no other.
    """
    groups: dict[tuple[str, str, str], list[Circuit]] = {}
    for circuit in circuits:
        wish = circuit.wish
        groups.setdefault((wish.function, str(wish.in_format), str(wish.out_format)), []).append(
            circuit)
    best = [{circuit.wish.contract: circuit for circuit in sorted(group, key=_rank, reverse=True)}
            for group in groups.values()]
    return [[group[contract] for contract in _LOOSEST_FIRST if contract in group]
            for group in best]


def save_picture(circuits: Iterable[Circuit], path: Path) -> None:
    """Write the picture of all groups to ``path``, in the format that its suffix tells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, _picture(chosen(circuits), path.suffix.removeprefix(".")))


def save_page(path: Path, title: str, circuits: Iterable[Circuit], sheets: Iterable[Sheet],
              notes: Iterable[str]) -> None:
    """Write a page that needs no other file: tables, notes, and a picture of each group."""
    parts = ["<!doctype html>", "<html lang=en>", "<meta charset=utf-8>",
             f"<title>{title}</title>", f"<style>\n{_STYLE}</style>", f"<h1>{title}</h1>"]
    for sheet in sheets:
        parts += [f"<h2>{html.escape(sheet.title)}</h2>", _table(sheet)]
    parts += ["<ul>", *(f"<li>{html.escape(note)}" for note in notes), "</ul>", "<h2>Curves</h2>"]
    for group in chosen(circuits):
        svg = _picture([group], "svg").decode()
        parts.append(f"<figure>{svg[svg.index('<svg'):]}</figure>")
    write_atomic(path, "\n".join(parts) + "\n</html>\n")


def _rank(circuit: Circuit) -> tuple[bool, bool, int, int]:
    wish, network = circuit.wish, circuit.network
    return wish.target == "area", wish.monotone, network.levels, network.lut4


def _table(sheet: Sheet) -> str:
    head = "".join(f"<th>{html.escape(heading)}" for heading in sheet.headings)
    lines = [f"<tr{' class=new' if number in sheet.sections else ''}>"
             + "".join(_cell(text, number < sheet.left) for number, text in enumerate(row))
             for number, row in enumerate(sheet.rows)]
    return "\n".join(["<table>", f"<tr>{head}", *lines, "</table>"])


def _cell(text: str, left: bool) -> str:
    classes = [*(["left"] if left else []), *(["no"] if text == "NO" else [])]
    opening = f'<td class="{" ".join(classes)}">' if classes else "<td>"
    return opening + html.escape(text)


def _picture(groups: Sequence[Sequence[Circuit]], form: str) -> bytes:
    """Of each group, the curves above and the errors below."""
    columns = max(1, min(_COLUMNS, len(groups)))
    lines = -(-len(groups) // columns)
    buffer = io.BytesIO()
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(_WIDTH * columns, _HEIGHT * lines), layout="constrained")
        for cell, group in zip(figure.subfigures(lines, columns, squeeze=False).flat, groups,
                               strict=False):
            _draw(cell, group)
        metadata = {"Date": None} if form == "svg" else {"Software": None}
        figure.savefig(buffer, format=form, dpi=110, metadata=metadata)
    return buffer.getvalue()


def _draw(cell: Any, group: Sequence[Circuit]) -> None:
    """The real function and the group's circuits; below, what they are off, in ulp."""
    curve, error = cell.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    wanted = group[0].wish.relation
    x = [float(wanted.in_format.value(code)) for code in wanted.in_format.codes]
    out = wanted.out_format
    step, zero = float(out.scale), out.zero_point
    curve.plot(x, [(float(value) - zero) * step for value in wanted.real], "k", linewidth=0.8,
               label="real, saturated")
    for circuit in group:
        label = f"{circuit.wish.contract}: {_size(circuit)}"
        real = circuit.wish.relation.real
        (line,) = curve.plot(x, [(code - zero) * step for code in circuit.codes], linewidth=1,
                             drawstyle="steps-mid", label=label)
        error.plot(x, [float(code - value) for code, value in zip(circuit.codes, real,
                                                                   strict=True)],
                   ".", markersize=2, color=line.get_color())
    wish = group[0].wish
    curve.set_title(f"{wish.function}, {wish.in_format} to {wish.out_format}", fontsize=10)
    curve.legend(fontsize=7)
    for axes in (curve, error):
        axes.grid(linewidth=0.3)
    error.set_ylabel("error, ulp")
    error.set_xlabel("x")


def _size(circuit: Circuit) -> str:
    network = circuit.network
    if circuit.wish.target == "area":
        return f"{network.gates} gates"
    return f"{network.lut4} LUT4, {network.levels} levels"
