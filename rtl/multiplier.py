"""Multipliers of one product: in a DSP slice, or in carry chains."""
from amaranth.hdl import Cat, Module, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.arith import extended, register
from rtl.carry import FusedAdder, a_masked, add_masked, subtract_masked
from rtl.ecp5.dsp import DSP_BITS, mult18x18d
from rtl.ecp5.floorplan import Place, dsp_bel
from rtl.ecp5.target import is_target


class Multiplier(wiring.Component):
    """``product = a * b``, exact and signed, `latency` cycles later, a pair every cycle.

    On ECP5 it is one MULT18X18D with its own input and output registers where the operands fit
    18 bits; elsewhere registers and a ``*`` with the same latency. ``place`` says where in an
    array it stands, for a generator that places its slices.
    """

    latency = 2

    def __init__(self, a_bits: int, b_bits: int, place: Place | None = None) -> None:
        self.a_bits, self.b_bits, self.place = a_bits, b_bits, place
        super().__init__({"a": In(signed(a_bits)), "b": In(signed(b_bits)),
                          "product": Out(signed(a_bits + b_bits))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if is_target(platform) and max(self.a_bits, self.b_bits) <= DSP_BITS:
            bel = dsp_bel(self.place, platform.device) if self.place else None
            m.submodules.dsp = mult18x18d(m, self.a, self.b, self.product, bel)
            return m
        a, b = Signal(signed(self.a_bits)), Signal(signed(self.b_bits))
        m.d.sync += [a.eq(self.a), b.eq(self.b), self.product.eq(a * b)]
        return m


class CarryMultiplier(wiring.Component):
    """``product = a * b`` in carry chains, signed, `latency_of` cycles later, a pair every cycle.

    Row ``r`` adds ``a * b[r] * 2**r``, its AND gates in the adder's own LUTs; the first two rows
    need one adder together, the last row counts negative. Registers come where the adders between
    them have more than so many bits: those of two rows or, of a product that is wanted in its low
    bits only, `LOW_STAGE_BITS`.

    Parameters
    ----------
    a_bits, b_bits
        Operand widths; ``b`` has at least 2 bits.
    low_bits
        Width of the product, if only its low bits are needed (then exact modulo ``2**low_bits``).
    """

    LOW_STAGE_BITS = 4

    def __init__(self, a_bits: int, b_bits: int, low_bits: int | None = None) -> None:
        self.a_bits, self.b_bits = a_bits, b_bits
        self.full = low_bits is None
        self.product_bits = a_bits + b_bits if low_bits is None else low_bits
        self.stage_ends = self._stage_ends(a_bits, b_bits, low_bits)
        super().__init__({"a": In(signed(a_bits)), "b": In(signed(b_bits)),
                          "product": Out(signed(self.product_bits))})

    @classmethod
    def latency_of(cls, a_bits: int, b_bits: int, low_bits: int | None = None) -> int:
        """Cycles from operands to product."""
        return len(cls._stage_ends(a_bits, b_bits, low_bits))

    @classmethod
    def _stage_ends(cls, a_bits: int, b_bits: int, low_bits: int | None) -> list[int]:
        """Rows with a register behind them."""
        rows = b_bits if low_bits is None else min(b_bits, low_bits)
        most = 2 * (a_bits + 1) if low_bits is None else cls.LOW_STAGE_BITS
        ends, used = [], 0
        for row in range(rows):
            bits = a_bits + 1 if low_bits is None else low_bits - row
            if row > 1 and used + bits > most:
                ends.append(row - 1)
                used = 0
            used += bits
        return [*ends, rows - 1] if rows else []

    def elaborate(self, platform: object) -> Module:
        m = Module()
        low: Value = Cat()          # finished bits of the product
        high: Value = Cat()         # the rest so far, as a signed number
        a, b = self.a, self.b
        for row in range(self.stage_ends[-1] + 1):
            low, high = self._row(m, row, a, b, low, high)
            if row in self.stage_ends:
                low, high, a, b = (register(m, value, f"{name}_{row}") for name, value in (
                    ("low", low), ("high", high), ("a", a), ("b", b)))
        m.d.comb += self.product.eq(Cat(low, high))
        return m

    def _row(self, m: Module, row: int, a: Value, b: Value, low: Value, high: Value,
             ) -> tuple[Value, Value]:
        """Low bits and high part after ``row``; the high part starts at bit ``row``."""
        sign_row = row == self.b_bits - 1
        bits = self.a_bits + 1 if self.full else self.product_bits - row
        if row == 0 and (self.stage_ends == [0] or self.b_bits == 2):
            # nothing to share an adder with
            return Cat(), (extended(a, bits) & b[0].replicate(bits))
        if row == 0:
            return Cat(), Cat()     # comes with row 1
        adder = FusedAdder(bits, subtract_masked if sign_row else add_masked,
                           carry="port" if sign_row else "none",
                           **({"first": a_masked} if row == 1 and self.b_bits > 2 else {}))
        m.submodules[f"row_{row}"] = adder
        m.d.comb += [adder.c.eq(extended(a, bits)), adder.d.eq(b[row].replicate(bits))]
        if sign_row:
            m.d.comb += adder.carry.eq(b[row])
        if row == 1 and self.b_bits > 2:
            first = extended(a, bits + 1)
            m.d.comb += [adder.a.eq(first[1:]), adder.b.eq(b[0].replicate(bits))]
            return (a[0] & b[0]), adder.sum
        m.d.comb += adder.a.eq(extended(high[1:], bits))
        return Cat(low, high[0]), adder.sum
