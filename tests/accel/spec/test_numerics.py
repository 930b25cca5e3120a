"""`numerics` against exact fractions."""
import math
from fractions import Fraction

import numpy as np
import pytest

from accel.spec.numerics import (
    MULTIPLIER_BITS,
    SHIFT_BITS,
    fixed_multiplier,
    limits,
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


@pytest.mark.parametrize("scale", [0.0, -1.0, 2.0 ** 15, math.nextafter(2.0 ** -46, 0.0),
                                   math.inf, math.nan])
def test_fixed_multiplier_names_a_scale_out_of_range(scale: float) -> None:
    with pytest.raises(ValueError, match=r"must be in \[2\*\*-46, 2\*\*15\), not "):
        fixed_multiplier(scale)
