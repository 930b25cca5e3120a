"""Division by a power of two, rounded: the last step of a requantizer and of an addition."""
from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.spec.numerics import SHIFT_BITS
from rtl.arith import register
from rtl.carry import FusedAdder, add
from rtl.pick import chosen

FINE_BITS = 3   # of the shift; the rest is the coarse stage
FINE = 1 << FINE_BITS
COARSE = 1 << (SHIFT_BITS - FINE_BITS)


class RoundShift(wiring.Component):
    """``round_shift(value, drop + 1) + zero_point``, as far as ``bits`` bits can tell.

    ``o`` follows ``value`` and ``drop`` by `latency` cycles; ``zero_point`` comes
    `ZERO_POINT_STAGE` cycles behind them. Saturated to ``bits`` bits, or limited to a range within
    them, ``o`` is what the exact sum would be: only sums that are far outside differ.

    The quotient is taken with one bit of fraction; that bit rounds it up, unless the number is
    negative and nothing was dropped below it (half away from zero).

    Parameters
    ----------
    value_bits
        Width of ``value``.
    bits
        Width of the result that counts, and of ``zero_point``.
    """

    latency = 4
    ZERO_POINT_STAGE = 3

    def __init__(self, value_bits: int, bits: int) -> None:
        self.value_bits, self.bits = value_bits, bits
        super().__init__({"value": In(signed(value_bits)), "drop": In(SHIFT_BITS),
                          "zero_point": In(signed(bits)), "o": Out(signed(bits + 2))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Of the quotient: a bit of fraction, and one more than the result has. The zero point
        # cannot bring back what is off by more.
        kept = self.bits + 2
        window = kept + FINE - 1        # what the fine shift can look at
        value, sign = self.value, self.value[-1]
        bit = [value[min(n, self.value_bits - 1)] for n in range(FINE * COARSE + window)]

        # first cycle: the coarse shift, and what of each part lies outside the window
        coarse = self.drop[FINE_BITS:]
        near = register(m, chosen([Cat(bit[FINE * k:FINE * k + window]) for k in range(COARSE)],
                                  coarse), "near")
        below = [register(m, Cat(bit[FINE * k:min(FINE * (k + 1), self.value_bits)]).any(),
                          f"below_{k}") for k in range(COARSE) if FINE * k < self.value_bits]
        above = [register(m, _differ(bit[FINE * k + window:FINE * (k + 1) + window], sign),
                          f"above_{k}") for k in range(COARSE)
                 if FINE * k + window < self.value_bits]
        negative = register(m, sign, "negative")
        fine = register(m, self.drop[:FINE_BITS], "fine")
        coarse = register(m, coarse, "coarse")

        # second cycle: the fine shift
        quotient = register(m, chosen([near[k:k + kept] for k in range(FINE)], fine), "quotient")
        far = register(m, chosen([Cat(above[k:]).any() for k in range(COARSE)], coarse), "far")
        past = register(m, Cat((near[n] ^ negative) & (fine <= n - kept + 1)
                               for n in range(kept - 1, window)).any(), "past")
        lost = register(m, chosen([Cat(below[:k]).any() for k in range(COARSE)], coarse), "lost")
        tail = register(m, Cat(near[n] & (fine > n) for n in range(FINE - 1)).any(), "tail")
        negative = register(m, negative, "quotient_negative")

        # third and fourth: saturate; round, and add the zero point
        limited = register(m, Cat(Mux(far | past, (~negative).replicate(kept - 1),
                                      quotient[:kept - 1]), negative).as_signed(), "limited")
        up = register(m, ~negative | lost | tail, "up")
        m.submodules.rounder = rounder = FusedAdder(kept + 1, add, carry="port")
        m.d.comb += [rounder.a.eq(Cat(limited, limited[-1])), rounder.carry.eq(up),
                     rounder.c.eq(Cat(Const(0, 1), self.zero_point, self.zero_point[-1].replicate(
                         kept - self.bits)))]
        m.d.sync += self.o.eq(rounder.sum[1:].as_signed())
        return m


def _differ(bits: Sequence[Value], sign: Value) -> Value:
    """Whether some bit is not the sign."""
    word = Cat(bits)
    return Mux(sign, ~word.all(), word.any())
