"""Depthwise mode: where it is allowed, and that a configuration without it costs nothing."""
from dataclasses import replace

import pytest
from amaranth.back import rtlil

from accel.spec.array import ArrayError, ArraySpec
from accel.spec.cells import CellSpec
from accel.spec.config import ConfigError
from rtl.gemm import GemmUnit
from sim import pysim, units
from tests.configs import TINY

LANES = [ArraySpec(rows=3, cols=5, cell=CellSpec(kind, bits), act_bits=8, terms=3, band_rows=2,
                   multiplier="lut", depthwise=True)
         for kind, bits in (("mac", 8), ("shift", 5), ("add", 9), ("shiftadd", 9))]
LANES.append(replace(LANES[0], band_cols=2))


@pytest.mark.parametrize("multiplier", ["packed", "dual"])
def test_columns_that_share_an_element_take_no_lanes(multiplier: str) -> None:
    fault = f"depthwise must be false with multiplier '{multiplier}'"
    with pytest.raises(ConfigError, match=fault):
        replace(TINY, multiplier=multiplier)
    with pytest.raises(ArrayError, match=fault):
        replace(TINY.array, multiplier=multiplier)
    assert not replace(TINY, multiplier=multiplier, depthwise=False).array.depthwise
    replace(TINY, multiplier=multiplier, cell="shift", weight_bits=5)     # it does not multiply


def test_nothing_of_it_is_there_unless_asked_for() -> None:
    c = replace(TINY, rows=1, cols=2)
    assert "depthwise" in rtlil.convert(GemmUnit(c))
    assert "depthwise" not in rtlil.convert(GemmUnit(replace(c, depthwise=False)))


@pytest.mark.parametrize("check", units.ARRAY_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("spec", LANES, ids=lambda spec: spec.cell.kind)
def test_elements_take_their_own_activation(spec: ArraySpec, check) -> None:
    found = check(spec)
    assert "depthwise" in found.name
    assert pysim.mismatches(found) == []
