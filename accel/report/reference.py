"""The activations once more, by mpmath with 60 digits: a truth that shares no code with ours.

`accel.spec.functions` computes in `Decimal` with constants copied from the literature; here they
come from their defining equations, and bounds are derived anew from each contract's definition.
"""
from collections.abc import Callable, Sequence

import mpmath

from accel.circuits.paper import POINTS
from accel.spec.formats import Format

Reference = Callable[[mpmath.mpf], mpmath.mpf]
#: Digits of every value, and the distance from a multiple of 1/2 that counts as none.
DIGITS = 60
NOISE = mpmath.mpf(10) ** -50


def selu(x: mpmath.mpf) -> mpmath.mpf:
    """From its fixed-point equations (Klambauer et al. 2017): mean 0 and variance 1 stay."""
    root = mpmath.erfc(1 / mpmath.sqrt(2)) * mpmath.exp(mpmath.mpf(1) / 2)
    alpha = -mpmath.sqrt(2 / mpmath.pi) / (root - 1)
    scale = (1 - root) * mpmath.sqrt(2 * mpmath.pi) / mpmath.sqrt(
        2 * mpmath.erfc(mpmath.sqrt(2)) * mpmath.exp(2)
        + mpmath.pi * root ** 2 - 2 * (2 + mpmath.pi) * root + mpmath.pi + 2)
    return scale * (x if x > 0 else alpha * mpmath.expm1(x))


def clip(x: mpmath.mpf, low: float, high: float) -> mpmath.mpf:
    """``x`` within ``[low, high]``."""
    return min(max(x, mpmath.mpf(low)), mpmath.mpf(high))


#: By the names of `accel.spec.functions.FUNCTIONS`.
REFERENCES: dict[str, Reference] = {
    "tanh": mpmath.tanh, "selu": selu, "elu": lambda x: x if x > 0 else mpmath.expm1(x),
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)), "gelu": lambda x: x * mpmath.ncdf(x),
    "silu": lambda x: x / (1 + mpmath.exp(-x)), "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
    "exp": mpmath.exp, "relu": lambda x: max(x, mpmath.mpf(0)),
    "hardtanh": lambda x: clip(x, -1, 1), "hardsigmoid": lambda x: clip((x + 3) / 6, 0, 1),
    "hardswish": lambda x: x * clip((x + 3) / 6, 0, 1)}
_MAGNITUDES = {point.name: point.function for point in POINTS}


def find_reference(name: str) -> Reference | None:
    """What computes a function, or the magnitude that a point of the paper is; None if unknown."""
    if name in _MAGNITUDES:
        inner = REFERENCES[_MAGNITUDES[name]]
        return lambda x: abs(inner(x))
    return REFERENCES.get(name)


def real(reference: Reference, in_format: Format, out_format: Format) -> list[mpmath.mpf]:
    """Values in output codes by rising input, saturated; work with `DIGITS` digits around it."""
    scale = mpmath.mpf(out_format.scale.numerator) / out_format.scale.denominator
    inputs = [in_format.value(code) for code in in_format.codes]
    values = [reference(mpmath.mpf(x.numerator) / x.denominator) / scale + out_format.zero_point
              for x in inputs]
    # a multiple of 1/2 but for the last digits is one
    halves = [mpmath.nint(2 * value) / 2 for value in values]
    return [clip(half if abs(value - half) < NOISE else value, out_format.low, out_format.high)
            for value, half in zip(values, halves, strict=True)]


def allowed(reference: Reference, in_format: Format, out_format: Format, contract: str, *,
            pinned: bool = False) -> list[tuple[int, int]]:
    """Lowest and highest code that a contract allows, by rising input."""
    low, high, zero = out_format.low, out_format.high, out_format.zero_point
    bounds = []
    with mpmath.workdps(DIGITS):
        values = real(reference, in_format, out_format)
        for code, value in zip(in_format.codes, values, strict=True):
            size = int(mpmath.floor(abs(value) + 0.5))          # ties away from zero
            nearest = size if value > 0 else -size
            if contract == "exact" or (pinned and in_format.value(code) == 0):
                bounds.append((nearest, nearest))
            elif contract == "faithful":
                bounds.append((int(mpmath.floor(value)), int(mpmath.ceil(value))))
            elif contract == "within1":
                bounds.append((max(low, nearest - 1), min(high, nearest + 1)))
            else:
                assert contract == "truncated"
                towards = mpmath.floor if value > zero else mpmath.ceil
                bounds.append((int(towards(value)),) * 2)
    return bounds


def confirms(reference: Reference, in_format: Format, out_format: Format, contract: str,
             codes: Sequence[int], *, pinned: bool = False) -> bool:
    """Whether every one of a circuit's codes, by rising input, is allowed."""
    bounds = allowed(reference, in_format, out_format, contract, pinned=pinned)
    return all(low <= code <= high for (low, high), code in zip(bounds, codes, strict=True))
