"""Formats: their text, their range, and what is refused."""
from fractions import Fraction

import pytest

from accel.spec.formats import Format, FormatError


@pytest.mark.parametrize(("text", "low", "high", "one"), [
    ("Q3.5", -4, Fraction(127, 32), 32), ("Q1.7", -1, Fraction(127, 128), 128),
    ("UQ0.8", 0, Fraction(255, 256), 256), ("UQ2.2", 0, Fraction(15, 4), 4),
    ("int8*0.05", Fraction(-64, 10), Fraction(635, 100), 20),
    ("uint8*0.05@12", Fraction(-6, 10), Fraction(1215, 100), 32), ("int4*2@-3", -10, 20, None)])
def test_range_and_value(text: str, low: Fraction, high: Fraction, one: int | None) -> None:
    made = Format.parse(text)
    assert (made.value(made.low), made.value(made.high), str(made)) == (low, high, text)
    assert len(made.codes) == 1 << made.bits
    if one is not None:
        assert made.value(one) == 1


@pytest.mark.parametrize(("text", "message"), [
    ("Q0.8", "needs an integer bit for the sign: Q1.7, or UQ0.8"), ("Q3.10", "has 13 bits; 4 to"),
    ("Q2.1", "has 3 bits"), ("3.5", "must be like Q3.5"), ("int8", "must be like"),
    ("int8*0", "scale must be more than 0"), ("int8*1e", "is not a number"), ("", "must be like")])
def test_bad_text_is_answered_with_the_rule(text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        Format.parse(text)
