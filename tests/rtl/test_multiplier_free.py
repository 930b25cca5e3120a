"""Nothing multiplies where weights are shifts or distances, and scales sums of powers of two."""
import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from amaranth.lib import wiring

from accel.spec.config import AccelConfig
from boards.devices import ECP5
from boards.implement import synthesise
from boards.process import run_tool
from boards.tools import find_tool
from rtl.ecp5.target import Ecp5Target
from rtl.emit import rtlil_text
from rtl.requantize import Requantizer
from rtl.top import Accelerator
from tests.configs import TINY

#: Cells that multiply: in yosys, in its sums of products, and on ECP5.
MULTIPLIERS = {"$mul", "$macc", "$macc_v2", "$div", "$mod", "$divfloor", "$modfloor", "$pow",
               "MULT18X18D", "MULT9X9D", "ALU54B", "ALU24B"}
SMALL = {"rows": 2, "cols": 2, "band_rows": 2, "vector_lanes": 1, "activations": ("relu",)}
WEIGHT_BITS = {"shift": 5, "add": 9, "shiftadd": 9}
TARGETS = {"plain": None, "ecp5": Ecp5Target()}


def small(cell: str, terms: int) -> AccelConfig:
    return replace(TINY, name=f"{cell}-{terms}", cell=cell, weight_bits=WEIGHT_BITS[cell],
                   scale_terms=terms, **SMALL)


@cache
def rtlil(cell: str, terms: int, target: str) -> str:
    return rtlil_text(Accelerator(small(cell, terms)), "top", TARGETS[target])


def cells(text: str, folder: Path) -> set[str]:
    """Kinds of cells before yosys maps them to anything."""
    (folder / "design.il").write_text(text)
    (folder / "passes.ys").write_text("read_rtlil design.il\nhierarchy -top top\nproc\nopt\n"
                                      "tee -q -o stat.json stat -json\n")
    run_tool(find_tool("yosys"), ["-q", "-l", "yosys.log", "passes.ys"], folder, title="passes",
             log=folder / "yosys.log", timeout_s=300, quiet=True)
    stat = json.loads((folder / "stat.json").read_text())
    return set(stat["design"]["num_cells_by_type"])


QUICK, PAIRS = ("shiftadd", 3, "plain"), [("shift", 1), ("add", 2), ("shiftadd", 3)]
SLOW = [(*pair, "ecp5") for pair in PAIRS] + [
    case for cell in WEIGHT_BITS for terms in (1, 2, 3)
    if (case := (cell, terms, "plain")) != QUICK]


@pytest.mark.parametrize(("cell", "terms", "target"), [
    QUICK, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)])
def test_an_accelerator_has_no_multiplier(cell: str, terms: int, target: str, tmp_path: Path,
                                          ) -> None:
    found = cells(rtlil(cell, terms, target), tmp_path)
    assert "$add" in found
    assert found & MULTIPLIERS == set()
    assert ("CCU2C" in found) == (target == "ecp5")


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "terms"), PAIRS)
def test_an_accelerator_has_no_dsp_slice(cell: str, terms: int) -> None:
    made = synthesise(rtlil(cell, terms, "ecp5"), ECP5, timeout_s=600, quiet=True)
    assert {"LUT4", "CCU2C", "TRELLIS_FF", "DP16KD"} < set(made.cells)
    assert MULTIPLIERS & set(made.cells) == set()
    assert ECP5.usage(made.cells)["DSP"] == 0


@pytest.mark.parametrize("scaled", [True, False])
def test_a_multiplier_would_be_found(scaled: bool, tmp_path: Path) -> None:
    unit: wiring.Component = Requantizer(replace(small("shift", 1), scale_terms=0 if scaled else 1))
    found = cells(rtlil_text(unit, "top"), tmp_path)
    assert ("$mul" in found) == scaled
