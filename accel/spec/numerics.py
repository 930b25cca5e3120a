"""Integer meaning of every datapath operation; golden, emulator and gateware equal it bit for bit.

Functions take Python integers or numpy ``int64`` arrays alike. Rounding is **half away from
zero** everywhere but in `high_multiply`; narrowing saturates everywhere.
"""
import math
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Int = TypeVar("Int", int, npt.NDArray[np.int64])

#: How a requantizer rounds: once, or as the reference kernels of TensorFlow Lite Micro.
ROUNDINGS = ("single", "tflite")
#: Width of a requantizer multiplier (unsigned: fits a signed 18-bit DSP port), in bits.
MULTIPLIER_BITS = 17
#: The same with ``tflite`` rounding, and what its product is divided by first.
TFLITE_MULTIPLIER_BITS = 31
#: Width of a requantizer shift; the shift is 1..63, with ``tflite`` rounding 1..62.
SHIFT_BITS = 6
#: Of an addition with single rounding: width of its multipliers, in bits, and its largest shift.
ADD_MULTIPLIER_BITS, ADD_MAX_SHIFT = 16, 40
#: Of an addition with ``tflite`` rounding: bits of fraction that both inputs get, activations of
#: at most 8 bits.
ADD_FRACTION_BITS = 20


def limits(bits: int) -> tuple[int, int]:
    """Smallest and largest signed integer of ``bits`` bits."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def saturate(value: Int, bits: int) -> Int:
    """Nearest signed integer of ``bits`` bits."""
    low, high = limits(bits)
    if isinstance(value, np.ndarray):
        return np.clip(value, low, high)
    return max(low, min(high, value))


def round_shift(value: Int, shift: int | Int) -> Int:
    """``value / 2**shift`` rounded half away from zero; ``shift`` is at least 1."""
    half = (1 << shift) >> 1
    return (value + half - (value < 0)) >> shift


def requantize(total: Int, multiplier: int | Int, shift: int | Int, zero_point: int, bits: int,
               rounding: str = "single") -> Int:
    """Accumulator (bias included) to an activation code: ``total * multiplier / 2**shift``.

    The product is rounded once, or as `high_multiply` does with ``tflite`` rounding; then the
    zero point is added, then the sum is saturated to ``bits`` bits (Jacob et al. 2018,
    equation 4). A total of up to 45 bits fits int64.
    """
    scaled = (round_shift(total * multiplier, shift) if rounding == "single"
              else high_multiply(total, multiplier, shift))
    return saturate(scaled + zero_point, bits)


def high_multiply(value: Int, multiplier: int | Int, shift: int | Int) -> Int:
    """``value * multiplier / 2**shift`` in the two roundings of TensorFlow Lite's kernels.

    MultiplyByQuantizedMultiplier with the exponent ``31 - shift``: shifted left by a positive
    exponent, multiplied, divided by 2**31 rounding half *up*
    (SaturatingRoundingDoublingHighMul), then by a negative exponent's power of two rounding half
    away from zero (RoundingDivideByPOT). The multiplier is below 2**31, the shift 1..62, and
    ``value`` shifted left must fit 32 bits.
    """
    exponent = TFLITE_MULTIPLIER_BITS - shift
    left, right = exponent * (exponent > 0), -exponent * (exponent < 0)
    half = 1 << (TFLITE_MULTIPLIER_BITS - 1)
    high = ((value << left) * multiplier + half) >> TFLITE_MULTIPLIER_BITS
    return (high + ((1 << right) >> 1) - ((high < 0) & (right > 0))) >> right


def add(codes: tuple[Int, Int], zero_points: tuple[int, int], multipliers: tuple[int, int],
        shifts: tuple[int, int], multiplier: int, shift: int, zero_point: int, bits: int,
        rounding: str = "single") -> Int:
    """Sum of two activation codes, less their zero points and scaled, as an activation code.

    ``single``: ``sum(code * multipliers) / 2**shift``, rounded once; ``shifts`` are 0 and
    ``multiplier`` is 1. ``tflite``: TensorFlow Lite's int8 ADD, where `high_multiply` scales each
    code, with 20 bits of fraction, and then the sum; every shift is 31..62.
    """
    one, two = (code - zero for code, zero in zip(codes, zero_points, strict=True))
    if rounding == "single":
        total = one * multipliers[0] + two * multipliers[1]
        return requantize(total, multiplier, shift, zero_point, bits)
    total = (high_multiply(one << ADD_FRACTION_BITS, multipliers[0], shifts[0])
             + high_multiply(two << ADD_FRACTION_BITS, multipliers[1], shifts[1]))
    return requantize(total, multiplier, shift, zero_point, bits, rounding)


def relu(code: Int, zero_point: int) -> Int:
    """``max(x, 0)`` in code space."""
    if isinstance(code, np.ndarray):
        return np.maximum(code, zero_point)
    return max(code, zero_point)


def multiplier_bits(rounding: str) -> int:
    """Width of a requantizer multiplier, unsigned, in bits."""
    return TFLITE_MULTIPLIER_BITS if rounding == "tflite" else MULTIPLIER_BITS


def fixed_multiplier(scale: float, bits: int = MULTIPLIER_BITS) -> tuple[int, int]:
    """Multiplier of ``bits`` bits and shift (1..62) with the quotient nearest to ``scale``.

    The quotient is ``multiplier / 2**shift``. The multiplier uses its full width (relative error
    at most 2**-bits); with 31 bits it is the one of TensorFlow Lite's QuantizeMultiplier. Raises
    ``ValueError`` for a scale outside [2**(bits - 63), 2**(bits - 2)): for 17 bits
    [2**-46, 2**15), for 31 bits [2**-32, 2**29).
    """
    if not 2.0 ** (bits - 63) <= scale < 2.0 ** (bits - 2):
        raise ValueError(f"a requantizer scale must be in [2**{bits - 63}, 2**{bits - 2}), not "
                         f"{scale!r}")
    fraction, exponent = math.frexp(scale)
    multiplier, shift = int(fraction * 2.0 ** bits + 0.5), bits - exponent
    if multiplier == 1 << bits:     # rounded up to the next power of two
        multiplier, shift = multiplier >> 1, shift - 1
    return multiplier, shift


def mean_multiplier(count: int, rounding: str = "single") -> tuple[int, int]:
    """Multiplier and shift whose `requantize` divides a sum of ``count`` codes by ``count``.

    The result is the mean rounded half away from zero, exact for 2 to 255 codes of up to 8 bits;
    ``tflite`` up to 2,047 codes. The multiplier is never below its real value, so a tie does not
    fall towards zero; with ``tflite`` it is above, as half up must become half away.
    """
    if rounding == "tflite":
        bits = TFLITE_MULTIPLIER_BITS
        return min((1 << bits) // count + 1, (1 << bits) - 1), bits
    shift = MULTIPLIER_BITS - 1 + (count - 1).bit_length()
    return -(-(1 << shift) // count), shift


def add_factors(scales: tuple[float, float], scale: float, rounding: str = "single",
                ) -> tuple[tuple[int, int], tuple[int, int], int, int]:
    """Multipliers and shifts of the inputs, multiplier and shift of the sum, for `add`.

    ``scales`` are the inputs', ``scale`` the output's. Raises ``ValueError`` where the larger
    input's ratio to the output is outside [2**-25, 2**14), with ``tflite`` [2**-13, 2**19).
    """
    ratio = max(scales) / scale
    low, high = (-13, 19) if rounding == "tflite" else (-25, 14)
    if not 2.0 ** low <= ratio < 2.0 ** high or min(scales) <= 0:
        raise ValueError(f"the larger input scale of an addition must be 2**{low} to 2**{high} "
                         f"of its output's, and both positive, not {scales} to {scale!r}")
    if rounding == "single":
        shift = ADD_MULTIPLIER_BITS - math.frexp(ratio)[1]
        one, two = (int(s / scale * 2.0 ** shift + 0.5) for s in scales)
        if max(one, two) == 1 << ADD_MULTIPLIER_BITS:
            one, two, shift = (one + 1) >> 1, (two + 1) >> 1, shift - 1
        return (one, two), (0, 0), 1, shift
    bits, double = TFLITE_MULTIPLIER_BITS, 2 * max(scales)
    (one, first), (two, second) = (fixed_multiplier(s / double, bits) for s in scales)
    total, last = fixed_multiplier(double / (scale * 2.0 ** ADD_FRACTION_BITS), bits)
    return (one, two), (first, second), total, last
