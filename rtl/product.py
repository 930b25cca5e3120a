"""A signed number times an unsigned one, in DSP slices or in carry chains."""
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.arith import fitted, register, unsigned_as_signed
from rtl.ecp5.dsp import DSP_BITS
from rtl.multiplier import Multiplier
from rtl.tree import TreeMultiplier

#: Unsigned bits that fit a DSP slice, whose operands are signed.
LOW_BITS = DSP_BITS - 1


class Product(wiring.Component):
    """``product = a * b``, exact, `latency` cycles later, a pair every cycle.

    ``product`` comes from a register.

    Parameters
    ----------
    a_bits, b_bits
        Widths of ``a``, signed, and of ``b``, unsigned.
    in_luts
        Multiply in carry chains; else in a DSP slice, or two if ``a`` does not fit one, and as many
        for the upper half of ``b`` if that does not fit either.
    """

    def __init__(self, a_bits: int, b_bits: int, *, in_luts: bool) -> None:
        self.a_bits, self.b_bits, self.in_luts = a_bits, b_bits, in_luts
        self.latency = self.latency_of(a_bits, b_bits, in_luts=in_luts)
        super().__init__({"a": In(signed(a_bits)), "b": In(b_bits),
                          "product": Out(signed(a_bits + b_bits))})

    @staticmethod
    def latency_of(a_bits: int, b_bits: int, *, in_luts: bool) -> int:
        """Cycles from operands to product."""
        if in_luts:
            return (TreeMultiplier.latency_of(a_bits, b_bits) if a_bits >= b_bits
                    else TreeMultiplier.latency_of(b_bits + 1, a_bits))
        return Multiplier.latency + (1 if a_bits <= DSP_BITS else 2) + (b_bits > LOW_BITS)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self.in_luts:
            self._add_rows(m)
        elif self.b_bits > LOW_BITS:
            self._add_halves(m)
        else:
            self._add_slices(m)
        return m

    def _add_rows(self, m: Module) -> None:
        """A row of adders for each bit of the narrower operand."""
        if self.a_bits >= self.b_bits:
            rows = TreeMultiplier(self.a_bits, self.b_bits, b_unsigned=True)
            m.d.comb += [rows.a.eq(self.a), rows.b.eq(self.b)]
        else:
            rows = TreeMultiplier(self.b_bits + 1, self.a_bits)
            m.d.comb += [rows.a.eq(unsigned_as_signed(self.b)), rows.b.eq(self.a)]
        m.submodules.rows = rows
        m.d.comb += self.product.eq(fitted(rows.product, len(self.product)))

    def _add_slices(self, m: Module) -> None:
        """One slice, or one for each half of ``a``; a register behind it, as the way is long."""
        b = unsigned_as_signed(self.b)
        if self.a_bits <= DSP_BITS:
            m.submodules.whole = whole = Multiplier(self.a_bits, len(b))
            m.d.comb += [whole.a.eq(self.a), whole.b.eq(b)]
            exact: Signal = whole.product
        else:
            m.submodules.upper = upper = Multiplier(self.a_bits - LOW_BITS, len(b))
            m.submodules.lower = lower = Multiplier(DSP_BITS, len(b))
            m.d.comb += [upper.a.eq(self.a[LOW_BITS:].as_signed()), upper.b.eq(b),
                         lower.a.eq(unsigned_as_signed(self.a[:LOW_BITS])), lower.b.eq(b)]
            exact = (register(m, upper.product, "upper_product").shift_left(LOW_BITS)
                     + register(m, lower.product, "lower_product"))
        # b is unsigned: its sign bit adds nothing to the product's width
        m.d.sync += self.product.eq(fitted(exact, len(self.product)))

    def _add_halves(self, m: Module) -> None:
        """A product for each half of ``b``, and their sum."""
        m.submodules.upper = upper = Product(self.a_bits, self.b_bits - LOW_BITS, in_luts=False)
        m.submodules.lower = lower = Product(self.a_bits, LOW_BITS, in_luts=False)
        m.d.comb += [upper.a.eq(self.a), upper.b.eq(self.b[LOW_BITS:]),
                     lower.a.eq(self.a), lower.b.eq(self.b[:LOW_BITS])]
        m.d.sync += self.product.eq(fitted(upper.product.shift_left(LOW_BITS) + lower.product,
                                           len(self.product)))
