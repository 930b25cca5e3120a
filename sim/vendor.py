"""Simulation models of vendor primitives: yosys' own where it ships them, else those in models/.

yosys' files as a whole suit neither simulator (two copies of some modules, elaboration tasks that
Icarus 11 does not know), so single modules are taken from them.
"""
import re
from functools import cache
from importlib import util
from pathlib import Path

from rtl.ecp5 import target as ecp5
from rtl.ice40 import target as ice40
from sim.verilator import SimulatorError

MODELS = Path(__file__).parent / "models"
#: Files of yosys' libraries -> modules taken from them.
ECP5_CELLS = {"lattice/common_sim.vh": ("LUT2", "LUT4", "TRELLIS_FF"),
              "lattice/ccu2c_sim.vh": ("CCU2C",)}
ICE40_CELLS = {"ice40/cells_sim.v": ("SB_MAC16", "SB_SPRAM256KA")}


def models(platform: object) -> str:
    """Verilog of the primitives that components elaborated for ``platform`` may contain."""
    if ecp5.is_target(platform):
        return (MODELS / "ecp5.v").read_text() + _from_yosys(ECP5_CELLS)
    if ice40.is_target(platform):
        return _from_yosys(ICE40_CELLS)
    return ""


def _from_yosys(cells: dict[str, tuple[str, ...]]) -> str:
    found = []
    for file, names in cells.items():
        text = (_share() / file).read_text()
        for name in names:
            module = re.search(rf"(?ms)^module {name}\b.*?^endmodule", text)
            if module is None:
                raise SimulatorError(f"yosys' {file} has no module {name}")
            # path delays: Icarus would apply them in units of the timescale
            found.append(re.sub(r"(?s)\bspecify\b.*?\bendspecify\b", "", module[0]))
    return "\n".join(found)


@cache
def _share() -> Path:
    """The folder of yosys' libraries in the pyosys wheel, whose native part is not loaded."""
    spec = util.find_spec("pyosys")
    if spec is None or spec.origin is None:
        raise SimulatorError("yosys' models need the PyPI package pyosys: run `make setup`")
    return Path(spec.origin).parent / "share"
