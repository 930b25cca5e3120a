"""Combinational activation units: code in, code out, no memory and no clock."""
from amaranth.hdl import Const, Module, Mux, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from accel.spec.tables import PLAIN, ActivationSpec, truth_table
from rtl.arith import register
from rtl.carry import is_less


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
        plain = register(m, self.i, "plain")
        with m.Switch(self.select):
            for position, spec in enumerate(self.config.activation_specs, start=1):
                if spec.function in PLAIN:
                    below = register(m, is_less(m, self.i, self.zero_point, "relu"), "below_zero")
                    result = Mux(below, self.zero_point, plain)     # numerics.relu
                else:
                    m.submodules[spec.function] = unit = TableFunction(spec, bits)
                    m.d.comb += unit.i.eq(self.i)
                    result = register(m, unit.o, f"{spec.function}_o")
                with m.Case(position):
                    m.d.comb += self.o.eq(result)
            with m.Default():
                m.d.comb += self.o.eq(plain)
        return m
