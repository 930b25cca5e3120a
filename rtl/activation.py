"""Combinational activation units: code in, code out, no memory and no clock."""
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.circuits.network import Network
from accel.circuits.store import of_activation, truth_table
from accel.spec.config import AccelConfig
from accel.spec.formats import BITS
from accel.spec.tables import PLAIN, ActivationSpec
from rtl.arith import register
from rtl.carry import is_less
from rtl.ecp5.lut import lut4
from rtl.ecp5.target import is_target


class LutFunction(wiring.Component):
    """A function as a found network of LUTs. Combinational.

    Equals `Network.evaluate` for every input code. On ECP5 the LUTs are instances: yosys would
    take the network apart and need about twice as many.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        super().__init__({"i": In(signed(network.inputs)), "o": Out(signed(len(network.outputs)))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        signals: list[Value] = [self.i[bit] for bit in range(self.network.inputs)]
        for number, lut in enumerate(self.network.luts):
            fanins = [signals[fanin] for fanin in lut.fanins]
            signals.append(node := Signal(name=f"lut_{number}"))
            if is_target(platform) and fanins:
                lut4(m, lut.truth, fanins, node, f"cell_{number}")
            else:
                m.d.comb += node.eq(Const(lut.truth, 1 << len(fanins)).bit_select(Cat(*fanins), 1))
        # Bit by bit: a port that is one concatenation would be emitted as the nets it is made of.
        for bit, output in enumerate(self.network.outputs):
            m.d.comb += self.o[bit].eq(signals[output])
        return m


class TableFunction(wiring.Component):
    """A function as its truth table, minimized by synthesis. Combinational.

    Equals `store.truth_table` for every input code. For widths that no circuits are searched for.
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


def function_of(spec: ActivationSpec, bits: int) -> wiring.Component:
    """The unit of an activation that needs more than a comparison."""
    return LutFunction(of_activation(spec, bits).network) if bits in BITS else \
        TableFunction(spec, bits)


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
                    m.submodules[spec.function] = unit = function_of(spec, bits)
                    m.d.comb += unit.i.eq(self.i)
                    result = register(m, unit.o, f"{spec.function}_o")
                with m.Case(position):
                    m.d.comb += self.o.eq(result)
            with m.Default():
                m.d.comb += self.o.eq(plain)
        return m
