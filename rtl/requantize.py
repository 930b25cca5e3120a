"""Accumulator to activation code: `numerics.requantize`, one result per cycle."""
from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from accel.spec.numerics import MULTIPLIER_BITS, SHIFT_BITS
from rtl.arith import delay, fitted, register, saturate, unsigned_as_signed
from rtl.multiplier import Multiplier

#: The total is multiplied in two parts, so that each product fits one 18-bit DSP slice.
LOW_BITS = MULTIPLIER_BITS
FINE_BITS = 3   # of the shift; the rest is the coarse stage


class Requantizer(wiring.Component):
    """``saturate(round_shift((acc + bias) * multiplier, shift) + zero_point)``.

    `latency` cycles from inputs to ``o``, a result every cycle; ``zero_point`` must hold still
    meanwhile. ``shift`` is at least 1.
    """

    latency = 1 + Multiplier.latency + 6

    def __init__(self, config: AccelConfig) -> None:
        self.config = config
        acc, act = signed(config.acc_bits), signed(config.act_bits)
        super().__init__({"acc": In(acc), "bias": In(acc), "multiplier": In(MULTIPLIER_BITS),
                          "shift": In(SHIFT_BITS), "zero_point": In(act), "o": Out(act)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        product = self._product(m)
        shift = delay(m, self.shift, Multiplier.latency + 1, "shift")

        # Round half away from zero: add half a unit, less one for negatives; then drop the
        # fraction. A shift beyond the product's width leaves nothing of it.
        half = Signal(len(product))
        m.d.comb += half.eq((Const(1, 1 << SHIFT_BITS) << shift)[1:])
        half = register(m, half, "half_unit")
        vanishes = register(m, shift > len(product), "vanishes")
        shift = register(m, shift, "shift_amount")
        biased = register(m, product + half - product[-1], "biased")
        vanishes = register(m, vanishes, "vanishes_biased")
        shift = register(m, shift, "shift_biased")
        coarse = register(m, biased >> Cat(Const(0, FINE_BITS), shift[FINE_BITS:]), "coarse")
        coarse_vanishes = register(m, vanishes, "vanishes_coarse")
        fine = register(m, shift[:FINE_BITS], "fine")
        shifted = register(m, Mux(coarse_vanishes, 0, coarse >> fine), "shifted")
        placed = register(m, shifted + self.zero_point, "placed")
        m.d.sync += self.o.eq(saturate(placed, self.config.act_bits))
        return m

    def _product(self, m: Module) -> Signal:
        """``(acc + bias) * multiplier``, exact, after ``1 + Multiplier.latency + 1`` cycles."""
        total = register(m, self.acc + self.bias, "total")
        multiplier = register(m, unsigned_as_signed(self.multiplier), "factor")
        low, high = total[:LOW_BITS], total[LOW_BITS:].as_signed()
        if len(total) <= LOW_BITS + 1:
            m.submodules.whole = whole = Multiplier(LOW_BITS + 1, MULTIPLIER_BITS + 1)
            m.d.comb += [whole.a.eq(total), whole.b.eq(multiplier)]
            exact = whole.product
        else:
            m.submodules.upper = upper = Multiplier(len(high), MULTIPLIER_BITS + 1)
            m.submodules.lower = lower = Multiplier(LOW_BITS + 1, MULTIPLIER_BITS + 1)
            m.d.comb += [upper.a.eq(high), upper.b.eq(multiplier),
                         lower.a.eq(unsigned_as_signed(low)), lower.b.eq(multiplier)]
            exact = upper.product.shift_left(LOW_BITS) + lower.product
        # |total| < 2**(acc_bits) and the multiplier is unsigned, so this width is exact
        return register(m, fitted(exact, len(total) + MULTIPLIER_BITS), "product")
