"""A product in a tree of carry chains."""
from itertools import zip_longest
from typing import NamedTuple

from amaranth.hdl import Cat, Module, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.arith import extended, register
from rtl.carry import FusedAdder, a_alone, a_masked, add, add_masked, subtract_masked


class Part(NamedTuple):
    """Some rows of a product.

    Members
    -------
    value
        Their sum, without the power of two of the first one, in ``a_bits + rows`` bits; with a
        ``mask``, a single row, ``a``.
    rows
        How many they are.
    mask
        The row counts where this is set.
    negative
        The row counts negative.
    """

    value: Value
    rows: int
    mask: Value | None = None
    negative: bool = False


class TreeMultiplier(wiring.Component):
    """``product = a * b`` in a tree of carry chains, signed, `latency_of` cycles later.

    It takes a pair every cycle. Each bit of ``b`` is a row, ``a`` or nothing; the first adders of
    the tree take two rows each, their AND gates in the adders' own LUTs. A register follows each
    level of adders, or each second one if they are narrow. A `multiplier.CarryMultiplier` has as
    many LUTs, and more registers and latency, as its rows wait for each other.

    Parameters
    ----------
    a_bits, b_bits
        Operand widths, at least 2.
    b_unsigned
        The bits of ``b`` are an unsigned number: no row counts negative.
    """

    #: Widest ``a`` with two levels of adders from one register to the next, not one, in bits.
    STAGE_BITS = 20

    def __init__(self, a_bits: int, b_bits: int, *, b_unsigned: bool = False) -> None:
        self.a_bits, self.b_bits, self.b_unsigned = a_bits, b_bits, b_unsigned
        super().__init__({"a": In(signed(a_bits)), "product": Out(signed(a_bits + b_bits)),
                          "b": In(unsigned(b_bits) if b_unsigned else signed(b_bits))})

    @classmethod
    def _stage_levels(cls, a_bits: int) -> int:
        return 2 if a_bits <= cls.STAGE_BITS else 1

    @classmethod
    def latency_of(cls, a_bits: int, b_bits: int) -> int:
        """Cycles from operands to product."""
        return -(-(b_bits - 1).bit_length() // cls._stage_levels(a_bits))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        parts = [Part(self.a, 1, self.b[row], row == self.b_bits - 1 and not self.b_unsigned)
                 for row in range(self.b_bits)]
        level = 0
        while len(parts) > 1:
            parts = [self._joined(m, f"{level}_{place}", lower, upper) if upper else lower
                     for place, (lower, upper) in enumerate(
                         zip_longest(parts[::2], parts[1::2]))]
            level += 1
            if level % self._stage_levels(self.a_bits) == 0 or len(parts) == 1:
                parts = [self._held(m, f"{level}_{place}", part)
                         for place, part in enumerate(parts)]
        m.d.comb += self.product.eq(parts[0].value)
        return m

    def _joined(self, m: Module, name: str, lower: Part, upper: Part) -> Part:
        """Two neighbouring parts in one; the low bits of the first are the low bits of both."""
        second = (add if upper.mask is None else subtract_masked if upper.negative
                  else add_masked)
        bits = self.a_bits + upper.rows
        adder = FusedAdder(bits, second, first=a_alone if lower.mask is None else a_masked,
                           carry="port" if upper.negative else "none")
        m.submodules[f"join_{name}"] = adder
        low = lower.value[:lower.rows]
        m.d.comb += [adder.a.eq(extended(lower.value[lower.rows:], bits)),
                     adder.c.eq(extended(upper.value, bits))]
        if lower.mask is not None:
            low = low & lower.mask
            m.d.comb += adder.b.eq(lower.mask.replicate(bits))
        if upper.mask is not None:
            m.d.comb += adder.d.eq(upper.mask.replicate(bits))
        if upper.negative:
            m.d.comb += adder.carry.eq(upper.mask)
        return Part(Cat(low, adder.sum), lower.rows + upper.rows)

    def _held(self, m: Module, name: str, part: Part) -> Part:
        """The part one cycle later."""
        return part._replace(
            value=register(m, part.value, f"part_{name}"),
            mask=None if part.mask is None else register(m, part.mask, f"mask_{name}"))
