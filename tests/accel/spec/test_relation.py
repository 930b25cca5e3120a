"""Every function, format and contract against mpmath; what cannot be is one clear error."""
from collections.abc import Callable
from decimal import Decimal

import mpmath
import pytest

from accel.report.reference import DIGITS, REFERENCES, allowed, real
from accel.spec.formats import Format, FormatError
from accel.spec.functions import FUNCTIONS
from accel.spec.relation import CONTRACTS, TRUNCATED, FunctionError, of_floats, relation


def test_all_functions_have_a_reference() -> None:
    assert list(REFERENCES) == list(FUNCTIONS)


@pytest.mark.parametrize("contract", [*CONTRACTS, TRUNCATED])
@pytest.mark.parametrize(("in_text", "out_text"), [
    ("Q3.5", "Q3.5"), ("Q3.1", "Q3.3"), ("int8*0.037@-11", "int8*0.041@-20"), ("UQ2.6", "Q4.8")])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_bounds_equal_mpmath(function: str, in_text: str, out_text: str, contract: str) -> None:
    in_format, out_format = Format.parse(in_text), Format.parse(out_text)
    try:
        made = relation(FUNCTIONS[function], in_format, out_format, contract, name=function)
    except FormatError:
        assert function in ("exp", "softplus")      # they grow beyond
        return
    reference = REFERENCES[function]
    assert [*zip(made.low, made.high, strict=True)] == allowed(reference, in_format, out_format,
                                                               contract)
    with mpmath.workdps(DIGITS):
        for value, nearest, low, high in zip(real(reference, in_format, out_format), made.nearest,
                                             made.low, made.high, strict=True):
            assert abs(nearest - value) <= 0.5 or contract == TRUNCATED
            if contract == TRUNCATED:
                size = value - out_format.zero_point
                assert low == high == nearest
                assert 0 <= abs(size) - abs(nearest - out_format.zero_point) < 1
                assert (nearest - out_format.zero_point) * size >= 0
            elif contract == "exact":
                assert low == high == nearest
            elif contract == "faithful":
                assert (low, high) == (mpmath.floor(value), mpmath.ceil(value))
            else:
                assert (low, high) == (max(nearest - 1, out_format.low),
                                       min(nearest + 1, out_format.high))


def test_ties_go_away_from_zero() -> None:
    made = relation(FUNCTIONS["hardtanh"], Format.parse("Q1.3"), Format.parse("Q2.2"), "exact")
    assert made.nearest == (-4, -4, -3, -3, -2, -2, -1, -1, 0, 1, 1, 2, 2, 3, 3, 4)


@pytest.mark.parametrize("function", ["gelu", "tanh", "exp"])
def test_values_have_many_digits(function: str) -> None:
    """More than a double has, so that no tie is decided by an error of computing."""
    code = 77
    in_format, out_format = Format.parse("Q3.9"), Format.parse("Q6.6")
    made = relation(FUNCTIONS[function], in_format, out_format, "exact")
    with mpmath.workdps(DIGITS):
        exact = REFERENCES[function](mpmath.mpf(code) / 512) * 64
        got = mpmath.mpf(str(made.real[code - in_format.low]))
        assert abs(got - exact) < mpmath.mpf(10) ** -44


def test_directions() -> None:
    made = relation(FUNCTIONS["silu"], Format.parse("Q4.4"), Format.parse("Q4.4"), "within1")
    lowest = min(range(256), key=lambda place: made.real[place])
    assert set(made.directions[:lowest]) == {2}
    assert set(made.directions[lowest:255]) == {1}
    assert made.is_monotone(made.nearest)
    wrong = list(made.nearest)
    wrong[200] = wrong[201] + 1
    assert not made.is_monotone(wrong)
    flat = relation(FUNCTIONS["hardtanh"], Format.parse("Q3.5"), Format.parse("Q3.5"), "within1")
    assert flat.directions[0] == 3


def test_errors_are_in_codes() -> None:
    made = relation(FUNCTIONS["relu"], Format.parse("Q2.2"), Format.parse("Q2.2"), "within1")
    codes = [*made.nearest[:-1], made.nearest[-1] - 1]
    assert made.errors(codes) == (1, 1 / 16)


def test_pinned_zero_is_exact() -> None:
    made = relation(FUNCTIONS["sigmoid"], Format.parse("Q3.5"), Format.parse("Q3.5"), "within1",
                    pinned=True)
    assert (made.low[128], made.high[128], made.high[127] - made.low[127]) == (16, 16, 2)


@pytest.mark.parametrize(("call", "message"), [
    (lambda x: float("nan"), r"function f is NaN at x = -4; it must be finite"),
    (lambda x: float("inf") if x == 1 else 0.0, r"function f is Infinity at x = 1"),
    (lambda x: 1 / x, r"function f raises at x = 0: ZeroDivisionError: (float )?division"),
    (lambda x: None, r"function f raises at x = -4: InvalidOperation")])
def test_a_bad_callable_is_one_clear_error(call: Callable[[float], float], message: str) -> None:
    with pytest.raises(FunctionError, match=message):
        relation(of_floats(call), Format.parse("Q3.5"), Format.parse("Q3.5"), "exact", name="f")


def test_a_callable_of_floats() -> None:
    made = relation(of_floats(lambda x: x * x / 4), Format.parse("Q3.5"), Format.parse("UQ3.5"),
                    "exact", name="square")
    assert (made.nearest[0], made.nearest[128], made.nearest[255]) == (128, 0, 126)
    assert of_floats(lambda x: Decimal("0.1"))(Decimal(3)) == Decimal("0.1")


@pytest.mark.parametrize(("function", "out", "message"), [
    ("tanh", "UQ1.7", (r"holds 0 to 1\.99219, but tanh goes from -0\.9993 to 0\.9993 over Q3\.5: "
                      r"50% of the inputs saturate; it must be less than 50%, and none below 0")),
    ("exp", "Q1.7", "but exp goes from 0.01832 to 52.92")])
def test_a_format_that_is_too_small_is_named(function: str, out: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        relation(FUNCTIONS[function], Format.parse("Q3.5"), Format.parse(out), "exact",
                 name=function)


def test_an_unknown_contract_is_refused() -> None:
    with pytest.raises(FormatError, match="within1, truncated, not 'e1'"):
        relation(FUNCTIONS["tanh"], Format.parse("Q3.5"), Format.parse("Q3.5"), "e1")
