"""The text of an activation: what it means, and what is refused."""
from fractions import Fraction

import pytest

from accel.spec.functions import FUNCTIONS
from accel.spec.tables import DEFAULT_INTEGER_BITS, PLAIN, ActivationSpec


@pytest.mark.parametrize("bits", [4, 8, 16])
@pytest.mark.parametrize("function", DEFAULT_INTEGER_BITS)
def test_default_formats_hold_every_function(function: str, bits: int) -> None:
    spec = ActivationSpec.parse(function, bits)
    assert (spec.in_format(bits).bits, spec.out_format(bits).bits) == (bits, bits)
    assert spec.in_format(bits).scale == Fraction(1, 1 << spec.in_frac)


def test_every_function_has_a_default_format() -> None:
    assert {*DEFAULT_INTEGER_BITS, *PLAIN} == set(FUNCTIONS)


@pytest.mark.parametrize(("text", "spec"), [
    ("relu", ActivationSpec("relu", 0, 0)), ("tanh", ActivationSpec("tanh", 5, 7)),
    ("selu", ActivationSpec("selu", 4, 4)), ("tanh:Q2.6:Q3.5", ActivationSpec("tanh", 6, 5)),
    ("selu:Q8.0:Q8.0", ActivationSpec("selu", 0, 0)),
    ("tanh:within1", ActivationSpec("tanh", 5, 7, "within1")),
    ("gelu:Q3.5:Q3.5:faithful", ActivationSpec("gelu", 5, 5, "faithful"))])
def test_parse(text: str, spec: ActivationSpec) -> None:
    assert ActivationSpec.parse(text, 8) == spec


@pytest.mark.parametrize("text", ["mish", "", "Tanh", "relu:Q4.4:Q4.4", "mish:Q4.4:Q4.4"])
def test_an_unknown_function_is_answered_with_those_known(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not known; there are relu, tanh, selu"):
        ActivationSpec.parse(text, 8)


@pytest.mark.parametrize("text", [
    "tanh:Q3.5", "tanh:Q3.5:Q1.7:Q1.7", "tanh:Q3.4:Q1.7", "tanh:Q0.8:Q1.7", "tanh:3.5:1.7",
    "selu:Q4.4:Q4.4x", "tanh:Q3.5:within1", "tanh:Q3.5:Q1.7:e1", "selu:Q-1.9:Q4.4",
    "selu::", "tanh:Q3.5:Q1.8"])
def test_a_bad_format_is_answered_with_the_rule(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be FUNCTION, FUNCTION:Qi\.f:Qi\.f with i >= 1 "
                       r"and i \+ f = act_bits = 8 in both formats, or one of these and a "
                       r"contract: :exact, :faithful, :within1"):
        ActivationSpec.parse(text, 8)


def test_a_default_format_wider_than_the_code_is_an_error() -> None:
    with pytest.raises(ValueError, match="act_bits = 3"):
        ActivationSpec.parse("selu", 3)


def test_a_format_that_cannot_hold_the_function_is_named() -> None:
    with pytest.raises(ValueError, match=r"activation 'selu:Q4\.4:Q1\.7': format Q1\.7 holds -1 to "
                       r"0\.992188, but selu goes from -1\.758 to 8\.34"):
        ActivationSpec.parse("selu:Q4.4:Q1.7", 8)
