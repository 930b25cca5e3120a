"""Integer meaning of every datapath operation; golden, emulator and gateware equal it bit for bit.

Functions take Python integers or numpy ``int64`` arrays alike. Rounding is **half away from
zero** everywhere; narrowing saturates everywhere.
"""
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Int = TypeVar("Int", int, npt.NDArray[np.int64])

#: Width of a requantizer multiplier (unsigned: fits a signed 18-bit DSP port), in bits.
MULTIPLIER_BITS = 17
#: Width of a requantizer shift; the shift is 1..63.
SHIFT_BITS = 6
#: Width of the multiplier of a summand, unsigned, in bits.
ADD_MULTIPLIER_BITS = 16


def limits(bits: int) -> tuple[int, int]:
    """Smallest and largest signed integer of ``bits`` bits."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def saturate(value: Int, bits: int) -> Int:
    """Nearest signed integer of ``bits`` bits."""
    low, high = limits(bits)
    if isinstance(value, np.ndarray):
        return np.clip(value, low, high)
    return max(low, min(high, value))


def round_shift(value: Int, shift: int) -> Int:
    """``value / 2**shift`` rounded half away from zero; ``shift`` is at least 1."""
    half = (1 << shift) >> 1
    return (value + half - (value < 0)) >> shift


def requantize(total: Int, multiplier: int, shift: int, zero_point: int, bits: int) -> Int:
    """Accumulator (bias included) to an activation code: ``total * multiplier / 2**shift``.

    The product is rounded once, then the zero point is added, then the sum is saturated to
    ``bits`` bits (Jacob et al. 2018, equation 4, with one rounding instead of two).
    """
    return saturate(round_shift(total * multiplier, shift) + zero_point, bits)


def relu(code: Int, zero_point: int) -> Int:
    """``max(x, 0)`` in code space."""
    if isinstance(code, np.ndarray):
        return np.maximum(code, zero_point)
    return max(code, zero_point)


def fixed_multiplier(scale: float) -> tuple[int, int]:
    """Multiplier and shift with ``multiplier / 2**shift`` nearest to ``scale``.

    The multiplier uses its full width (relative error at most 2**-17). Raises ``ValueError``
    for a scale outside [2**-46, 2**15).
    """
    if not 2.0 ** -46 <= scale < 2.0 ** 15:
        raise ValueError(f"a requantizer scale must be in [2**-46, 2**15), not {scale!r}")
    shift = MULTIPLIER_BITS
    while scale * 2 ** shift >= 1 << MULTIPLIER_BITS:
        shift -= 1
    while scale * 2 ** shift < 1 << (MULTIPLIER_BITS - 1):
        shift += 1
    multiplier = round(scale * 2 ** shift)
    if multiplier == 1 << MULTIPLIER_BITS:      # rounded up to the next power of two
        multiplier, shift = multiplier >> 1, shift - 1
    return multiplier, shift
