"""Placement of DSP slices: one place for each element, all of them real."""
import itertools
import re
from dataclasses import replace

import pytest
from amaranth.back import rtlil

from accel.spec.array import ArraySpec
from accel.spec.presets import PRESETS
from rtl.ecp5 import floorplan as ecp5
from rtl.ecp5.target import Ecp5Target
from rtl.gemm import GemmUnit
from rtl.multiplier import Multiplier


@pytest.mark.parametrize(("rows", "cols"), [(9, 16), (12, 13), (3, 52), (1, 52), (8, 8)])
def test_every_element_has_its_own_slice(rows: int, cols: int) -> None:
    bels = [ecp5.dsp_bel(ecp5.Place(r, c, rows, cols), "LFE5U-85F")
            for r, c in itertools.product(range(rows), range(cols))]
    every = {f"X{x + z}/Y{y}/MULT18_{z}" for x in ecp5.COLUMNS for y in ecp5.DSP_ROWS
             for z in ecp5.DSP_SLICES}
    assert len(set(bels)) == rows * cols
    assert set(bels) <= every


@pytest.mark.parametrize(("rows", "cols", "device"), [(16, 16, "LFE5U-85F"), (4, 4, "LFE5U-25F")])
def test_other_arrays_are_left_to_the_placer(rows: int, cols: int, device: str) -> None:
    assert ecp5.dsp_bel(ecp5.Place(0, 0, rows, cols), device) is None


def test_a_multiplier_is_one_placed_slice() -> None:
    place = ecp5.Place(0, 0, 9, 16)
    text = rtlil.convert(Multiplier(8, 8, place), platform=Ecp5Target(), name="top")
    assert text.count("MULT18X18D") == 1
    assert f'attribute \\BEL "{ecp5.dsp_bel(place, "LFE5U-85F")}"' in text
    assert "$mul" not in text


@pytest.mark.parametrize("platform", [None, Ecp5Target()])
def test_wide_operands_stay_arithmetic(platform: object) -> None:
    text = rtlil.convert(Multiplier(20, 8), platform=platform, name="top")
    assert "MULT18X18D" not in text
    assert "$mul" in text


def bels_of(spec: ArraySpec) -> list[str]:
    """All block RAMs that an array's memories may take, the rows' first."""
    beside = [bel for row in range(spec.rows) for col in range(0, spec.cols, ecp5.BLOCK)
              for bels in (ecp5.weight_bels, ecp5.activation_bels) for bel in bels(spec, row, col)]
    return beside + [bel for col in range(spec.cols) for bel in ecp5.accumulator_bels(spec, col)]


@pytest.mark.parametrize("name", ["ecp5", "tiny"])
def test_every_memory_has_its_own_block_rams(name: str) -> None:
    spec = PRESETS[name].array
    every = {f"X{x + 2 * z}/Y{y}/EBR{z}" for x in ecp5.COLUMNS for y in (22, 46, 70, 82)
             for z in range(4)}
    bels = bels_of(spec)
    assert len(set(bels)) == len(bels) >= 4 * spec.rows * spec.cols // 4 + 2 * spec.cols
    assert set(bels) <= every


def test_memories_of_other_arrays_are_left_to_the_placer() -> None:
    wide, shared = (replace(PRESETS["ecp5"].array, **changes) for changes in (
        {"rows": 16, "terms": 16}, {"multiplier": "packed", "depthwise": False}))
    assert bels_of(wide) == bels_of(shared) == []


def test_memories_of_the_gemm_unit_are_placed() -> None:
    config = PRESETS["ecp5"]
    text = rtlil.convert(GemmUnit(config), platform=Ecp5Target(), name="top")
    placed = re.findall(r'attribute \\BEL "(X\d+/Y\d+/EBR\d)"', text)
    weights, activations, sums = 9 * 4 * 2, 9 * 4, 16 * 2
    assert len(placed) == len(set(placed)) == weights + activations + sums
    other = rtlil.convert(GemmUnit(config), platform=type("", (), {"device": "LFE5U-45F"})(),
                          name="top")
    assert "DP16KD" in other
    assert "EBR" not in other
