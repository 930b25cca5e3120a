"""Area and delay of a circuit in standard cells, by yosys and the timing of its ABC.

Every circuit is mapped by the same scripts. The delay is that of the slowest path from an input to
an output, at the corner of the Liberty file and without wires: each input is driven by a small
buffer of the library, each output drives two of them. OpenSTA finds 6 to 14 % more on the same
netlists of Nangate's 45 nm library.
"""
import json
import re
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from accel.files import BUILD
from boards.process import BuildError, run_tool
from boards.tools import find_tool

_RESYN2 = ("balance;rewrite;refactor;balance;rewrite;rewrite,-z;balance;refactor,-z;rewrite,-z;"
           "balance")
#: None is best for every circuit. The first is yosys' own.
_SMALL = tuple(f"{script};topo;stime,-p" for script in (
    "strash;&get,-n;&fraig,-x;&put;scorr;dc2;dretime;strash;&get,-n;&dch,-f;&nf;&put",
    "strash;dc2;dch;map,-B,0.9,-a",
    "strash;dc2;dch;amap,-m,-F,20,-A,20",
    f"strash;dc2;dc2;{_RESYN2};dch;dc2;dch;amap,-m,-F,20,-A,20"))
#: ``buffer`` stops at gates without a fanout, which the first ``topo`` takes away.
_FAST = tuple(f"{script};topo;buffer,-c;topo;upsize;dnsize;stime,-p" for script in (
    "strash;dch;map", "strash;&get,-n;&syn3;&syn3;&put;dch;map",
    f"strash;{_RESYN2};dch;map,-B,0.9"))
_GATES = """read_verilog circuit.v
synth -flatten -auto-top
dfflibmap {library}
design -save gates
"""
_CELLS = """design -load gates
tee -o map_{number}.log abc {library} -constr around.constr -script +{script}
opt_clean -purge
tee -q -o stat_{number}.json stat -json {library}
"""
#: A word of storage: its flip-flops share what the enable needs.
_WORD_BITS = 8
_WORD = f"""module word (input clk, en, input [{_WORD_BITS - 1}:0] d,
    output reg [{_WORD_BITS - 1}:0] q);
  always @(posedge clk) if (en) q <= d;
endmodule
"""


@dataclass(frozen=True)
class CellFigures:
    """Areas in µm² (the library's unit) and delays in ps: smallest mapping, and fastest one."""

    area_um2: float
    delay_ps: float
    fast_area_um2: float
    fast_delay_ps: float


@dataclass(frozen=True)
class Surroundings:
    """What is connected to a circuit that is measured.

    Members
    -------
    driver
        Cell in front of each input.
    load_ff
        Load of each output, in fF.
    """

    driver: str
    load_ff: float


def measure(verilog_text: str, liberty: Path, *, timeout_s: float = 600,
            quiet: bool = False) -> CellFigures:
    """Figures of a combinational module; `BuildError` if it or the library cannot be mapped."""
    found = _map(verilog_text, liberty, (*_SMALL, *_FAST), timeout_s, quiet)
    area, delay = min(found)
    fast_delay, fast_area = min((delay, area) for area, delay in found)
    return CellFigures(area, delay, fast_area, fast_delay)


def storage_area(bits: int, liberty: Path, *, timeout_s: float = 600,
                 quiet: bool = False) -> float:
    """Area of ``bits`` flip-flops with enable, in µm²; nothing that decodes or reads."""
    found = _map(_WORD, liberty, _SMALL, timeout_s, quiet, timed=False)
    return bits / _WORD_BITS * min(area for area, _ in found)


def surroundings(liberty: Path) -> Surroundings:
    """The library's buffer of drive 2, by its name, or else its smallest; and two of them."""
    return _surroundings(liberty, liberty.stat().st_mtime_ns)


@cache
def _surroundings(liberty: Path, _changed: int) -> Surroundings:
    text = liberty.read_text(errors="replace")
    unit = re.search(r'\bcapacitive_load_unit\s*\(\s*([\d.eE+-]+)\s*,\s*"?([fp])f', text, re.I)
    if not unit:
        raise BuildError(f"{liberty}: no capacitive_load_unit; is it a Liberty file?")
    unit_ff = float(unit[1]) * (1000 if unit[2].lower() == "p" else 1)
    _, *parts = re.split(r'\bcell\s*\(\s*"?([^\s")]+)"?\s*\)\s*\{', text)
    buffers = []
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        load, area = _buffer_load(body), re.search(r"\barea\s*:\s*([\d.eE+-]+)", body)
        if load is not None and area:
            buffers.append((not re.search(r"(?<!\d)2$", name), float(area[1]), name, load))
    if not buffers:
        raise BuildError(f"{liberty}: no buffer (a cell whose function is its input), which ABC "
                         "needs")
    _, _, driver, load = min(buffers)
    return Surroundings(driver, round(2 * load * unit_ff, 3))


def _buffer_load(body: str) -> float | None:
    """Capacitance of a cell's input in the library's unit, if the cell is a plain buffer."""
    if re.search(r"\b(ff|latch|statetable)\s*\(|\bthree_state\b|\bdont_use\s*:\s*true", body):
        return None
    functions = re.findall(r'\bfunction\s*:\s*"([^"]*)"', body)
    _, *pins = re.split(r'\bpin\s*\(\s*"?(\w+)"?\s*\)\s*\{', body)
    texts = dict(zip(pins[::2], pins[1::2], strict=True))
    if len(functions) != 1 or (source := functions[0].strip("() ")) not in texts:
        return None
    load = re.search(r"\bcapacitance\s*:\s*([\d.eE+-]+)", texts[source])
    return float(load[1]) if load else None


def _map(verilog_text: str, liberty: Path, scripts: tuple[str, ...], timeout_s: float,
         quiet: bool, *, timed: bool = True) -> list[tuple[float, float]]:
    """Area and, where ``timed``, delay in ps of the circuit as each script of ABC maps it."""
    around = surroundings(liberty)
    parent = BUILD / "circuits"
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="cells-", dir=parent))
    library = f'-liberty "{liberty.absolute()}"'
    (folder / "around.constr").write_text(
        f"set_driving_cell {around.driver}\nset_load {around.load_ff} [all_outputs]\n")
    (folder / "circuit.v").write_text(verilog_text)
    (folder / "map.ys").write_text(_GATES.format(library=library) + "".join(
        _CELLS.format(library=library, script=script, number=number)
        for number, script in enumerate(scripts)))
    run_tool(find_tool("yosys"), ["-q", "-l", "yosys.log", "map.ys"], folder,
             title="mapping to cells", log=folder / "yosys.log", timeout_s=timeout_s, quiet=quiet)
    found = [_figures(folder, number, timed) for number in range(len(scripts))]
    shutil.rmtree(folder)   # after a failure it stays, for its log
    return found


def _figures(folder: Path, number: int, timed: bool) -> tuple[float, float]:
    """Area and delay of mapping ``number``."""
    (module,) = json.loads((folder / f"stat_{number}.json").read_text())["modules"].values()
    cells = [cell for cell in module["num_cells_by_type"] if cell != "$scopeinfo"]
    log = folder / f"map_{number}.log"
    if unmapped := [cell for cell in cells if cell.startswith("$")]:
        raise BuildError(f"mapping to cells: the library has none for {', '.join(unmapped)}; "
                         f"log: {log}")
    delay = re.findall(r"\bDelay\s*=\s*([\d.]+)\s*ps", log.read_text()) if cells else ["0"]
    if timed and not delay:
        raise BuildError(f"mapping to cells: no delay in ABC's output; log: {log}")
    return float(module.get("area", 0)), float(delay[-1]) if timed else 0.0
