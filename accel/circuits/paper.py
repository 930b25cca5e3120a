"""The 18 circuits of Yang et al. 2018: tanh on [0, 2) and SELU on [-3.875, 0), by sign and size.

Input code ``k`` of ``n`` bits stands for ``x = left + k * (right - left) / 2**n``, the left edge of
a bin; the circuit gives ``|f(x)|``, truncated to ``f`` fraction bits. Sign and saturation are left
to what stands around it, and `evaluate` says what that must do.

Source: T. Yang, Y. Wei, Z. Tu, H. Zeng, M. Kinsy, N. Zheng, P. Ren, "Design Space Exploration of
Neural Network Activation Function Circuits", IEEE TCAD 38(10), 2019, DOI
10.1109/TCAD.2018.2871198; ranges and rounding from the authors' ``implementation/implement.py``.
"""
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal, localcontext
from fractions import Fraction

import torch
from torch import Tensor

from accel.circuits.ste import look_up
from accel.spec.formats import Format
from accel.spec.functions import DIGITS, FUNCTIONS, SELU_ALPHA, SELU_SCALE

#: Range of the input; the right end is outside.
RANGES = {"tanh": (Fraction(0), Fraction(2)), "selu": (Fraction(-31, 8), Fraction(0))}
#: Integer bits of ``|f|``: the paper keeps one for tanh too, which is always 0.
INTEGER_BITS = {"tanh": 0, "selu": 1}
FRACTION_BITS = (4, 6, 8)
INPUT_BITS = (4, 5, 6)


@dataclass(frozen=True)
class Point:
    """One circuit of the paper."""

    function: str
    fraction_bits: int
    input_bits: int

    @property
    def name(self) -> str:
        """As the paper's files: ``tanh_1_6_4`` has 1 integer, 6 fraction and 4 input bits."""
        return f"{self.function}_1_{self.fraction_bits}_{self.input_bits}"

    @property
    def in_format(self) -> Format:
        """Unsigned; a SELU input is counted from its right end, 0, so that 0 is no code."""
        left, right = RANGES[self.function]
        scale = (right - left) / (1 << self.input_bits)
        return Format(self.input_bits, scale, int(-left / scale), signed=False,
                      text=f"[{float(left):g},{float(right):g}) {self.input_bits} bits")

    @property
    def out_format(self) -> Format:
        """Unsigned fixed point without the paper's integer bit where that is always 0."""
        integer = INTEGER_BITS[self.function]
        return Format(integer + self.fraction_bits, Fraction(1, 1 << self.fraction_bits), 0,
                      signed=False, text=f"UQ{integer}.{self.fraction_bits}")

    def magnitude(self, x: Decimal) -> Decimal:
        """``|f(x)|``, as `accel.spec.relation.relation` takes it."""
        return abs(FUNCTIONS[self.function](x))

    def golden(self) -> tuple[int, ...]:
        """The paper's table: ``|f|`` in units of the last bit, truncated, by rising input."""
        with localcontext() as context:
            context.prec = DIGITS
            return tuple(
                int((self.magnitude(Decimal(x.numerator) / x.denominator)
                     * (1 << self.fraction_bits)).quantize(Decimal(1), ROUND_DOWN))
                for x in map(self.in_format.value, self.in_format.codes))


POINTS = tuple(Point(function, fraction_bits, input_bits) for function in RANGES
               for fraction_bits in FRACTION_BITS for input_bits in INPUT_BITS)


def evaluate(point: Point, table: Sequence[int], x: Tensor) -> Tensor:
    """The whole function around a circuit that gives ``table``; of ``x``'s shape and type.

    tanh is mirrored and is +-1 from +-2 on. SELU is ``scale * x`` in floating point from 0 on, as
    in the paper, and ``-scale * alpha`` below -3.875. The paper's own model takes ``x`` for the
    right bin down to -6.125 or -8.125 only; this one has no such end.
    """
    if point.function == "tanh":
        size = x.abs()
        return torch.where(size < 2, _in_bins(point, table, size), 1.0) * x.sign()
    inside = torch.where(x < float(RANGES["selu"][0]), float(-SELU_SCALE * SELU_ALPHA),
                         -_in_bins(point, table, x))
    return torch.where(x < 0, inside, float(SELU_SCALE) * x)


def _in_bins(point: Point, table: Sequence[int], x: Tensor) -> Tensor:
    """``table`` at the bin of each ``x``; at the first or last bin for an ``x`` outside."""
    form = point.in_format
    edges = torch.tensor([float(form.value(code)) for code in form.codes], dtype=torch.float64)
    wide = x.double()
    places = ((wide - edges[0]) / float(form.scale)).floor().clamp(0, form.high).long()
    # Rounding may lift an x close below an edge onto it, never let one fall behind.
    places = (places - (edges[places] > wide).long()).clamp(min=0)
    return look_up(form, point.out_format, table, places).to(x.dtype)
