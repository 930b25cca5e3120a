"""Scales that a requantizer shifts and adds for: codes, nearest ones, additions, faults."""
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from accel.spec.link import param_bits, param_code, param_of
from accel.spec.numerics import add_factors, fixed_multiplier, limits
from accel.spec.presets import PRESETS
from accel.spec.scales import FRACTION_BITS, Scales

ALL = [Scales(terms, signed, "single") for terms in range(4) for signed in (False, True)]
SUMS = [scales for scales in ALL if scales.terms]
#: Largest relative distance from a scale to the nearest that ``terms`` powers of two can give.
WORST = {1: Fraction(1, 3), 2: Fraction(1, 11), 3: Fraction(1, 43)}


def sums_of_powers(terms: int) -> set[int]:
    """Every positive 2**7 plus up to ``terms - 1`` signed smaller powers of two, below 2**8."""
    steps = [0, *(sign << n for sign in (-1, 1) for n in range(FRACTION_BITS))]
    return {total for more in product(steps, repeat=terms - 1)
            if 0 < (total := (1 << FRACTION_BITS) + sum(more)) < 2 << FRACTION_BITS}


@pytest.mark.parametrize("scales", SUMS, ids=str)
def test_codes_are_those_of_all_sums(scales: Scales) -> None:
    assert set(scales.codes) == sums_of_powers(scales.terms)
    signs = (1, -1) if scales.signed else (1,)
    legal = [sign * multiplier for sign in signs for multiplier in scales.codes]
    codes = [scales.encode(multiplier) for multiplier in legal]
    assert [scales.decode(code) for code in codes] == legal
    assert all(0 <= code < 1 << scales.code_bits for code in codes)
    assert (scales.terms, scales.code_bits - scales.signed) in {(1, 0), (2, 4), (3, 8)}
    every = {scales.decode(code) for code in range(1 << scales.code_bits)}
    assert set(legal) <= every      # codes that are never given may mean zero or less


@pytest.mark.parametrize("scales", ALL, ids=str)
def test_nearest_is_nearest(scales: Scales) -> None:
    rng = np.random.default_rng(3)
    given = 2.0 ** rng.uniform(-40, 5, 150)
    rounded = scales.rounded(given)
    for scale, legal in zip(given.tolist(), rounded.tolist(), strict=True):
        multiplier, shift = scales.nearest(scale)
        assert not scales.fault(multiplier)
        found = Fraction(multiplier, 1 << shift)
        worst = WORST.get(scales.terms, Fraction(1, 1 << 17))
        assert abs(found / Fraction(scale) - 1) <= worst
        if scales.terms:
            others = (Fraction(other, 1 << s) for other in scales.codes
                      for s in range(shift - 9, shift + 10) if s > 0)
            assert abs(found - Fraction(scale)) == min(abs(o - Fraction(scale)) for o in others)
            assert legal == found
        else:
            assert (multiplier, shift) == fixed_multiplier(scale)
            assert legal == scale
        if scales.signed:
            assert scales.nearest(-scale) == (-multiplier, shift)
    if scales.signed:
        assert np.array_equal(scales.rounded(-given), -rounded)


def test_the_worst_scale_is_as_far_as_the_docstring_says() -> None:
    grid = np.linspace(1, 2, 20_001)
    for terms, worst in WORST.items():
        error = abs(Scales(terms, signed=False, rounding="single").rounded(grid) / grid - 1).max()
        assert error == pytest.approx(float(worst), abs=1e-4)


@pytest.mark.parametrize("scales", SUMS, ids=str)
def test_powers_of_two_are_exact_and_means_nearly(scales: Scales) -> None:
    for exponent in (-50, -8, -1, 0, 4):
        multiplier, shift = scales.nearest(2.0 ** exponent)
        assert Fraction(multiplier, 1 << shift) == Fraction(2) ** exponent
    assert scales.mean(64) == scales.nearest(1 / 64)
    assert scales.rounded(np.array([0.25, -0.5])).tolist() == [0.25, -0.5]


@pytest.mark.parametrize("scales", SUMS, ids=str)
def test_additions_shift(scales: Scales) -> None:
    for one, two, out in ((0.5, 0.25, 1.0), (0.5, 0.5, 0.5), (4.0, 2.0 ** -9, 8.0), (1, 64, 1)):
        multipliers, shifts, multiplier, shift = scales.add_factors((one, two), out)
        assert (shifts, multiplier) == ((0, 0), 1)
        assert 1 <= shift <= 40
        for source, factor in zip((one, two), multipliers, strict=True):
            assert factor / 2 ** shift == (source / out if source / out * 2 ** shift >= 1 else 0)
            assert scales.decode_summand(scales.encode_summand(factor)) == factor
            assert scales.encode_summand(factor) < 1 << scales.summand_bits
    with pytest.raises(ValueError, match=r"must be powers of two of each other, not 0\.75"):
        scales.add_factors((0.75, 1.0), 1.0)
    with pytest.raises(ValueError, match=r"larger input scale of an addition must be 2\*\*-33 to "
                                         r"2\*\*6 of its output's, not \(128\.0, 1\.0\) to 1\.0"):
        scales.add_factors((128.0, 1.0), 1.0)
    with pytest.raises(ValueError, match=r"0 or a power of two up to 2\*\*7"):
        scales.encode_summand(256)
    with pytest.raises(ValueError, match=r"0 or a power of two up to 2\*\*7"):
        scales.encode_summand(3)


def test_what_multiplies_adds_as_before() -> None:
    scales = Scales(0, signed=False, rounding="single")
    assert scales.add_factors((0.3, 0.7), 1.1) == add_factors((0.3, 0.7), 1.1)
    assert scales.encode_summand(65535) == scales.decode_summand(65535) == 65535
    assert (scales.code_bits, scales.summand_bits) == (17, 16)
    tflite = Scales(0, signed=False, rounding="tflite")
    assert (tflite.code_bits, tflite.summand_bits) == (31, 31)


@pytest.mark.parametrize(("scales", "multiplier", "fault"), [
    (ALL[0], -1, "must not be negative"), (ALL[0], 1 << 17, r"must be in 0\.\.131071, not 131072"),
    (ALL[1], -(1 << 17), r"must be in -131071\.\.131071"),
    (Scales(2, signed=False, rounding="single"), 200, "a sum of 2 powers of two .* not 200"),
    (Scales(1, signed=True, rounding="single"), 0, "a sum of 1 powers of two .* not 0")], ids=str)
def test_illegal_multipliers(scales: Scales, multiplier: int, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        scales.encode(multiplier)


@pytest.mark.parametrize(("scales", "scale", "fault"), [
    (ALL[0], -0.5, "must not be negative"), (SUMS[4], 64.5, r"in \[2\*\*-54, 2\*\*6\], not 64"),
    (SUMS[0], 0.0, "not 0.0"), (SUMS[4], 2.0 ** -60, "must be in")], ids=str)
def test_scales_out_of_range(scales: Scales, scale: float, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        scales.nearest(scale)


@pytest.mark.parametrize("name", ["tiny", "tiny-shift", "tiny-add", "tiny-shiftadd"])
def test_a_channels_word(name: str) -> None:
    """The bias of a negative multiplier completes the negation of an inverted accumulator."""
    config = PRESETS[name]
    low, high = limits(config.acc_bits)
    for multiplier in (1 << FRACTION_BITS, 96, *((-112,) if config.scales.signed else ())):
        for bias in (low + 2, -1, 0, 1, high):
            code = param_code(config, bias, multiplier, 17)
            assert code < 1 << param_bits(config)
            assert param_of(config, code) == (bias, multiplier, 17)
            stored = code & ((1 << config.acc_bits) - 1)
            stored -= (stored >> (config.acc_bits - 1)) << config.acc_bits
            acc = 12345
            assert (~acc + stored if multiplier < 0 else acc + stored) == (
                -(acc + bias) if multiplier < 0 else acc + bias)
