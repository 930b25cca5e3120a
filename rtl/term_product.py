"""Products with powers of two and with sums of them, by shifts and additions alone."""
from typing import NamedTuple

from amaranth.hdl import Cat, Const, Module, Mux, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.spec.scales import (
    FRACTION_BITS,
    HALVING_BITS,
    SUMMAND_EXPONENT_BITS,
    SUMMAND_EXPONENT_MAX,
    TERM_BITS,
)
from rtl.arith import delay, extended, register
from rtl.carry import FusedAdder, select


class Shifted(NamedTuple):
    """A number on its way through a left shift: all but the last bit of the exponent is done.

    Members
    -------
    near, far
        What it is if the last bit is 0, and if it is 1.
    last
        That bit.
    negative
        It is inverted, and wants one more to be the negative number.
    """

    near: Value
    far: Value
    last: Value
    negative: Value


def shift_started(m: Module, a: Value, exponent: Value, negative: Value, on: Value, name: str,
                  ) -> Shifted:
    """``±(a << exponent)``, or zero unless ``on``, a cycle later: two levels of LUTs.

    The exponent has three bits. Zeros that come in from below are inverted with the rest.
    """
    value = Mux(exponent[0], Cat(Const(0, 1), a), extended(a, len(a) + 1))
    value ^= negative.replicate(len(value))
    value = Mux(exponent[1], Cat(negative.replicate(2), value), extended(value, len(value) + 2))
    # an AND: of a multiplexer with a constant yosys would make resets, slower than data
    near = register(m, value & on.replicate(len(value)), name)
    negative = register(m, negative & on, f"{name}_negative")
    last = register(m, exponent[2], f"{name}_last")
    return Shifted(extended(near, len(near) + 4), Cat(negative.replicate(4), near), last, negative)


class TermProduct(wiring.Component):
    """``product = a * multiplier``, exact, `latency_of` cycles later, a pair every cycle.

    The multiplier is ``2**7``, plus ``±2**(7 - d)`` for each further term whose code in ``b`` has
    ``d`` above 0 (`accel.spec.scales.Scales`). The first term is wiring. The multiplexer of the
    last bit by which another one is shifted is a part of the adder, whose carry completes the
    negation. ``product`` comes from a register; with one term it is ``a``.

    Parameters
    ----------
    a_bits
        Width of ``a``, signed.
    terms
        Terms of a multiplier, 1 to 3.
    """

    def __init__(self, a_bits: int, terms: int) -> None:
        self.a_bits, self.terms = a_bits, terms
        # at most 2**7 + 2**6 + 2**6 = 2**8, by which the lowest ``a`` still fits
        super().__init__({"a": In(signed(a_bits)), "b": In((terms - 1) * TERM_BITS),
                          "product": Out(signed(a_bits + FRACTION_BITS + (terms > 1)))})

    @staticmethod
    def latency_of(terms: int) -> int:
        """Cycles from operands to product: a term is shifted while those before it are added."""
        return terms if terms > 1 else 0

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self.terms == 1:
            m.d.comb += self.product.eq(Cat(Const(0, FRACTION_BITS), self.a).as_signed())
            return m
        before = register(m, self.a, "a_1")
        total: Value = Cat(Const(0, FRACTION_BITS), before)
        for place, a in zip(range(self.terms - 1), (self.a, before), strict=False):
            code = delay(m, self.b[place * TERM_BITS:][:TERM_BITS], place, f"code_{place}")
            halvings, negative = code[:HALVING_BITS], code[HALVING_BITS]
            term = shift_started(m, a, ~halvings, negative, halvings.any(), f"term_{place}")
            total = register(m, self._sum(m, total, term, f"add_{place}"), f"total_{place}")
        m.d.comb += self.product.eq(total.as_signed())
        return m

    def _sum(self, m: Module, total: Value, term: Shifted, name: str) -> Value:
        bits = len(self.product)
        m.submodules[name] = adder = FusedAdder(bits, select, carry="port")
        m.d.comb += [adder.a.eq(extended(total, bits)), adder.b.eq(extended(term.far, bits)),
                     adder.c.eq(extended(term.near, bits)), adder.d.eq(term.last.replicate(bits)),
                     adder.carry.eq(term.negative)]
        return adder.sum


class PowerProduct(wiring.Component):
    """``product = a * 2**exponent``, or zero, a cycle later, every cycle.

    ``b`` is the exponent and, above it, whether ``a`` counts (`Scales.encode_summand`). One
    multiplexer lies between a register and ``product``.

    Parameters
    ----------
    a_bits
        Width of ``a``, signed.
    """

    latency = 1

    def __init__(self, a_bits: int) -> None:
        self.a_bits = a_bits
        super().__init__({"a": In(signed(a_bits)), "b": In(SUMMAND_EXPONENT_BITS + 1),
                          "product": Out(signed(a_bits + SUMMAND_EXPONENT_MAX))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        shifted = shift_started(m, self.a, self.b[:-1], Const(0), self.b[-1], "shifted")
        m.d.comb += self.product.eq(Mux(shifted.last, shifted.far, shifted.near).as_signed())
        return m
