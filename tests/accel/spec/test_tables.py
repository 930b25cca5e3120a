"""Truth tables against mpmath, for every code."""
import mpmath
import pytest

from accel.spec.numerics import limits
from accel.spec.tables import DEFAULT_INTEGER_BITS, ActivationSpec, truth_table


def reference(function: str, x: mpmath.mpf) -> mpmath.mpf:
    """The real function with 60 digits; SELU from its fixed-point equations (Klambauer et al.).

    alpha and scale solve for mean 0 and variance 1, so no constant is copied from the code.
    """
    if function == "tanh":
        return mpmath.tanh(x)
    root = mpmath.erfc(1 / mpmath.sqrt(2)) * mpmath.exp(mpmath.mpf(1) / 2)
    alpha = -mpmath.sqrt(2 / mpmath.pi) / (root - 1)
    scale = (1 - root) * mpmath.sqrt(2 * mpmath.pi) / mpmath.sqrt(
        2 * mpmath.erfc(mpmath.sqrt(2)) * mpmath.exp(2)
        + mpmath.pi * root ** 2 - 2 * (2 + mpmath.pi) * root + mpmath.pi + 2)
    return scale * (x if x > 0 else alpha * mpmath.expm1(x))


def expected(spec: ActivationSpec, bits: int) -> list[int]:
    """Nearest saturated codes for -2**(bits-1) and up, ties away from zero."""
    low, high = limits(bits)
    codes = []
    with mpmath.workdps(60):
        for code in range(low, high + 1):
            exact = reference(spec.function, mpmath.mpf(code) / 2 ** spec.in_frac)
            scaled = exact * 2 ** spec.out_frac
            nearest = int(mpmath.sign(scaled) * mpmath.floor(abs(scaled) + mpmath.mpf(1) / 2))
            codes.append(max(low, min(high, nearest)))
    return codes


@pytest.mark.parametrize("text", ["tanh", "selu"])
@pytest.mark.parametrize("bits", range(4, 13))
def test_default_formats_equal_mpmath(text: str, bits: int) -> None:
    if bits < max(DEFAULT_INTEGER_BITS[text]):
        pytest.skip("the default format does not fit")
    spec = ActivationSpec.parse(text, bits)
    table, half = truth_table(spec, bits), 1 << (bits - 1)
    by_value = [*table[half:], *table[:half]]
    assert by_value == expected(spec, bits)
    assert by_value == sorted(by_value)     # both functions rise
    assert table[0] == 0


@pytest.mark.parametrize(("text", "bits"), [
    ("tanh:Q4.4:Q1.7", 8), ("tanh:Q1.7:Q1.7", 8), ("tanh:Q8.0:Q2.6", 8), ("selu:Q3.5:Q3.5", 8),
    ("selu:Q8.0:Q8.0", 8), ("selu:Q1.7:Q3.5", 8), ("selu:Q4.4:Q1.7", 8), ("tanh:Q3.3:Q1.5", 6)])
def test_other_formats_equal_mpmath(text: str, bits: int) -> None:
    table, half = truth_table(ActivationSpec.parse(text, bits), bits), 1 << (bits - 1)
    assert [*table[half:], *table[:half]] == expected(ActivationSpec.parse(text, bits), bits)


def test_known_values_of_tanh() -> None:
    bits, spec = 12, ActivationSpec.parse("tanh:Q3.9:Q1.11", 12)
    table = truth_table(spec, bits)
    assert (table[0], table[1 << 9], table[(1 << 11) - 1], table[1 << 11]) == (
        0, 1560, 2047, -2047)       # tanh(0), tanh(1) = 0.76159, tanh(3.998), tanh(-4)


@pytest.mark.parametrize(("text", "spec"), [
    ("relu", ActivationSpec("relu", 0, 0)), ("tanh", ActivationSpec("tanh", 5, 7)),
    ("selu", ActivationSpec("selu", 4, 4)), ("tanh:Q2.6:Q3.5", ActivationSpec("tanh", 6, 5)),
    ("selu:Q8.0:Q1.7", ActivationSpec("selu", 0, 7))])
def test_parse(text: str, spec: ActivationSpec) -> None:
    assert ActivationSpec.parse(text, 8) == spec


@pytest.mark.parametrize("text", ["gelu", "", "Tanh", "relu:Q4.4:Q4.4", "gelu:Q4.4:Q4.4"])
def test_an_unknown_function_is_answered_with_those_known(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not known; there are relu, tanh, selu"):
        ActivationSpec.parse(text, 8)


@pytest.mark.parametrize("text", [
    "tanh:Q3.5", "tanh:Q3.5:Q1.7:Q1.7", "tanh:Q3.4:Q1.7", "tanh:Q0.8:Q1.7", "tanh:3.5:1.7",
    "selu:Q4.4:Q4.4x", "selu:Q-1.9:Q4.4", "selu::", "tanh:Q3.5:Q1.8"])
def test_a_bad_format_is_answered_with_the_rule(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be FUNCTION or FUNCTION:Qi\.f:Qi\.f with i >= 1 "
                       r"and i \+ f = act_bits = 8 in both"):
        ActivationSpec.parse(text, 8)


def test_a_default_format_wider_than_the_code_is_an_error() -> None:
    with pytest.raises(ValueError, match="act_bits = 3"):
        ActivationSpec.parse("selu", 3)
