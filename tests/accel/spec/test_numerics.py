"""`numerics` against exact fractions."""
import math
from fractions import Fraction

import numpy as np
import pytest

from accel.spec.numerics import (
    MULTIPLIER_BITS,
    SHIFT_BITS,
    TFLITE_MULTIPLIER_BITS,
    add,
    add_factors,
    fixed_multiplier,
    high_multiply,
    limits,
    mean_multiplier,
    multiplier_bits,
    relu,
    requantize,
    round_shift,
    saturate,
)

SHIFTS = (1, 2, 3, 7, 16, 17, 31, 46, 62, (1 << SHIFT_BITS) - 1)


def half_away(value: Fraction) -> int:
    """Nearest integer, ties away from zero."""
    magnitude = math.floor(abs(value) + Fraction(1, 2))
    return magnitude if value >= 0 else -magnitude


def around(center: int) -> range:
    """Integers close to ``center``."""
    return range(center - 3, center + 4)


@pytest.mark.parametrize("shift", SHIFTS)
def test_round_shift_is_half_away_from_zero(shift: int) -> None:
    half, one = 1 << (shift - 1), 1 << shift
    values = sorted({sign * v for center in (0, half, one, one + half, 5 * half, 1 << 57)
                     for v in around(center) for sign in (1, -1) if v < 1 << 58})
    expected = [half_away(Fraction(value, one)) for value in values]
    assert [round_shift(value, shift) for value in values] == expected
    assert round_shift(np.array(values, dtype=np.int64), shift).tolist() == expected


def test_rounding_of_ties_by_hand() -> None:
    assert [round_shift(value, 1) for value in (-5, -3, -1, 1, 3, 5)] == [-3, -2, -1, 1, 2, 3]
    assert [round_shift(value, 2) for value in (-6, -5, -2, -1, 1, 2, 6)] == [
        -2, -1, -1, 0, 0, 1, 2]


@pytest.mark.parametrize("bits", [1, 2, 8, 16, 40])
def test_saturate_is_the_nearest_in_range(bits: int) -> None:
    low, high = limits(bits)
    assert (low, high) == (-2 ** (bits - 1), 2 ** (bits - 1) - 1)
    values = sorted({*around(low), *around(high), 0, -1 << 50, 1 << 50})
    expected = [min(max(low, value), high) for value in values]
    assert [saturate(value, bits) for value in values] == expected
    assert saturate(np.array(values), bits).tolist() == expected


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("multiplier", [0, 1, 1 << (MULTIPLIER_BITS - 1),
                                        (1 << MULTIPLIER_BITS) - 1])
def test_requantize_at_the_extremes(multiplier: int, shift: int) -> None:
    low, high = limits(40)
    totals = [*around(0), *range(low, low + 3), *range(high - 2, high + 1), -77_777, 123_456_789]
    for zero_point, bits in ((0, 8), (-128, 8), (127, 8), (5, 2), (-32768, 16)):
        code_low, code_high = limits(bits)
        expected = [min(max(half_away(Fraction(total * multiplier, 2 ** shift)) + zero_point,
                            code_low), code_high) for total in totals]
        assert [requantize(t, multiplier, shift, zero_point, bits) for t in totals] == expected
        assert requantize(np.array(totals), multiplier, shift, zero_point, bits
                          ).tolist() == expected


@pytest.mark.parametrize("zero_point", [-128, -1, 0, 64, 127])
def test_relu_in_code_space(zero_point: int) -> None:
    codes = range(-128, 128)
    expected = [zero_point + max(0, code - zero_point) for code in codes]
    assert [relu(code, zero_point) for code in codes] == expected
    assert relu(np.array(codes), zero_point).tolist() == expected


def test_fixed_multiplier_is_within_its_error_everywhere() -> None:
    rng = np.random.default_rng(1)
    powers = [2.0 ** e for e in range(-46, 15)]
    scales = [*powers, *(math.nextafter(p, math.inf) for p in powers),
              *(math.nextafter(2 * p, 0.0) for p in powers), *(p * 1.5 for p in powers),
              *(2.0 ** rng.uniform(-46, 15, 5000)).tolist()]
    for scale in scales:
        multiplier, shift = fixed_multiplier(scale)
        assert 1 << (MULTIPLIER_BITS - 1) <= multiplier < 1 << MULTIPLIER_BITS
        assert 1 <= shift < 1 << SHIFT_BITS
        exact = Fraction(scale)
        assert abs(Fraction(multiplier, 2 ** shift) - exact) <= exact / 2 ** 17, scale


def test_fixed_multiplier_is_exact_for_what_it_can_hold() -> None:
    assert fixed_multiplier(1.0) == (1 << 16, 16)
    assert fixed_multiplier(2.0 ** -46) == (1 << 16, 62)
    assert fixed_multiplier(16384.0) == (1 << 16, 2)
    assert fixed_multiplier(math.nextafter(1.0, 0.0)) == (1 << 16, 16)
    assert fixed_multiplier(math.nextafter(2.0 ** 15, 0.0)) == (1 << 16, 1)
    assert fixed_multiplier(131071 / 2 ** 20) == (131071, 20)


def test_fixed_multiplier_of_31_bits_is_quantize_multiplier() -> None:
    rng = np.random.default_rng(2)
    for scale in (2.0 ** rng.uniform(-32, 29, 5000)).tolist():
        fraction, exponent = math.frexp(scale)
        multiplier, shift = fixed_multiplier(scale, TFLITE_MULTIPLIER_BITS)
        wanted = half_away(Fraction(fraction) * 2 ** 31)
        assert (multiplier, 31 - shift) == ((wanted, exponent) if wanted < 2 ** 31
                                            else (2 ** 30, exponent + 1))
        assert 1 <= shift <= 62
    assert fixed_multiplier(0.5 + 2.0 ** -32, 31) == (2 ** 30 + 1, 31)       # a tie
    assert fixed_multiplier(math.nextafter(1.0, 0.0), 31) == (1 << 30, 30)
    with pytest.raises(ValueError, match=r"must be in \[2\*\*-32, 2\*\*29\), not 5368709"):
        fixed_multiplier(2.0 ** 29, 31)


@pytest.mark.parametrize("scale", [0.0, -1.0, 2.0 ** 15, math.nextafter(2.0 ** -46, 0.0),
                                   math.inf, math.nan])
def test_fixed_multiplier_names_a_scale_out_of_range(scale: float) -> None:
    with pytest.raises(ValueError, match=r"must be in \[2\*\*-46, 2\*\*15\), not "):
        fixed_multiplier(scale)


def gemmlowp(value: int, multiplier: int, exponent: int) -> int:
    """MultiplyByQuantizedMultiplier, line by line as TensorFlow Lite has it, in exact integers."""
    assert -2 ** 31 <= value << max(exponent, 0) < 2 ** 31
    product = (value << max(exponent, 0)) * multiplier
    nudge = 1 << 30 if product >= 0 else 1 - (1 << 30)
    high = int(Fraction(product + nudge, 1 << 31))      # C divides towards zero
    mask = (1 << max(-exponent, 0)) - 1
    return (high >> max(-exponent, 0)) + ((high & mask) > (mask >> 1) + (high < 0))


@pytest.mark.parametrize("shift", [1, 2, 7, 20, 29, 30, 31, 32, 33, 40, 54, 61, 62])
@pytest.mark.parametrize("multiplier", [0, 1, (1 << 30) - 1, 1 << 30, (1 << 30) + 1, 0x5A827999,
                                        (1 << 31) - 1])
def test_tflite_rounding_is_gemmlowp(multiplier: int, shift: int) -> None:
    most = (1 << (min(shift, 31))) - 1      # what a left shift to 32 bits leaves
    rng = np.random.default_rng(shift)
    totals = sorted({sign * max(0, min(v, most))
                     for center in (0, most >> 9, most >> 1, most, 1 << 20)
                     for v in (*around(center), *rng.integers(0, most + 1, 20).tolist())
                     for sign in (1, -1)} | {-most - 1})
    scaled = [gemmlowp(total, multiplier, 31 - shift) for total in totals]
    assert [high_multiply(total, multiplier, shift) for total in totals] == scaled
    assert high_multiply(np.array(totals), multiplier, shift).tolist() == scaled
    lanes = [np.full(len(totals), number) for number in (multiplier, shift)]
    assert high_multiply(np.array(totals), *lanes).tolist() == scaled
    for zero_point in (-128, 0, 127):
        codes = [saturate(value + zero_point, 8) for value in scaled]
        assert [requantize(t, multiplier, shift, zero_point, 8, "tflite")
                for t in totals] == codes
        assert requantize(np.array(totals), *lanes, zero_point, 8, "tflite").tolist() == codes


def test_the_two_roundings_differ() -> None:
    assert requantize(-3, 1 << 30, 31, 0, 8, "tflite") == -1        # the high half rounds up
    assert requantize(-3, 1 << 16, 17, 0, 8) == -2
    assert requantize(3, 1 << 30, 32, 0, 8, "tflite") == 1          # 0.75, or 1.5 and then 1
    assert requantize(1, 1 << 30, 32, 0, 8, "tflite") == 1          # 0.25, rounded twice
    assert requantize(1, 1 << 16, 18, 0, 8) == 0


@pytest.mark.parametrize("rounding", ["single", "tflite"])
def test_mean_of_every_reachable_sum(rounding: str) -> None:
    for count in (*range(2, 256), *((400, 1023, 2047) if rounding == "tflite" else ())):
        multiplier, shift = mean_multiplier(count, rounding)
        assert multiplier < 1 << multiplier_bits(rounding)
        sums = np.arange(-128 * count, 127 * count + 1)
        exact = np.sign(sums) * ((2 * abs(sums) + count) // (2 * count))
        assert np.array_equal(requantize(sums, multiplier, shift, 0, 8, rounding), exact), count
    assert requantize(-128, *mean_multiplier(1, rounding), 0, 8, rounding) == -128


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("scales", [(0.5, 0.5, 0.5), (1.0, 0.001, 0.7), (3e-5, 0.02, 1.0),
                                    (1.0, 1.0, 2.0 ** 15), (9999.0, 1.0, 1.0)], ids=str)
def test_addition_with_one_rounding(scales: tuple[float, float, float], bits: int) -> None:
    first, second, output = scales
    multipliers, shifts, multiplier, shift = add_factors((first, second), output)
    assert shifts == (0, 0)
    assert multiplier == 1
    assert 1 << 15 <= max(multipliers) < 1 << 16
    assert 1 <= shift <= 40
    low, high = limits(bits)
    codes = [low, low + 1, -3, 0, 1, high - 1, high]
    grid = [(a, b) for a in codes for b in codes]
    for zeros, zero in (((low, high), low), ((high, low), high), ((3, -7), 1)):
        rest = (zeros, multipliers, shifts, multiplier, shift, zero, bits)
        exact = [saturate(half_away(Fraction(
            (a - zeros[0]) * multipliers[0] + (b - zeros[1]) * multipliers[1], 1 << shift)) + zero,
            bits) for a, b in grid]
        assert [add(pair, *rest) for pair in grid] == exact
        one, two = np.array(grid).T
        assert add((one, two), *rest).tolist() == exact
    for ratio, member in zip((first / output, second / output), multipliers, strict=True):
        assert abs(Fraction(member, 1 << shift) - Fraction(ratio)) <= Fraction(1, 2 << shift)


@pytest.mark.parametrize("scales", [(0.5, 0.5, 0.5), (1.0, 0.001, 0.7), (3e-5, 0.02, 1.0),
                                    (2.0, 1.9, 2.0 ** -17)], ids=str)
def test_addition_with_tflite_rounding(scales: tuple[float, float, float]) -> None:
    first, second, output = scales
    multipliers, shifts, multiplier, shift = add_factors((first, second), output, "tflite")
    assert all(31 <= s <= 62 for s in (*shifts, shift))
    grid = [(a, b) for a in (-128, -127, -3, 0, 1, 126, 127) for b in (-128, -1, 5, 127)]
    for zeros, zero in (((-128, 127), -128), ((127, -128), 127), ((3, -7), 1)):
        rest = (zeros, multipliers, shifts, multiplier, shift, zero, 8, "tflite")
        exact = [saturate(gemmlowp(
            gemmlowp((a - zeros[0]) << 20, multipliers[0], 31 - shifts[0])
            + gemmlowp((b - zeros[1]) << 20, multipliers[1], 31 - shifts[1]),
            multiplier, 31 - shift) + zero, 8) for a, b in grid]
        assert [add(pair, *rest) for pair in grid] == exact
        one, two = np.array(grid).T
        assert add((one, two), *rest).tolist() == exact


def test_factors_of_an_addition_at_the_edges() -> None:
    below = math.nextafter(1.0, 0.0)
    assert add_factors((below, 1e-9), 1.0) == ((32768, 0), (0, 0), 1, 15)
    assert add_factors((2.0 ** -25, 2.0 ** -25), 1.0) == ((32768, 32768), (0, 0), 1, 40)
    assert add_factors((math.nextafter(2.0 ** 14, 0.0), 1.0), 1.0) == ((32768, 2), (0, 0), 1, 1)


@pytest.mark.parametrize(("scales", "scale", "rounding"), [
    ((1.0, 0.0), 1.0, "single"), ((-1.0, 2.0), 1.0, "single"), ((math.nan, 1.0), 1.0, "single"),
    ((2.0 ** 14, 1.0), 1.0, "single"), ((2.0 ** -26, 2.0 ** -30), 1.0, "single"),
    ((2.0 ** 19, 1.0), 1.0, "tflite"), ((2.0 ** -14, 2.0 ** -14), 1.0, "tflite")])
def test_factors_of_an_addition_out_of_range(scales: tuple[float, float], scale: float,
                                             rounding: str) -> None:
    with pytest.raises(ValueError, match=r"larger input scale of an addition must be 2\*\*-"):
        add_factors(scales, scale, rounding)
