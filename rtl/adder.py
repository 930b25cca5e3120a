"""Sum of two activation codes with scales of their own: `numerics.add`, one per cycle."""
from amaranth.hdl import Module, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from accel.spec.numerics import ADD_MULTIPLIER_BITS, SHIFT_BITS
from rtl.arith import register
from rtl.product import Product
from rtl.rounding import RoundShift
from rtl.slices import lanes_in_luts

SIDES = ("own", "other")


def summand_layout(config: AccelConfig) -> data.StructLayout:
    """What is known of both summands."""
    return data.StructLayout({
        f"{side}_{name}": shape for side in SIDES for name, shape in (
            ("zero_point", signed(config.act_bits)), ("multiplier", ADD_MULTIPLIER_BITS))})


class Addition(wiring.Component):
    """``round_shift(sum of (summand - its zero point) * its multiplier, drop + 1) + zero_point``.

    Like `rounding.RoundShift`, as far as ``act_bits`` bits can tell. `latency_of` cycles from
    ``own`` and ``other`` to ``o``, a sum every cycle. Constants are looked at as the sums pass:
    ``summands`` with the inputs and one cycle behind them, ``drop`` `drop_stage` cycles behind
    them, ``zero_point`` `zero_point_stage` cycles.
    """

    def __init__(self, config: AccelConfig) -> None:
        self.config = config
        code = signed(config.act_bits)
        super().__init__({
            **{side: In(code) for side in SIDES}, "summands": In(summand_layout(config)),
            "drop": In(SHIFT_BITS), "zero_point": In(code),
            "o": Out(signed(config.act_bits + 2))})

    @classmethod
    def drop_stage(cls, config: AccelConfig) -> int:
        """Cycles by which ``drop`` comes behind the summands: difference, product, sum."""
        return 1 + Product.latency_of(config.act_bits + 1, ADD_MULTIPLIER_BITS,
                                      in_luts=lanes_in_luts(config)) + 1

    @classmethod
    def zero_point_stage(cls, config: AccelConfig) -> int:
        """Cycles by which ``zero_point`` comes behind the summands."""
        return cls.drop_stage(config) + RoundShift.ZERO_POINT_STAGE

    @classmethod
    def latency_of(cls, config: AccelConfig) -> int:
        """Cycles from the summands to ``o``."""
        return cls.drop_stage(config) + RoundShift.latency

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self.config
        products = []
        for side in SIDES:
            rest = register(m, getattr(self, side) - self.summands[f"{side}_zero_point"],
                            f"{side}_rest")
            scale = Product(c.act_bits + 1, ADD_MULTIPLIER_BITS, in_luts=lanes_in_luts(c))
            m.submodules[f"{side}_scale"] = scale
            m.d.comb += [scale.a.eq(rest), scale.b.eq(self.summands[f"{side}_multiplier"])]
            products.append(scale.product)
        total = register(m, products[0] + products[1], "total")
        m.submodules.rounder = rounder = RoundShift(len(total), c.act_bits)
        m.d.comb += [rounder.value.eq(total), rounder.drop.eq(self.drop),
                     rounder.zero_point.eq(self.zero_point), self.o.eq(rounder.o)]
        return m
