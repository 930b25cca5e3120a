"""Configurations for tests: the smallest, odd ones, and unusual widths."""
from dataclasses import replace

from accel.spec.config import AccelConfig
from accel.spec.presets import PRESETS

TINY = PRESETS["tiny"]


def config(name: str, **changes: object) -> AccelConfig:
    """``tiny`` with changes; the accumulator is as wide as 64 full-range terms need."""
    return replace(TINY, **{"name": name, "acc_bits": 36, **changes})


ONE_BY_ONE = config("1x1", rows=1, cols=1, vector_lanes=1, act_depth=4096)
TWO_BY_THREE = config("2x3-shift", rows=2, cols=3, band_cols=2, cell="shift", weight_bits=6,
                      vector_lanes=4)
FIVE_BY_SEVEN = config("5x7-packed", rows=5, cols=7, band_rows=2, band_cols=4,
                       multiplier="packed", weight_bits=4, act_bits=6, vector_lanes=2,
                       depthwise=False)
SWITCHED = config("switched", rows=3, cols=4, band_rows=1, cell="shiftadd", weight_bits=9)
ADD = config("add", rows=3, cols=4, band_rows=1, cell="add", weight_bits=9)
NARROW = config("narrow", act_bits=2, weight_bits=2, activations=("relu",))
NARROW_SHIFT = config("narrow-shift", act_bits=3, weight_bits=3, cell="shift",
                      activations=("relu",))
WIDE = config("wide", rows=3, cols=2, act_bits=16, weight_bits=16, acc_bits=40,
              activations=("relu", "tanh:Q3.13:Q1.15"))
UNITS = [TINY, PRESETS["tiny-shift"], ONE_BY_ONE, TWO_BY_THREE, FIVE_BY_SEVEN, NARROW,
         NARROW_SHIFT]
