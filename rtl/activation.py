"""Activation units: code in, code out, no memory."""
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.circuits.network import Network
from accel.circuits.store import of_activation, truth_table
from accel.spec.config import AccelConfig
from accel.spec.formats import BITS
from accel.spec.tables import PLAIN, ActivationSpec
from rtl.arith import delay, register
from rtl.carry import is_less
from rtl.ecp5.lut import lut4
from rtl.ecp5.target import is_target


class LutFunction(wiring.Component):
    """A function as a found network of LUTs. Combinational, unless it is ``cut``.

    Equals `Network.evaluate` for every input code. On ECP5 the LUTs are instances: yosys would
    take the network apart and need about twice as many. With a ``cut``, a register lies across
    its middle, and ``o`` follows ``i`` by a cycle.
    """

    def __init__(self, network: Network, *, cut: bool = False) -> None:
        self.network = network
        #: Level of LUTs behind which the register lies.
        self.cut_level = _cut_level(network) if cut else network.levels
        super().__init__({"i": In(signed(network.inputs)), "o": Out(signed(len(network.outputs)))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        signals: list[Value] = [self.i[bit] for bit in range(self.network.inputs)]
        levels, held = self.network.signal_levels, dict[int, Value]()

        def seen(number: int, level: int) -> Value:
            """A signal, as ``level`` sees it."""
            if not levels[number] <= self.cut_level < level:
                return signals[number]
            if number not in held:
                held[number] = register(m, signals[number], f"held_{number}")
            return held[number]

        for number, lut in enumerate(self.network.luts):
            level = levels[len(signals)]
            fanins = [seen(fanin, level) for fanin in lut.fanins]
            signals.append(node := Signal(name=f"lut_{number}"))
            if is_target(platform) and fanins:
                lut4(m, lut.truth, fanins, node, f"cell_{number}")
            else:
                m.d.comb += node.eq(Const(lut.truth, 1 << len(fanins)).bit_select(Cat(*fanins), 1))
        last = self.network.levels
        # Bit by bit: a port that is one concatenation would be emitted as the nets it is made of.
        for bit, output in enumerate(self.network.outputs):
            m.d.comb += self.o[bit].eq(seen(output, last))
        return m


def _cut_level(network: Network) -> int:
    """Level behind which a register halves the longest way; of two such, that of fewer bits."""
    levels, last = network.signal_levels, network.levels

    def bits(cut: int) -> int:
        uses = [(fanin, levels[network.inputs + number])
                for number, lut in enumerate(network.luts) for fanin in lut.fanins]
        uses += [(output, last) for output in network.outputs]
        return len({signal for signal, level in uses if levels[signal] <= cut < level})
    return min((last // 2, -(-last // 2)), key=bits)


class TableFunction(wiring.Component):
    """A function as its truth table, minimized by synthesis. Combinational, unless it is ``cut``.

    Equals `store.truth_table` for every input code. For widths that no circuits are searched for.
    With a ``cut``, there is a register before it, and ``o`` follows ``i`` by a cycle.
    """

    def __init__(self, spec: ActivationSpec, bits: int, *, cut: bool = False) -> None:
        self.spec, self.bits, self.cut = spec, bits, cut
        super().__init__({"i": In(signed(bits)), "o": Out(signed(bits))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        code = register(m, self.i, "code") if self.cut else self.i
        with m.Switch(code.as_unsigned()):
            for code, value in enumerate(truth_table(self.spec, self.bits)):
                with m.Case(code):
                    m.d.comb += self.o.eq(Const(value, signed(self.bits)))
        return m


def function_of(spec: ActivationSpec, bits: int, *, cut: bool = False) -> wiring.Component:
    """The unit of an activation that needs more than a comparison."""
    return LutFunction(of_activation(spec, bits).network, cut=cut) if bits in BITS else \
        TableFunction(spec, bits, cut=cut)


class ActivationUnit(wiring.Component):
    """The configuration's functions side by side; ``select`` picks one, 0 none.

    Each function has a register across its middle and one behind it, and ``o`` follows `latency`
    cycles after ``i``. ``select`` and ``zero_point`` hold still meanwhile.
    """

    latency = 2

    def __init__(self, config: AccelConfig) -> None:
        self.config = config
        code = signed(config.act_bits)
        super().__init__({"i": In(code), "zero_point": In(code), "o": Out(code),
                          "select": In(range(len(config.activations) + 1))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = self.config.act_bits
        plain = delay(m, self.i, self.latency, "plain")
        with m.Switch(self.select):
            for position, spec in enumerate(self.config.activation_specs, start=1):
                if spec.function in PLAIN:
                    below = is_less(m, self.i, self.zero_point, "relu")
                    below = delay(m, below, self.latency, "below_zero")
                    result = Mux(below, self.zero_point, plain)     # numerics.relu
                else:
                    m.submodules[spec.function] = unit = function_of(spec, bits, cut=True)
                    m.d.comb += unit.i.eq(self.i)
                    result = register(m, unit.o, f"{spec.function}_o")
                with m.Case(position):
                    m.d.comb += self.o.eq(result)
            with m.Default():
                m.d.comb += self.o.eq(plain)
        return m
