"""Which output codes an activation circuit may give: a Boolean relation, not a function."""
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import (
    ROUND_CEILING,
    ROUND_DOWN,
    ROUND_FLOOR,
    ROUND_HALF_UP,
    Decimal,
    localcontext,
)
from fractions import Fraction
from typing import Any

from accel.spec.errors import InputError
from accel.spec.formats import Format, FormatError
from accel.spec.functions import DIGITS

#: ``exact``: the correctly rounded value. ``faithful``: less than one code from the real value.
#: ``within1``: at most one code from the correctly rounded value, so less than 1.5 from the real.
CONTRACTS = ("exact", "faithful", "within1")
#: The value rounded towards zero, as in the tables of `accel.circuits.paper`: to compare with, not
#: for units.
TRUNCATED = "truncated"
#: Part of the inputs that saturate when an output format counts as too small.
MOST_SATURATED = Fraction(1, 2)

#: Of values in codes; they have `DIGITS` digits.
_NOISE = Decimal(10) ** (10 - DIGITS)


class FunctionError(InputError):
    """A function that has no value somewhere in the range of its input."""


@dataclass(frozen=True)
class Relation:
    """Allowed output codes ``low..high`` for each input code; all tuples are by rising input.

    Members
    -------
    real
        The function's value in units of the output's code, saturated to its range.
    nearest
        The correctly rounded code, ties away from zero; the only one allowed if ``truncated``.
    directions
        From each input to the next one the value 1: rises, 2: falls, 3: stays.
    """

    in_format: Format
    out_format: Format
    contract: str
    real: tuple[Decimal, ...]
    nearest: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]

    @property
    def directions(self) -> tuple[int, ...]:
        steps = [1 if b > a else 2 if b < a else 3
                 for a, b in zip(self.real, self.real[1:], strict=False)]
        return (*steps, 0)

    def allows(self, codes: Sequence[int]) -> bool:
        """Whether every code is allowed."""
        return all(low <= code <= high for low, code, high in
                   zip(self.low, codes, self.high, strict=True))

    def is_monotone(self, codes: Sequence[int]) -> bool:
        """Whether the codes step up only where the function rises, and down where it falls."""
        return all((b <= a or direction & 1) and (b >= a or direction & 2) and
                   (a == b or direction != 3)
                   for a, b, direction in zip(codes, codes[1:], self.directions, strict=False))

    def errors(self, codes: Sequence[int]) -> tuple[float, float]:
        """Greatest and mean distance of ``codes`` from the real value, in output codes (ulp)."""
        off = [abs(code - real) for code, real in zip(codes, self.real, strict=True)]
        return float(max(off)), float(sum(off) / len(off))


def relation(function: Callable[[Any], Any], in_format: Format, out_format: Format,
             contract: str, *, name: str = "", pinned: bool = False) -> Relation:
    """The relation of ``function``, which takes and returns a `decimal.Decimal`.

    ``pinned``: the code of input 0 must be the correctly rounded one. Raises `FunctionError` and
    `FormatError`.
    """
    if contract not in (known := (*CONTRACTS, TRUNCATED)):
        raise FormatError(f"contract must be one of {', '.join(known)}, not {contract!r}")
    low, high = out_format.low, out_format.high
    with localcontext() as context:
        context.prec = DIGITS
        scale = _decimal(out_format.scale)
        values = [_value(function, _decimal(in_format.value(code)), name)
                  for code in in_format.codes]
        exact = [_snapped(value / scale + out_format.zero_point) for value in values]
        _check_range(exact, values, in_format, out_format, name)
        real = [max(Decimal(low), min(Decimal(high), value)) for value in exact]
        zero = out_format.zero_point
        nearest = [int((value - zero).quantize(Decimal(1), ROUND_DOWN)) + zero for value in real] \
            if contract == TRUNCATED else \
            [int(value.quantize(Decimal(1), ROUND_HALF_UP)) for value in real]
        below = [int(value.quantize(Decimal(1), ROUND_FLOOR)) for value in real]
        above = [int(value.quantize(Decimal(1), ROUND_CEILING)) for value in real]
    if contract in ("exact", TRUNCATED):
        below = above = nearest
    elif contract == "within1":
        below = [max(low, code - 1) for code in nearest]
        above = [min(high, code + 1) for code in nearest]
    if pinned and in_format.zero_point in in_format.codes:
        at = in_format.zero_point - in_format.low
        below, above = list(below), list(above)
        below[at] = above[at] = nearest[at]
    return Relation(in_format, out_format, contract, tuple(real), tuple(nearest), tuple(below),
                    tuple(above))


def of_floats(call: Callable[[float], Any]) -> Callable[[Decimal], Decimal]:
    """A function for `relation` from one that takes a float; what it returns counts as exact."""
    def function(x: Decimal) -> Decimal:
        value = call(float(x))
        return value if isinstance(value, Decimal) else Decimal(str(value))
    return function


def _value(function: Callable[[Any], Any], x: Decimal, name: str) -> Decimal:
    try:
        value = function(x)
        finite = math.isfinite(value)
    except Exception as error:      # whatever a user's function raises
        text = " ".join(str(error).split())
        reason = f"{type(error).__name__}: {text}" if text else type(error).__name__
        raise FunctionError(f"function {name} raises at x = {float(x):g}: {reason}") from None
    if not finite:
        raise FunctionError(f"function {name} is {value} at x = {float(x):g}; it must be finite "
                            f"over the whole range of its input")
    return Decimal(value)


def _snapped(value: Decimal) -> Decimal:
    """``value``, or the multiple of 1/2 that it would be without the error of the last digits."""
    twice = (2 * value).to_integral_value()
    return twice / 2 if abs(2 * value - twice) < _NOISE else value


def _check_range(exact: Sequence[Decimal], values: Sequence[Decimal], in_format: Format,
                 out_format: Format, name: str) -> None:
    half = Decimal("0.5")
    outside = sum(not out_format.low - half <= value <= out_format.high + half for value in exact)
    lost_sign = not out_format.signed and min(exact) < out_format.low - half
    if lost_sign or outside >= MOST_SATURATED * len(exact):
        bounds = [f"{float(out_format.value(code)):g}" for code in (out_format.low,
                                                                    out_format.high)]
        raise FormatError(
            f"format {out_format} holds {bounds[0]} to {bounds[1]}, but {name} goes from "
            f"{float(min(values)):.4g} to {float(max(values)):.4g} over {in_format}: "
            f"{outside / len(exact):.0%} of the inputs saturate; it must be "
            f"less than {float(MOST_SATURATED):.0%}"
            + (", and none below 0 without a sign" if lost_sign else ""))


def _decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)
