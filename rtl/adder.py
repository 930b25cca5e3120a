"""Sum of two activation codes with scales of their own: `numerics.add`, one per cycle."""
from amaranth.hdl import Module, Mux, ShapeLike, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from accel.spec.numerics import SHIFT_BITS
from rtl.arith import register
from rtl.factor import summand_factor
from rtl.rounding import RoundShift

SIDES = ("own", "other")


def summand_layout(config: AccelConfig) -> data.StructLayout:
    """What is known of both summands."""
    return data.StructLayout({
        f"{side}_{name}": shape for side in SIDES for name, shape in (
            ("zero_point", signed(config.act_bits)),
            ("multiplier", config.scales.summand_bits))})


def drive_summands(m: Module, config: AccelConfig, summands: data.View, current: data.View,
                   one: int) -> None:
    """What an instruction says of both; if it does not add, ``one * own + 0 * other``."""
    for side, multiplier in zip(SIDES, (one, 0), strict=True):
        m.d.comb += [
            summands[f"{side}_zero_point"].eq(
                Mux(current.add, current[f"{side}_zero_point"], 0)),
            summands[f"{side}_multiplier"].eq(
                Mux(current.add, current[f"{side}_multiplier"],
                    config.scales.encode_summand(multiplier)))]


class Addition(wiring.Component):
    """``round_shift(sum of (summand - its zero point) * its multiplier, drop + 1) + zero_point``.

    Like `rounding.RoundShift`, as far as ``act_bits`` bits can tell. `latency_of` cycles from
    ``own`` and ``other`` to ``o``, a sum every cycle. Constants are looked at as the sums pass, as
    `taps` says: ``summands`` with the inputs and one cycle behind them, ``drop`` `drop_stage`
    cycles behind them; ``zero_point`` `zero_point_stage` cycles. `tflite.TfliteAddition` has
    TensorFlow Lite's roundings, and `scaling.scaling` chooses.
    """

    def __init__(self, config: AccelConfig) -> None:
        self.config = config
        code = signed(config.act_bits)
        super().__init__({
            **{side: In(code) for side in SIDES},
            **{name: In(shape) for name, shape in self.constants(config).items()},
            "zero_point": In(code), "o": Out(signed(config.act_bits + 2))})

    @classmethod
    def taps(cls, config: AccelConfig) -> dict[str, tuple[int, dict[str, ShapeLike]]]:
        """Constants but the zero point, and cycles by which they come behind the summands."""
        return {"adding": (0, {"summands": summand_layout(config)}),
                "rounding": (cls.drop_stage(config), {"drop": SHIFT_BITS})}

    @classmethod
    def constants(cls, config: AccelConfig) -> dict[str, ShapeLike]:
        """All that `taps` names."""
        return {name: shape for _, members in cls.taps(config).values()
                for name, shape in members.items()}

    @staticmethod
    def drive(m: Module, config: AccelConfig, constants: data.View, current: data.View) -> None:
        """Take the constants from an instruction; one that does not add changes nothing."""
        drive_summands(m, config, constants.summands, current, 2)
        # (2 * own + 0 * other) / 2; a shift is 1 or more
        m.d.comb += constants.drop.eq(Mux(current.add, current.add_shift - 1, 0))

    @classmethod
    def drop_stage(cls, config: AccelConfig) -> int:
        """Cycles by which ``drop`` comes behind the summands: difference, product, sum."""
        return 1 + summand_factor(config).latency + 1

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
            rest = self._rest(m, side)
            m.submodules[f"{side}_scale"] = scale = summand_factor(c).make()
            m.d.comb += [scale.a.eq(rest), scale.b.eq(self.summands[f"{side}_multiplier"])]
            products.append(scale.product)
        total = register(m, products[0] + products[1], "total")
        m.submodules.rounder = rounder = RoundShift(len(total), c.act_bits)
        m.d.comb += [rounder.value.eq(total), rounder.drop.eq(self.drop),
                     rounder.zero_point.eq(self.zero_point), self.o.eq(rounder.o)]
        return m

    def _rest(self, m: Module, side: str) -> Signal:
        """A summand without its zero point, a cycle later."""
        return register(m, getattr(self, side) - self.summands[f"{side}_zero_point"],
                        f"{side}_rest")
