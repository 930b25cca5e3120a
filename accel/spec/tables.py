"""Activation truth tables: the correctly rounded real function for every input code.

Formats are ``Qi.f``: two's complement with ``i`` integer bits (the sign is one of them) and
``f`` fraction bits, so ``Q3.5`` is 8 bits over [-4, 4). Values are computed with 50 decimal
digits, so that no rounding is decided by the error of a double.
"""
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, localcontext
from functools import cache

from accel.spec.numerics import limits

# Klambauer et al. 2017, "Self-Normalizing Neural Networks", section 2 (the digits torch uses).
SELU_SCALE = Decimal("1.0507009873554804934193349852946")
SELU_ALPHA = Decimal("1.6732632423543772848170429916717")


def _tanh(x: Decimal) -> Decimal:
    grown = (2 * x).exp()
    return (grown - 1) / (grown + 1)


def _selu(x: Decimal) -> Decimal:
    return SELU_SCALE * (x if x > 0 else SELU_ALPHA * (x.exp() - 1))


FUNCTIONS: dict[str, Callable[[Decimal], Decimal]] = {"tanh": _tanh, "selu": _selu}
#: Default integer bits (input, output) of each function.
DEFAULT_INTEGER_BITS = {"tanh": (3, 1), "selu": (4, 4)}
#: Activations that need no table.
PLAIN = ("relu",)


@dataclass(frozen=True)
class ActivationSpec:
    """A function with its input and output formats, given as fraction bits."""

    function: str
    in_frac: int
    out_frac: int

    @classmethod
    def parse(cls, text: str, bits: int) -> "ActivationSpec":
        """Read ``tanh`` or ``tanh:Q3.5:Q1.7`` for codes of ``bits`` bits.

        Raises ``ValueError`` naming the functions or the formats that are allowed.
        """
        function, *formats = text.split(":")
        if function in PLAIN and not formats:
            return cls(function, 0, 0)
        if function not in FUNCTIONS:
            known = ", ".join((*PLAIN, *FUNCTIONS))
            raise ValueError(f"activation {text!r} is not known; there are {known}")
        if not formats:
            formats = [f"Q{i}.{bits - i}" for i in DEFAULT_INTEGER_BITS[function]]
        matches = [re.fullmatch(r"Q(\d+)\.(\d+)", form) for form in formats]
        pairs = [(int(m[1]), int(m[2])) for m in matches if m]
        if len(formats) != 2 or len(pairs) != 2 or any(
                i < 1 or i + f != bits for i, f in pairs):
            raise ValueError(f"activation {text!r} must be FUNCTION or FUNCTION:Qi.f:Qi.f with "
                             f"i >= 1 and i + f = act_bits = {bits} in both formats")
        return cls(function, pairs[0][1], pairs[1][1])


@cache
def truth_table(spec: ActivationSpec, bits: int) -> tuple[int, ...]:
    """Output codes (signed) of ``spec``, indexed by the input code taken as unsigned.

    Each is the value of the real function rounded to nearest and saturated to ``bits`` bits.
    """
    low, high = limits(bits)
    entries = []
    with localcontext() as context:
        context.prec = 50
        for code in range(1 << bits):
            signed = code - (1 << bits) if code > high else code
            exact = FUNCTIONS[spec.function](Decimal(signed) / (1 << spec.in_frac))
            scaled = (exact * (1 << spec.out_frac)).quantize(Decimal(1), ROUND_HALF_UP)
            entries.append(max(low, min(high, int(scaled))))
    return tuple(entries)
