"""Accumulator to activation code: `numerics.requantize`, one result per cycle."""
from amaranth.hdl import Module, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from accel.spec.numerics import SHIFT_BITS
from rtl.arith import delay, extended, register, saturate
from rtl.carry import FusedAdder, a_inverted, add
from rtl.factor import total_factor
from rtl.rounding import RoundShift


class Requantizer(wiring.Component):
    """``saturate(round_shift((acc + bias) * multiplier, shift) + zero_point)``.

    `latency_of` cycles from the inputs to ``o``, a result every cycle; ``zero_point`` comes
    `zero_point_stage` cycles behind the others. ``shift`` is at least 1. Rounds once;
    `tflite.TfliteRequantizer` has TensorFlow Lite's two roundings, and `scaling.scaling` chooses.

    ``multiplier`` is a code (`accel.spec.scales.Scales.encode`). A negative one inverts ``acc``,
    and ``bias`` is stored such that the total is negative then (`link.param_code`); all that
    follows sees the magnitude.
    """

    def __init__(self, config: AccelConfig) -> None:
        self.config = config
        acc, act = signed(config.acc_bits), signed(config.act_bits)
        super().__init__({
            "acc": In(acc), "bias": In(acc), "multiplier": In(config.scales.code_bits),
            "shift": In(SHIFT_BITS), "zero_point": In(act), "o": Out(act)})

    @classmethod
    def zero_point_stage(cls, config: AccelConfig) -> int:
        """Cycles by which ``zero_point`` comes behind the other inputs."""
        return 1 + total_factor(config).latency + RoundShift.ZERO_POINT_STAGE

    @classmethod
    def latency_of(cls, config: AccelConfig) -> int:
        """Cycles from the inputs to ``o``."""
        return 1 + total_factor(config).latency + RoundShift.latency + 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c, factor = self.config, self.multiplier
        if c.scales.signed:
            factor, total = factor[:-1], self._signed_total(m, factor[-1])
        else:
            total = self.acc + self.bias
        total = register(m, total, "total")
        drop = register(m, (self.shift - 1)[:SHIFT_BITS], "drop")   # a shift is at least 1
        m.submodules.scale = scale = total_factor(c).make()
        m.submodules.rounder = rounder = RoundShift(len(scale.product), c.act_bits)
        m.d.comb += [
            scale.a.eq(total), scale.b.eq(register(m, factor, "factor")),
            rounder.value.eq(scale.product),
            rounder.drop.eq(delay(m, drop, total_factor(c).latency, "drop")),
            rounder.zero_point.eq(self.zero_point)]
        m.d.sync += self.o.eq(saturate(rounder.o, c.act_bits))
        return m

    def _signed_total(self, m: Module, negative: Value) -> Value:
        """``acc + bias``, or ``~acc + bias``; combinational."""
        bits = self.config.acc_bits + 1
        m.submodules.total_adder = adder = FusedAdder(bits, add, first=a_inverted)
        m.d.comb += [adder.a.eq(extended(self.acc, bits)), adder.b.eq(negative.replicate(bits)),
                     adder.c.eq(extended(self.bias, bits))]
        return adder.sum.as_signed()
