"""The activations of a configuration: function, formats and contract."""
import re
from dataclasses import dataclass
from fractions import Fraction

from accel.spec.formats import Format, FormatError
from accel.spec.functions import FUNCTIONS
from accel.spec.relation import CONTRACTS, relation

#: Default integer bits (input, output) of each function.
DEFAULT_INTEGER_BITS = {
    "tanh": (3, 1), "selu": (4, 4), "elu": (4, 4), "sigmoid": (4, 1), "gelu": (4, 4),
    "silu": (4, 4), "softplus": (4, 4), "exp": (4, 4), "hardtanh": (3, 2), "hardsigmoid": (4, 1),
    "hardswish": (4, 4)}
#: Activations that need no table.
PLAIN = ("relu",)


@dataclass(frozen=True)
class ActivationSpec:
    """A function with its input and output formats, given as fraction bits, and its contract."""

    function: str
    in_frac: int
    out_frac: int
    contract: str = "exact"

    @classmethod
    def parse(cls, text: str, bits: int) -> "ActivationSpec":
        """Read ``tanh``, ``tanh:Q3.5:Q1.7`` or ``tanh:Q3.5:Q1.7:within1`` for ``bits`` bits.

        Raises ``ValueError`` naming the functions, formats or contracts that are allowed.
        """
        function, *formats = text.split(":")
        if function in PLAIN and not formats:
            return cls(function, 0, 0)
        if function not in DEFAULT_INTEGER_BITS:
            known = ", ".join((*PLAIN, *DEFAULT_INTEGER_BITS))
            raise ValueError(f"activation {text!r} is not known; there are {known}")
        contract = formats.pop() if formats and formats[-1] in CONTRACTS else "exact"
        if not formats:
            formats = [f"Q{i}.{bits - i}" for i in DEFAULT_INTEGER_BITS[function]]
        matches = [re.fullmatch(r"Q(\d+)\.(\d+)", form) for form in formats]
        pairs = [(int(m[1]), int(m[2])) for m in matches if m]
        if len(formats) != 2 or len(pairs) != 2 or any(
                i < 1 or i + f != bits for i, f in pairs):
            raise ValueError(f"activation {text!r} must be FUNCTION, FUNCTION:Qi.f:Qi.f with "
                             f"i >= 1 and i + f = act_bits = {bits} in both formats, or one of "
                             f"these and a contract: :{', :'.join(CONTRACTS)}")
        spec = cls(function, pairs[0][1], pairs[1][1], contract)
        coarse = min(bits, 8)       # enough to see where the function leaves the format
        try:
            relation(FUNCTIONS[function], _fixed(coarse, spec.in_frac - bits + coarse),
                     spec.out_format(bits), contract, name=function)
        except FormatError as error:
            raise ValueError(f"activation {text!r}: {error}") from None
        return spec

    def in_format(self, bits: int) -> Format:
        """Of the input's codes."""
        return _fixed(bits, self.in_frac)

    def out_format(self, bits: int) -> Format:
        """Of the output's codes."""
        return _fixed(bits, self.out_frac)


def _fixed(bits: int, fraction: int) -> Format:
    return Format(bits, Fraction(2) ** -fraction, text=f"Q{bits - fraction}.{fraction}")
