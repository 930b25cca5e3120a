"""Accumulator to activation code: `numerics.requantize`, one result per cycle."""
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from accel.spec.numerics import MULTIPLIER_BITS, SHIFT_BITS
from rtl.arith import delay, extended, fitted, register, saturate, unsigned_as_signed
from rtl.carry import FusedAdder, add
from rtl.multiplier import Multiplier

#: The total is multiplied in two parts, so that each product fits one 18-bit DSP slice.
LOW_BITS = MULTIPLIER_BITS
FINE_BITS = 3   # of the shift; the rest is the coarse stage


class Requantizer(wiring.Component):
    """``saturate(round_shift((acc + bias) * multiplier, shift) + zero_point)``.

    `latency` cycles from inputs to ``o``, a result every cycle; ``zero_point`` must hold still
    meanwhile. ``shift`` is at least 1.
    """

    latency = 1 + Multiplier.latency + 10

    def __init__(self, config: AccelConfig) -> None:
        self.config = config
        acc, act = signed(config.acc_bits), signed(config.act_bits)
        super().__init__({"acc": In(acc), "bias": In(acc), "multiplier": In(MULTIPLIER_BITS),
                          "shift": In(SHIFT_BITS), "zero_point": In(act), "o": Out(act)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        product = self._product(m)      # with the fifth cycle
        shift = delay(m, self.shift, 3, "shift")
        biased = self._biased(m, product, shift)
        vanishes = delay(m, shift > len(product), 5, "vanishes")
        shift = delay(m, shift, 3, "shift_biased")
        coarse = register(m, biased >> Cat(Const(0, FINE_BITS), shift[FINE_BITS:]), "coarse")
        fine = delay(m, shift[:FINE_BITS], 3, "fine")

        # A bit more than the result has is enough: the zero point cannot bring back what is off.
        # So what the fine shift leaves off can be left off before.
        bits = self.config.act_bits + 1
        ahead = self._clamped(m, coarse, vanishes, bits + (1 << FINE_BITS) - 1)
        shifted = register(m, ahead >> fine, "shifted")
        clamped = register(m, saturate(shifted, bits), "clamped")
        placed = register(m, clamped + self.zero_point, "placed")
        m.d.sync += self.o.eq(saturate(placed, self.config.act_bits))
        return m

    def _clamped(self, m: Module, value: Signal, vanishes: Value, bits: int) -> Signal:
        """``value`` saturated to ``bits`` bits or, where it ``vanishes``, 0; in two cycles."""
        high = value[bits - 1:]
        fits = register(m, high.all() | ~high.any(), "fits")
        low, sign = register(m, value[:bits - 1], "low"), register(m, value[-1], "sign")
        limited = Cat(Mux(fits, low, (~sign).replicate(bits - 1)), sign)
        return register(m, Mux(vanishes, 0, limited)[:bits].as_signed(), "ahead")

    def _biased(self, m: Module, product: Signal, shift: Value) -> Signal:
        """Half a unit added, less one for negatives: dropping the fraction then rounds half away.

        All bits below half a unit, and a carry, make half a unit. ``shift`` is two cycles ahead of
        ``product``.
        """
        bits = len(product) + 1     # half a unit may be as large as the product
        low, high = shift[:FINE_BITS], shift[FINE_BITS:]
        below = register(m, Cat(low > k for k in range(1 << FINE_BITS)), "below_fine")
        groups = range(-(-bits >> FINE_BITS) + 1)
        past = register(m, Cat(high > group for group in groups), "past_group")
        here = register(m, Cat(high == group for group in groups), "in_group")
        mask = register(m, Cat(
            past[n >> FINE_BITS] | (here[n >> FINE_BITS] & below[n % (1 << FINE_BITS)])
            for n in range(1, bits + 1)), "below_half")
        m.submodules.rounder = rounder = FusedAdder(bits, add, carry="inverted")
        m.d.comb += [rounder.a.eq(extended(product, bits)), rounder.c.eq(mask),
                     rounder.carry.eq(product[-1])]
        return register(m, rounder.sum.as_signed(), "biased")

    def _product(self, m: Module) -> Signal:
        """``(acc + bias) * multiplier``, exact, after ``1 + Multiplier.latency + 2`` cycles."""
        total = register(m, self.acc + self.bias, "total")
        multiplier = register(m, unsigned_as_signed(self.multiplier), "factor")
        low, high = total[:LOW_BITS], total[LOW_BITS:].as_signed()
        if len(total) <= LOW_BITS + 1:
            m.submodules.whole = whole = Multiplier(LOW_BITS + 1, MULTIPLIER_BITS + 1)
            m.d.comb += [whole.a.eq(total), whole.b.eq(multiplier)]
            exact = register(m, whole.product, "whole_product")
        else:
            m.submodules.upper = upper = Multiplier(len(high), MULTIPLIER_BITS + 1)
            m.submodules.lower = lower = Multiplier(LOW_BITS + 1, MULTIPLIER_BITS + 1)
            m.d.comb += [upper.a.eq(high), upper.b.eq(multiplier),
                         lower.a.eq(unsigned_as_signed(low)), lower.b.eq(multiplier)]
            exact = (register(m, upper.product, "upper_product").shift_left(LOW_BITS)
                     + register(m, lower.product, "lower_product"))
        # |total| < 2**(acc_bits) and the multiplier is unsigned, so this width is exact
        return register(m, fitted(exact, len(total) + MULTIPLIER_BITS), "product")
