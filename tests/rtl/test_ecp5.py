"""Placement of DSP slices: one place for each element, all of them real."""
import itertools

import pytest
from amaranth.back import rtlil

from rtl.ecp5 import dsp as ecp5
from rtl.ecp5.target import Ecp5Target
from rtl.multiplier import Multiplier


@pytest.mark.parametrize(("rows", "cols"), [(9, 16), (12, 13), (3, 52), (1, 52), (8, 8)])
def test_every_element_has_its_own_slice(rows: int, cols: int) -> None:
    bels = [ecp5.dsp_bel(ecp5.Place(r, c, rows, cols), "LFE5U-85F")
            for r, c in itertools.product(range(rows), range(cols))]
    every = {f"X{x + z}/Y{y}/MULT18_{z}" for x in ecp5.DSP_COLUMNS for y in ecp5.DSP_ROWS
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
