"""Cells, array, activation units and requantizer, on Amaranth's simulator."""
from dataclasses import replace
from itertools import pairwise

import pytest

from accel.spec.array import ArrayError, ArraySpec
from accel.spec.cells import CellSpec
from accel.spec.config import AccelConfig, ConfigError
from sim import pysim, units
from sim.lane_checks import requantizer_check
from tests.configs import ADD, FIVE_BY_SEVEN, SWITCHED, TINY, UNITS, WIDE

#: Lanes that multiply in carry chains, and lanes that cannot add.
IN_LUTS = replace(FIVE_BY_SEVEN, name="8-lanes", vector_lanes=8)
ALONE = replace(TINY, name="no-addition", residual=False)
TFLITE = [replace(config, name=f"{config.name}-tflite", rounding="tflite", acc_bits=32)
          for config in (TINY, IN_LUTS, ALONE)]
#: Multipliers of either sign, and sums of powers of two.
SUMS = [SWITCHED, replace(ADD, name="add-1-term", scale_terms=1),
        replace(SWITCHED, name="switched-3-terms", scale_terms=3),
        replace(TINY, name="1-term", scale_terms=1), replace(TINY, name="2-terms", scale_terms=2)]

CELLS = [("mac", "dsp", 8, 8), ("mac", "dsp", 2, 2), ("mac", "dsp", 16, 16),
         ("mac", "packed", 8, 8), ("mac", "packed", 8, 4), ("mac", "packed", 4, 4),
         ("mac", "packed", 2, 2), ("mac", "packed", 16, 9), ("mac", "packed", 3, 9),
         ("mac", "dual", 8, 8), ("mac", "dual", 2, 5), ("mac", "lut", 8, 8), ("mac", "lut", 2, 2),
         ("mac", "lut", 16, 16), ("mac", "lut", 5, 3), ("shift", "dsp", 8, 5),
         ("shift", "dsp", 8, 6), ("shift", "dsp", 2, 3), ("shift", "dsp", 16, 4),
         ("add", "dsp", 8, 9), ("add", "dsp", 2, 3), ("add", "dsp", 16, 17), ("add", "dsp", 5, 12),
         ("shiftadd", "dsp", 8, 9), ("shiftadd", "dsp", 2, 5), ("shiftadd", "dsp", 16, 17)]


def spec(kind: str, multiplier: str, act_bits: int, weight_bits: int, rows: int = 5, cols: int = 3,
         band_rows: int = 2, band_cols: int = 1) -> ArraySpec:
    return ArraySpec(rows=rows, cols=cols, cell=CellSpec(kind, weight_bits), act_bits=act_bits,
                     terms=rows, band_rows=band_rows, band_cols=band_cols, multiplier=multiplier)


@pytest.mark.parametrize("check", units.LANE_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("config", [*UNITS, IN_LUTS, ALONE, *TFLITE, *SUMS],
                         ids=lambda config: config.name)
def test_lanes_equal_torch(config: AccelConfig, check) -> None:
    assert pysim.mismatches(check(config)) == []


@pytest.mark.parametrize("check", units.ARRAY_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: " ".join(map(str, cell)))
def test_cells_equal_torch(cell, check) -> None:
    assert pysim.mismatches(check(spec(*cell))) == []


@pytest.mark.parametrize(("rows", "cols", "band_rows"), [(1, 1, 1), (2, 3, 1), (4, 4, 3),
                                                         (7, 2, 7)])
def test_arrays_of_any_shape_equal_torch(rows: int, cols: int, band_rows: int) -> None:
    for cell in (("mac", "packed", 8, 8), ("shiftadd", "dsp", 8, 9)):
        check = units.array_check(spec(*cell, rows, cols, band_rows))
        assert pysim.mismatches(check) == []


@pytest.mark.parametrize(("cols", "band_cols"), [(5, 2), (8, 4), (3, 6)])
def test_columns_in_bands_equal_torch(cols: int, band_cols: int) -> None:
    for cell in (("mac", "packed", 8, 8), ("mac", "dual", 8, 8), ("shiftadd", "dsp", 8, 9)):
        banded = spec(*cell, 3, cols, band_cols=band_cols)
        assert pysim.mismatches(units.array_check(banded)) == []
        assert banded.col_delay(cols - 1) == (cols - 1) // band_cols


def test_an_element_is_in_one_band() -> None:
    with pytest.raises(ArrayError, match="band_cols must be 1 or a multiple of 2 with multiplier "
                                         "'packed', not 3; nearest: 4"):
        spec("mac", "packed", 8, 8, band_cols=3)
    with pytest.raises(ConfigError, match="band_cols must be 1 or a multiple of 2"):
        replace(TINY, multiplier="packed", depthwise=False, band_cols=3)
    assert spec("shift", "packed", 8, 5, band_cols=3).band_cols == 3


def test_sixteen_bits() -> None:
    for config in (WIDE, replace(WIDE, name="wide-luts", cols=8, vector_lanes=8)):
        assert pysim.mismatches(requantizer_check(config)) == []


@pytest.mark.parametrize("config", UNITS[:2], ids=lambda config: config.name)
def test_the_checks_can_fail(config: AccelConfig) -> None:
    """A wrong expectation in any unit is found, where it is."""
    for check in units.checks(config):
        words = next(iter(check.expected.values()))
        cycle = next(i for i, (a, b) in enumerate(pairwise(words)) if None not in {a, b})
        words[cycle] ^= 1
        assert [m[1] for m in pysim.mismatches(check)] == [cycle]
