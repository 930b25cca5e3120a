"""Accumulator to activation code: `numerics.requantize`, one result per cycle."""
from amaranth.hdl import Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from accel.spec.numerics import SHIFT_BITS
from rtl.arith import delay, register, saturate
from rtl.product import Product
from rtl.rounding import RoundShift
from rtl.slices import lanes_in_luts


class Requantizer(wiring.Component):
    """``saturate(round_shift((acc + bias) * multiplier, shift) + zero_point)``.

    `latency_of` cycles from inputs to ``o``, a result every cycle; ``zero_point`` comes
    `zero_point_stage` cycles behind the others. ``shift`` is at least 1. Rounds once;
    `tflite.TfliteRequantizer` has TensorFlow Lite's two roundings, and `scaling.scaling` chooses.
    """

    def __init__(self, config: AccelConfig) -> None:
        self.config = config
        acc, act = signed(config.acc_bits), signed(config.act_bits)
        super().__init__({"acc": In(acc), "bias": In(acc), "multiplier": In(config.multiplier_bits),
                          "shift": In(SHIFT_BITS), "zero_point": In(act), "o": Out(act)})

    @staticmethod
    def _product_latency(config: AccelConfig) -> int:
        return Product.latency_of(config.acc_bits + 1, config.multiplier_bits,
                                  in_luts=lanes_in_luts(config))

    @classmethod
    def zero_point_stage(cls, config: AccelConfig) -> int:
        """Cycles by which ``zero_point`` comes behind the other inputs."""
        return 1 + cls._product_latency(config) + RoundShift.ZERO_POINT_STAGE

    @classmethod
    def latency_of(cls, config: AccelConfig) -> int:
        """Cycles from the inputs to ``o``."""
        return 1 + cls._product_latency(config) + RoundShift.latency + 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self.config
        total = register(m, self.acc + self.bias, "total")
        drop = register(m, (self.shift - 1)[:SHIFT_BITS], "drop")   # a shift is at least 1
        m.submodules.scale = scale = Product(len(total), c.multiplier_bits,
                                             in_luts=lanes_in_luts(c))
        m.submodules.rounder = rounder = RoundShift(len(scale.product), c.act_bits)
        m.d.comb += [
            scale.a.eq(total), scale.b.eq(register(m, self.multiplier, "factor")),
            rounder.value.eq(scale.product), rounder.drop.eq(delay(m, drop, scale.latency, "drop")),
            rounder.zero_point.eq(self.zero_point)]
        m.d.sync += self.o.eq(saturate(rounder.o, c.act_bits))
        return m
