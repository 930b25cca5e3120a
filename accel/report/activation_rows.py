"""Figures of one activation circuit, and of the tables that it is compared with.

What takes time - proofs, synthesis, mapping to cells - is kept under ``build/report`` by the
digest of the Verilog, the tool, the cell library and our sources.
"""
import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from accel.circuits.forms import bipartite, nearest
from accel.circuits.network import Network
from accel.circuits.store import Circuit
from accel.circuits.verilog import verilog, verilog_table
from accel.files import BUILD, ROOT, write_atomic
from accel.report.cells import CellFigures, measure
from accel.report.prove import proven
from accel.report.reference import confirms, find_reference
from accel.spec.relation import Relation
from boards.devices import ECP5
from boards.process import run_tool
from boards.tools import find_tool

SOURCES = ("accel/report/activation_rows.py", "accel/report/cells.py", "accel/report/prove.py")
#: Bipartite tables that are synthesised, those with the fewest LUTs before.
BIPARTITES = 4
#: Without the second, yosys joins LUTs by wide multiplexers (PFUMX), which are not counted.
WAYS = ("", " -nowidelut")
DEFAULT, NO_WIDE = range(len(WAYS))


@dataclass(frozen=True)
class Measured:
    """A circuit and its row of the report."""

    circuit: Circuit
    row: dict[str, Any]


def measured(circuit: Circuit, liberty: Path | None, bipartites: int = BIPARTITES) -> Measured:
    """The circuit with its figures.

    ``lut4``, ``levels``: of the network, which the ECP5 keeps as it is; for the target ``area``,
    of what ``synth_ecp5 -nowidelut`` makes of its gates. ``area_um2``, ``delay_ps``: smallest
    mapping to cells; ``fast_*``: fastest. ``case_*``, ``bipartite_*``: the table of the correctly
    rounded values and the smallest bipartite table, by the same tools; ``ratio_*``: their size
    over that of the circuit. What there is not is None.
    """
    wish, network = circuit.wish, circuit.network
    wanted = wish.relation
    max_ulp, mean_ulp = wanted.errors(circuit.codes)
    monotone = wanted.is_monotone(circuit.codes)
    known = find_reference(wish.function)
    confirmed = known is None or confirms(known, wish.in_format, wish.out_format, wish.contract,
                                          circuit.codes, pinned=wish.monotone)
    proof = kept("proof", [network.record()], lambda: {"proven": bool(
        proven(network, network.table(), quiet=True))})
    tables = _bipartites(wanted, bipartites)
    in_gates = wish.target == "area"
    lut4, levels = synthesised([verilog(network)])[0][NO_WIDE] if in_gates else (
        network.lut4, network.levels)
    row: dict[str, Any] = {
        "function": wish.function, "in_format": str(wish.in_format),
        "out_format": str(wish.out_format), "contract": wish.contract, "target": wish.target,
        "max_levels": wish.levels or None, "monotone": wish.monotone, "is_monotone": monotone,
        "bits": wish.in_format.bits, "form": circuit.form, "lut4": lut4, "levels": levels,
        "gates": network.gates if in_gates else None,
        "max_ulp": max_ulp, "mean_ulp": mean_ulp,
        "proven": bool(proof["proven"] and wanted.allows(circuit.codes) and confirmed
                       and (monotone or not wish.monotone)),
        "reference": "mpmath" if known else None, "cost_lut4": None, "clock_mhz": None,
        **_rivals_in_luts(wanted, tables), **_in_cells(circuit, tables, liberty)}
    for name in ("case", "bipartite"):
        row[f"ratio_{name}"] = ratio(row[f"{name}_lut4"], lut4)
        row[f"ratio_{name}_area"] = ratio(row[f"{name}_area_um2"], row["area_um2"])
    return Measured(circuit, row)


def add_costs(rows: Sequence[Measured]) -> None:
    """LUTs that each monotone circuit takes more than the one that is asked for less only in that.

    A monotone circuit is one that a free search may find too, but need not.
    """
    free = {each.circuit.wish: each.row["lut4"] for each in rows}
    for each in rows:
        if each.circuit.wish.monotone:
            other = free.get(replace(each.circuit.wish, monotone=False))
            each.row["cost_lut4"] = None if other is None else each.row["lut4"] - other


def ratio(rival: float | None, own: float | None) -> float | None:
    """How many times larger ``rival`` is; None if there is nothing to divide."""
    return round(rival / own, 3) if rival is not None and own else None


def in_cells(verilog_text: str, liberty: Path) -> CellFigures:
    """`measure`, kept."""
    return CellFigures(**kept("cells", [verilog_text, sha256(liberty)],
                              lambda: asdict(measure(verilog_text, liberty, quiet=True))))


def kept(kind: str, content: Sequence[Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What ``make`` returns, made once for its ``content``, tool and sources."""
    digest = hashlib.sha256(json.dumps([*content, find_tool("yosys").version]).encode())
    digest.update(_sources())
    path = BUILD / "report" / f"activations-{kind}-{digest.hexdigest()[:16]}.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        found = make()
        write_atomic(path, json.dumps(found) + "\n")
    return found


def sha256(path: Path) -> str:
    """Of a file's content, in hex."""
    return _sha256(path, path.stat().st_mtime_ns)


@cache
def _sha256(path: Path, _changed: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def _sources() -> bytes:
    return b"".join((ROOT / name).read_bytes() for name in SOURCES)


def synthesised(texts: Sequence[str]) -> list[list[tuple[int, int]]]:
    """LUT4 and levels of each module ``circuit`` after ``synth_ecp5``, in all `WAYS`.

    LUT4 as nextpnr counts; levels count wide multiplexers too.
    """
    found = kept("lut4", [list(texts), WAYS], lambda: {"found": _synthesise(texts)})
    return [[(lut4, levels) for lut4, levels in ways] for ways in found["found"]]


def _in_cells(circuit: Circuit, tables: Sequence[Network], liberty: Path | None,
              ) -> dict[str, float | None]:
    names = ("area_um2", "delay_ps", "fast_area_um2", "fast_delay_ps")
    if liberty is None:
        return dict.fromkeys((*names, *(f"case_{name}" for name in names), "bipartite_area_um2"))
    case = in_cells(_case(circuit.wish.relation), liberty)
    rivals = [in_cells(verilog(table), liberty).area_um2 for table in tables]
    return {**asdict(in_cells(verilog(circuit.network), liberty)),
            **{f"case_{name}": value for name, value in asdict(case).items()},
            "bipartite_area_um2": min(rivals, default=None)}


def _rivals_in_luts(wanted: Relation, tables: Sequence[Network]) -> dict[str, int | None]:
    """LUT4 of the plain table, as yosys maps it, and of bipartite tables, the smaller way."""
    case, *others = synthesised([_case(wanted), *map(verilog, tables)])
    best = min(map(min, others), default=(None, None))
    return {"case_lut4": case[DEFAULT][0], "case_levels": case[DEFAULT][1],
            "case_nowidelut_lut4": case[NO_WIDE][0], "bipartite_lut4": best[0],
            "bipartite_levels": best[1]}


def _case(wanted: Relation) -> str:
    table = nearest(wanted)
    return verilog_table(table.table(), table.inputs, len(table.outputs))


@cache
def _bipartites(wanted: Relation, most: int) -> tuple[Network, ...]:
    return tuple(sorted(bipartite(wanted), key=lambda table: table.lut4)[:most])


def _synthesise(texts: Sequence[str]) -> list[list[tuple[int, int]]]:
    parent = BUILD / "report"
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="lut4-", dir=parent))
    script = []
    for number, text in enumerate(texts):
        (folder / f"{number}.v").write_text(text)
        for way, option in enumerate(WAYS):
            script += [f"read_verilog {number}.v", f"synth_ecp5 -top circuit{option}",
                       f"tee -q -o {number}-{way}.json stat -json",
                       f"tee -q -o {number}-{way}.log ltp", "design -reset"]
    (folder / "lut4.ys").write_text("\n".join(script) + "\n")
    run_tool(find_tool("yosys"), ["-q", "-l", "yosys.log", "lut4.ys"], folder, quiet=True,
             title="synthesis of tables", log=folder / "yosys.log", timeout_s=1800)
    found = [[_counts(folder / f"{number}-{way}") for way in range(len(WAYS))]
             for number in range(len(texts))]
    shutil.rmtree(folder)   # after a failure it stays, for its log
    return found


def _counts(path: Path) -> tuple[int, int]:
    design = json.loads(path.with_suffix(".json").read_text())["design"]
    longest = re.search(r"\(length=(\d+)\)", path.with_suffix(".log").read_text())
    return (ECP5.usage(design["num_cells_by_type"])["LUT4"], int(longest[1]) if longest else 0)
