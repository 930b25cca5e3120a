"""Requantizer and addition in the two roundings of TensorFlow Lite: `numerics.high_multiply`."""
from amaranth.hdl import Cat, Const, Module, Mux, ShapeLike, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from accel.spec.numerics import ADD_FRACTION_BITS, SHIFT_BITS, TFLITE_MULTIPLIER_BITS
from rtl.adder import SIDES, Addition, drive_summands, summand_layout
from rtl.arith import delay, fitted, register, saturate
from rtl.product import Product
from rtl.requantize import Requantizer
from rtl.rounding import RoundShift
from rtl.slices import lanes_in_luts


class HighMultiply(wiring.Component):
    """``high_multiply(value << fraction, multiplier, shift) + zero_point``, a result every cycle.

    Like `rounding.RoundShift`, as far as ``bits`` bits can tell. ``shift`` comes `shift_stage`
    cycles behind ``value`` and ``multiplier``, ``zero_point`` `ZERO_POINT_STAGE` cycles behind
    ``shift``, ``o`` follows `LATENCY` cycles behind ``shift``.

    The first rounding, half up, leaves the high part of the product; the second one, half away from
    zero, is `RoundShift`'s. Nothing is shifted left for a shift below 31: the whole product divided
    by ``2**shift`` is the same, and is rounded once, half up.

    Parameters
    ----------
    value_bits, bits
        Widths of ``value`` and of the result that counts.
    fraction
        Zeros behind ``value``.
    below_31
        There are shifts of 1 to 30, and ``fraction`` is 0; else a shift is at least 31.
    in_luts
        As of `product.Product`.
    """

    ZERO_POINT_STAGE = 1 + RoundShift.ZERO_POINT_STAGE
    LATENCY = 1 + RoundShift.latency

    def __init__(self, value_bits: int, bits: int, *, in_luts: bool, fraction: int = 0,
                 below_31: bool = False) -> None:
        self.value_bits, self.bits, self.in_luts = value_bits, bits, in_luts
        self.fraction, self.below_31 = fraction, below_31
        super().__init__({
            "value": In(signed(value_bits)), "multiplier": In(TFLITE_MULTIPLIER_BITS),
            "shift": In(SHIFT_BITS), "zero_point": In(signed(bits)), "o": Out(signed(bits + 2))})

    @staticmethod
    def shift_stage(value_bits: int, *, in_luts: bool) -> int:
        """Cycles by which ``shift`` comes behind ``value``."""
        return Product.latency_of(value_bits, TFLITE_MULTIPLIER_BITS, in_luts=in_luts)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.scale = scale = Product(self.value_bits, TFLITE_MULTIPLIER_BITS,
                                             in_luts=self.in_luts)
        m.d.comb += [scale.a.eq(self.value), scale.b.eq(self.multiplier)]
        value, drop = self._rounded_once(m, scale.product)
        m.submodules.rounder = rounder = RoundShift(len(value), self.bits)
        m.d.comb += [rounder.value.eq(value), rounder.drop.eq(drop),
                     rounder.zero_point.eq(self.zero_point), self.o.eq(rounder.o)]
        return m

    def _rounded_once(self, m: Module, product: Value) -> tuple[Value, Value]:
        """What is to be divided by ``2**(drop + 1)``, and ``drop``, a cycle later."""
        places = TFLITE_MULTIPLIER_BITS - self.fraction     # that the first rounding drops
        if self.below_31:
            twice = self.shift[-1]      # 32 or more
            # Rounded once, all of the product stays, and a one behind it: where RoundShift never
            # sees an exact half, half away from zero is half up.
            rest = register(m, Mux(twice, 0, Cat(Const(1, 1), product[:places])), "rest")
            drop = register(m, self.shift, "drop")
        else:
            twice, rest = Const(1, 1), Const(0, 1)
            # 0..31, as the shift is 31..62
            drop = register(m, (self.shift - TFLITE_MULTIPLIER_BITS)[:SHIFT_BITS - 1], "drop")
        # the multiplier is below 2**31: there is room for the carry
        high = register(m, fitted(product[places:].as_signed() + (product[places - 1] & twice),
                                  len(product) - places), "high")
        return Cat(rest, high).as_signed(), drop


class TfliteRequantizer(Requantizer):
    """``saturate(high_multiply(acc + bias, multiplier, shift) + zero_point)``.

    As `requantize.Requantizer`, with latencies of its own; ``shift`` is 1 to 62.
    """

    @staticmethod
    def _shift_stage(config: AccelConfig) -> int:
        return 1 + HighMultiply.shift_stage(config.acc_bits + 1, in_luts=lanes_in_luts(config))

    @classmethod
    def zero_point_stage(cls, config: AccelConfig) -> int:
        """Cycles by which ``zero_point`` comes behind the other inputs."""
        return cls._shift_stage(config) + HighMultiply.ZERO_POINT_STAGE

    @classmethod
    def latency_of(cls, config: AccelConfig) -> int:
        """Cycles from the inputs to ``o``."""
        return cls._shift_stage(config) + HighMultiply.LATENCY + 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self.config
        total = register(m, self.acc + self.bias, "total")
        m.submodules.scale = scale = HighMultiply(len(total), c.act_bits, below_31=True,
                                                  in_luts=lanes_in_luts(c))
        m.d.comb += [
            scale.value.eq(total), scale.multiplier.eq(register(m, self.multiplier, "factor")),
            scale.shift.eq(delay(m, self.shift, self._shift_stage(c), "shift")),
            scale.zero_point.eq(self.zero_point)]
        m.d.sync += self.o.eq(saturate(scale.o, c.act_bits))
        return m


class TfliteAddition(Addition):
    """``high_multiply(sum of high_multiply(summand - its zero point, ...), ...) + zero_point``.

    As `adder.Addition`, with constants and latencies of its own: `numerics.add` with 20 bits of
    fraction; ``summands`` and the shifts have each summand's factor, ``add_multiplier`` and
    ``add_shift`` that of the sum. Shifts are 31 to 62.
    """

    @staticmethod
    def _scaled_bits(config: AccelConfig) -> int:
        """Width of a difference of two codes with its fraction, and so of what it is scaled to."""
        return config.act_bits + 1 + ADD_FRACTION_BITS

    @classmethod
    def _stages(cls, config: AccelConfig) -> tuple[int, int, int]:
        """Where the summands' shifts are looked at, the sum, and the sum's shift."""
        in_luts = lanes_in_luts(config)
        shifts = 1 + HighMultiply.shift_stage(config.act_bits + 1, in_luts=in_luts)
        total = shifts + HighMultiply.LATENCY + 1
        return shifts, total, total + HighMultiply.shift_stage(cls._scaled_bits(config) + 1,
                                                               in_luts=in_luts)

    @classmethod
    def taps(cls, config: AccelConfig) -> dict[str, tuple[int, dict[str, ShapeLike]]]:
        """Constants but the zero point, and cycles by which they come behind the summands."""
        shifts, total, rounding = cls._stages(config)
        return {"adding": (0, {"summands": summand_layout(config)}),
                "aligning": (shifts, {f"{side}_shift": SHIFT_BITS for side in SIDES}),
                "scaling": (total, {"add_multiplier": TFLITE_MULTIPLIER_BITS}),
                "rounding": (rounding, {"add_shift": SHIFT_BITS})}

    @staticmethod
    def drive(m: Module, config: AccelConfig, constants: data.View, current: data.View) -> None:
        """Take the constants from an instruction; one that does not add changes nothing."""
        # half of the own code with its fraction, then what is left of that fraction taken away
        half, least = 1 << (TFLITE_MULTIPLIER_BITS - 1), TFLITE_MULTIPLIER_BITS
        drive_summands(m, config, constants.summands, current, half)
        m.d.comb += [constants[name].eq(Mux(current.add, current[name], unchanged))
                     for name, unchanged in (
                         ("own_shift", least), ("other_shift", least), ("add_multiplier", half),
                         ("add_shift", least + ADD_FRACTION_BITS - 2))]

    @classmethod
    def zero_point_stage(cls, config: AccelConfig) -> int:
        """Cycles by which ``zero_point`` comes behind the summands."""
        return cls._stages(config)[-1] + HighMultiply.ZERO_POINT_STAGE

    @classmethod
    def latency_of(cls, config: AccelConfig) -> int:
        """Cycles from the summands to ``o``."""
        return cls._stages(config)[-1] + HighMultiply.LATENCY

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self.config
        in_luts, bits = lanes_in_luts(c), self._scaled_bits(c)
        scaled = []
        for side in SIDES:
            m.submodules[f"{side}_scale"] = scale = HighMultiply(
                c.act_bits + 1, bits, in_luts=in_luts, fraction=ADD_FRACTION_BITS)
            m.d.comb += [scale.value.eq(self._rest(m, side)),
                         scale.multiplier.eq(self.summands[f"{side}_multiplier"]),
                         scale.shift.eq(getattr(self, f"{side}_shift"))]
            # a factor is below 1, so that nothing grows
            scaled.append(fitted(scale.o, bits))
        total = register(m, scaled[0] + scaled[1], "total")
        m.submodules.sum_scale = scale = HighMultiply(len(total), c.act_bits, in_luts=in_luts)
        m.d.comb += [scale.value.eq(total), scale.multiplier.eq(self.add_multiplier),
                     scale.shift.eq(self.add_shift), scale.zero_point.eq(self.zero_point),
                     self.o.eq(scale.o)]
        return m
