"""One channel of the vector unit: from accumulators to activation codes."""
from amaranth.hdl import Module, Mux, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from rtl.activation import ActivationUnit
from rtl.arith import register
from rtl.carry import is_less
from rtl.params import param_layout
from rtl.register import LocalRegister
from rtl.scaling import scaling


class VectorLane(wiring.Component):
    """Requantize, activation, addition, limits, maximum over a window; a step every cycle.

    A step's ``acc`` and ``param`` come in stage 0, in stage ``n`` whatever belongs to it comes
    ``n`` cycles later: ``other`` in `other_stage`, ``window_first`` in `first_stage`, an
    instruction's constants as `taps` says. ``o`` follows `latency_of` cycles after stage 0, and
    is complete when the step was its window's last.

    Members
    -------
    constants
        For each tap its constants. They must be right in its stage and the two behind that.
    """

    def __init__(self, config: AccelConfig) -> None:
        self.config = config
        code = signed(config.act_bits)
        super().__init__({
            "acc": In(signed(config.acc_bits)), "param": In(param_layout(config)),
            **({"other": In(code)} if config.residual else {}), "window_first": In(1),
            "constants": In(data.StructLayout(
                {name: layout for name, (_, layout) in self.taps(config).items()})),
            "o": Out(code)})

    @classmethod
    def other_stage(cls, config: AccelConfig) -> int:
        """Stage in which the activation is there, and the other summand is to come."""
        return scaling(config).requantizer.latency_of(config) + ActivationUnit.latency

    @classmethod
    def _limit_stage(cls, config: AccelConfig) -> int:
        return cls.other_stage(config) + (
            scaling(config).addition.latency_of(config) if config.residual else 0)

    @classmethod
    def first_stage(cls, config: AccelConfig) -> int:
        """Stage in which ``window_first`` is to come, a cycle before the maximum is taken."""
        return cls._limit_stage(config) + 1

    @classmethod
    def latency_of(cls, config: AccelConfig) -> int:
        """Cycles from ``acc`` to ``o``."""
        return cls._limit_stage(config) + 3

    @classmethod
    def taps(cls, config: AccelConfig) -> dict[str, tuple[int, data.StructLayout]]:
        """Where constants are to come, and which: one cycle before they are first looked at."""
        code, adds = signed(config.act_bits), config.residual
        requantizer, addition = scaling(config)
        added, limited = cls.other_stage(config), cls._limit_stage(config)
        places = {
            "placing": (requantizer.zero_point_stage(config), {"zero_point": code}),
            "activating": (requantizer.latency_of(config), {
                "zero_point": code, "activation": range(len(config.activations) + 1)}),
            **({name: (added + stage, members)
                for name, (stage, members) in addition.taps(config).items()} if adds else {}),
            "limiting": (limited - adds, {
                **({"add_zero_point": code} if adds else {}), "low": code, "high": code})}
        return {name: (stage - 1, data.StructLayout(members))
                for name, (stage, members) in places.items()}

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self.config
        near = {name: self._near(m, name) for name in self.taps(c)}

        m.submodules.requantizer = scale = scaling(c).requantizer(c)
        m.submodules.activations = functions = ActivationUnit(c)
        m.d.comb += [
            scale.acc.eq(self.acc), scale.bias.eq(self.param.bias),
            scale.multiplier.eq(self.param.multiplier), scale.shift.eq(self.param.shift),
            scale.zero_point.eq(near["placing"].zero_point),
            functions.i.eq(scale.o), functions.zero_point.eq(near["activating"].zero_point),
            functions.select.eq(near["activating"].activation)]
        code: Value = functions.o
        if c.residual:
            m.submodules.addition = addition = scaling(c).addition(c)
            m.d.comb += [
                addition.own.eq(code), addition.other.eq(self.other),
                *(getattr(addition, constant).eq(near[name][constant])
                  for name, (_, members) in addition.taps(c).items() for constant in members),
                addition.zero_point.eq(near["limiting"].add_zero_point)]
            code = addition.o
        value = self._limited(m, code, near["limiting"].low, near["limiting"].high)

        m.submodules.near_first = first = LocalRegister(1)
        m.d.comb += first.i.eq(self.window_first)
        larger = is_less(m, self.o, value, "compare")
        m.d.sync += self.o.eq(Mux(first.o | larger, value, self.o))
        return m

    def _near(self, m: Module, name: str) -> data.View:
        """A tap's constants in registers of the lane's own: they drive many inputs."""
        given = self.constants[name]
        m.submodules[f"near_{name}"] = held = LocalRegister(len(given.as_value()))
        m.d.comb += held.i.eq(given)
        return data.View(given.shape(), held.o)

    def _limited(self, m: Module, code: Value, low: Value, high: Value) -> Value:
        """``code`` or the limit that it passes, two cycles later."""
        below = register(m, is_less(m, code, low, "below"), "is_below")
        above = register(m, is_less(m, high, code, "above"), "is_above")
        kept = register(m, code[:self.config.act_bits].as_signed(), "kept")
        # within the limits it has no more bits than they have
        return register(m, Mux(below, low, Mux(above, high, kept)), "value")
