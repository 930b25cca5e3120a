"""Multipliers of two products with a common factor, in one DSP block."""
from amaranth.hdl import Cat, Const, Module, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl.arith import delay, extended, register
from rtl.carry import FusedAdder, subtract_masked
from rtl.ecp5.dsp import DSP_BITS
from rtl.ecp5.floorplan import Place
from rtl.ecp5.target import is_target
from rtl.ice40 import mac16
from rtl.ice40.target import is_target as is_ice40
from rtl.multiplier import CarryMultiplier, Multiplier


class PairMultiplier(wiring.Component):
    """``products[k] = a * b[k]``, exact and signed, ``latency_of`` cycles later, every cycle."""

    def __init__(self, a_bits: int, b_bits: int, place: Place | None = None) -> None:
        self.a_bits, self.b_bits, self.place = a_bits, b_bits, place
        super().__init__({
            "a": In(signed(a_bits)), "b": In(data.ArrayLayout(signed(b_bits), 2)),
            "products": Out(data.ArrayLayout(signed(a_bits + b_bits), 2))})

    @classmethod
    def latency_of(cls, a_bits: int, b_bits: int) -> int:
        """Cycles from operands to products."""
        raise NotImplementedError

    def _twin(self, m: Module) -> Module:
        """The products themselves, as late as the vendor's blocks give them."""
        a = register(m, self.a, "a_now")
        for index in range(2):
            b = register(m, self.b[index], f"b_{index}_now")
            product = register(m, a * b, f"product_{index}")
            late = self.latency_of(self.a_bits, self.b_bits) - 2
            m.d.comb += self.products[index].eq(delay(m, product, late, f"product_{index}"))
        return m


class DualMultiplier(PairMultiplier):
    """A `PairMultiplier` for blocks with two halves: one SB_MAC16 on iCE40, operands to 8 bits."""

    @classmethod
    def latency_of(cls, a_bits: int, b_bits: int) -> int:
        return mac16.LATENCY

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if not is_ice40(platform):
            return self._twin(m)
        mac16.dual_products(m, self.a, (self.b[0], self.b[1]), self.products)
        return m


class PackedMultiplier(PairMultiplier):
    """A `PairMultiplier` in one 18-bit DSP slice, for ``b`` of at most 9 bits.

    The slice multiplies ``a`` by ``b[1] * 2**k + u``, with ``u`` the bits of ``b[0]`` read as an
    unsigned number and ``b[1]`` in the uppermost bits (k = 18 - b_bits), which always fits. Of
    the product ``p``, the low k bits are those of ``a * u``. The bits of ``a * u`` above them lie
    under ``a * b[1]``; what they are follows modulo a power of two from the low bits of
    ``a * b[1]``, which a small carry multiplier finds again. Then

        a * b[1] = (p >> k) - (a * u >> k),        a * b[0] = a * u - (b[0] < 0) * a * 2**b_bits.

    Fu et al., "Deep Learning with INT8 Optimization on Xilinx Devices" (Xilinx WP486), packs like
    this into wider slices, which have room between the products.
    """

    SLICE_LATENCY = Multiplier.latency + 1      # and a register in the fabric behind it

    def __init__(self, a_bits: int, b_bits: int, place: Place | None = None) -> None:
        super().__init__(a_bits, b_bits, place)
        self.split = DSP_BITS - b_bits
        self.overlap = self._overlap(a_bits, b_bits)
        self.aligned = self._aligned(a_bits, b_bits)

    @staticmethod
    def _overlap(a_bits: int, b_bits: int) -> int:
        """Bits of ``a * u`` that lie under ``a * b[1]``."""
        return max(0, a_bits + 2 * b_bits - DSP_BITS)

    @classmethod
    def _aligned(cls, a_bits: int, b_bits: int) -> int:
        """Cycles until the slice's product and the carry multiplier's are both there."""
        return max(cls.SLICE_LATENCY,
                   CarryMultiplier.latency_of(a_bits, b_bits, cls._overlap(a_bits, b_bits)))

    @classmethod
    def latency_of(cls, a_bits: int, b_bits: int) -> int:
        return cls._aligned(a_bits, b_bits) + 2

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if not is_target(platform):
            return self._twin(m)
        m.submodules.slice = whole = Multiplier(DSP_BITS, self.a_bits, self.place)
        gap = Const(0, self.split - self.b_bits)
        m.d.comb += [whole.a.eq(Cat(self.b[0], gap, self.b[1]).as_signed()), whole.b.eq(self.a)]
        product = delay(m, whole.product.as_unsigned(), self.aligned - Multiplier.latency, "whole")
        upper = self._upper_bits(m, product)    # a * u >> split, signed
        product = register(m, product, "whole_now")
        low = Cat(product[:self.split], upper) if self.overlap else product

        bits = self.a_bits + self.b_bits
        m.submodules.second = second = FusedAdder(bits, subtract_masked, carry="one")
        m.d.comb += [second.a.eq(product[self.split:]), second.c.eq(extended(upper, bits)),
                     second.d.eq(Const(-1, bits))]
        m.submodules.first = first = FusedAdder(self.a_bits, subtract_masked, carry="port")
        negative = delay(m, self.b[0][-1], self.aligned + 1, "negative")
        m.d.comb += [first.a.eq(low[self.b_bits:bits]),
                     first.c.eq(delay(m, self.a.as_unsigned(), self.aligned + 1, "a")),
                     first.d.eq(negative.replicate(self.a_bits)), first.carry.eq(negative)]
        m.d.sync += [self.products[0].eq(Cat(low[:self.b_bits], first.sum).as_signed()),
                     self.products[1].eq(second.sum.as_signed())]
        return m

    def _upper_bits(self, m: Module, product: Value) -> Signal:
        """What of ``a * u`` lies at bit ``split`` and above, one cycle after ``product``."""
        if not self.overlap:
            return register(m, product[self.a_bits + self.b_bits - 1], "upper")   # its sign
        m.submodules.under = under = CarryMultiplier(self.a_bits, self.b_bits, self.overlap)
        m.d.comb += [under.a.eq(self.a), under.b.eq(self.b[1])]
        m.submodules.difference = difference = FusedAdder(self.overlap, subtract_masked,
                                                          carry="one")
        late = self.aligned - CarryMultiplier.latency_of(
            self.a_bits, self.b_bits, self.overlap)
        known = delay(m, under.product.as_unsigned(), late, "under")
        m.d.comb += [difference.a.eq(product[self.split:self.split + self.overlap]),
                     difference.c.eq(known), difference.d.eq(Const(-1, self.overlap))]
        return register(m, difference.sum, "upper")
