"""Combinational activation units: code in, code out, no memory and no clock."""
from amaranth.hdl import Const, Module, Mux, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from accel.spec.tables import PLAIN, ActivationSpec, truth_table
from rtl.arith import register


class TableFunction(wiring.Component):
    """A function as pure logic, minimized by synthesis from its truth table. Combinational.

    Equals `tables.truth_table` for every input code.
    """

    def __init__(self, spec: ActivationSpec, bits: int) -> None:
        self.spec, self.bits = spec, bits
        super().__init__({"i": In(signed(bits)), "o": Out(signed(bits))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        with m.Switch(self.i.as_unsigned()):
            for code, value in enumerate(truth_table(self.spec, self.bits)):
                with m.Case(code):
                    m.d.comb += self.o.eq(Const(value, signed(self.bits)))
        return m


class Relu(wiring.Component):
    """``max(i, zero_point)``: `numerics.relu`. Combinational."""

    def __init__(self, bits: int) -> None:
        self.bits = bits
        super().__init__({"i": In(signed(bits)), "zero_point": In(signed(bits)),
                          "o": Out(signed(bits))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.o.eq(Mux(self.i > self.zero_point, self.i, self.zero_point))
        return m


class ActivationUnit(wiring.Component):
    """The configuration's functions side by side; ``select`` picks one, 0 none.

    The functions are combinational; each has a register behind it, and ``o`` follows `latency`
    cycles after ``i``. ``select`` and ``zero_point`` hold still meanwhile.
    """

    latency = 1

    def __init__(self, config: AccelConfig) -> None:
        self.config = config
        code = signed(config.act_bits)
        super().__init__({"i": In(code), "zero_point": In(code), "o": Out(code),
                          "select": In(range(len(config.activations) + 1))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = self.config.act_bits
        with m.Switch(self.select):
            for position, spec in enumerate(self.config.activation_specs, start=1):
                unit = Relu(bits) if spec.function in PLAIN else TableFunction(spec, bits)
                m.submodules[spec.function] = unit
                m.d.comb += unit.i.eq(self.i)
                if isinstance(unit, Relu):
                    m.d.comb += unit.zero_point.eq(self.zero_point)
                result = register(m, unit.o, f"{spec.function}_o")
                with m.Case(position):
                    m.d.comb += self.o.eq(result)
            plain = register(m, self.i, "plain")
            with m.Default():
                m.d.comb += self.o.eq(plain)
        return m
