"""Any component behind three pins, to place and route it alone."""
from amaranth.hdl import Cat, ClockDomain, ClockSignal, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

#: Inputs of a node of the tree: what one LUT4 takes.
NODE_INPUTS = 4
#: Age of the bit that a bit of the chain is XORed with.
TAP = 4


class Harness(wiring.Component):
    """``component`` between registers: its inputs from one chain, its outputs to one XOR tree.

    Each bit of the chain is the one before it XOR the one `TAP` before it. A plain shift register
    would equal, some cycles later, the registers through which an array passes activations on;
    yosys would merge the two and the figures would be another design's. A tree node is the
    registered XOR of `NODE_INPUTS` bits, so that no path through the harness is longer than one
    LUT. The domain ``sync`` is the harness's own and has no reset.

    Members
    -------
    clk
        Clock of ``component``.
    i, o
        Start of the chain and root of the tree.

    Attributes
    ----------
    lut4, ff
        LUTs and flip-flops of chain and tree, to be left out of the component's figures.
    """

    def __init__(self, component: wiring.Component) -> None:
        self.component = component
        super().__init__({"clk": In(1), "i": In(1), "o": Out(1)})
        ports = [(member.flow, Value.cast(value))
                 for _, member, value in component.signature.flatten(component)]
        self.inputs = [value for flow, value in ports if flow == In]
        self.outputs = Cat(*(value for flow, value in ports if flow == Out))
        chain, levels = sum(map(len, self.inputs)), _levels(len(self.outputs))
        self.ff = chain + sum(-(-width // NODE_INPUTS) for width in levels)
        # no LUT where a bit passes alone: at the chain's start, in a level's last node
        self.lut4 = max(0, chain + 1 - TAP) + sum(
            -(-width // NODE_INPUTS) - (width % NODE_INPUTS == 1) for width in levels)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.domains.sync = ClockDomain(reset_less=True)
        m.d.comb += ClockSignal().eq(self.clk)
        m.submodules.dut = self.component
        chain: list[Value] = [self.i]
        for value in self.inputs:
            first = len(chain)
            for _ in range(len(value)):
                bit = Signal(name=f"chain_{len(chain)}")
                m.d.sync += bit.eq(chain[-1] ^ chain[-TAP] if len(chain) >= TAP else chain[-1])
                chain.append(bit)
            m.d.comb += value.eq(Cat(*chain[first:]))

        level: Value = self.outputs
        for depth, _ in enumerate(_levels(len(level))):
            nodes = Signal(-(-len(level) // NODE_INPUTS), name=f"tree_{depth}")
            m.d.sync += [node.eq(level[NODE_INPUTS * index:][:NODE_INPUTS].xor())
                         for index, node in enumerate(nodes)]
            level = nodes
        m.d.comb += self.o.eq(level)
        return m


def _levels(width: int) -> list[int]:
    """Bits that go into each level of the tree, at least one level."""
    levels = [width]
    while levels[-1] > NODE_INPUTS:
        levels.append(-(-levels[-1] // NODE_INPUTS))
    return levels
