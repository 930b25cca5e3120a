"""A combinational component between registers, to measure the clock that it allows."""
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class Registered(wiring.Component):
    """``component`` with a register before its port ``i`` and one behind its port ``o``.

    ``o`` follows ``i`` by `latency` cycles; an input is taken every cycle. In a harness, whose
    tree has logic before its first register, it is the component alone that is measured.
    """

    latency = 2

    def __init__(self, component: wiring.Component) -> None:
        self.component = component
        super().__init__({"i": In(component.i.shape()), "o": Out(component.o.shape())})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.unit = self.component
        taken, given = Signal.like(self.i, name="taken"), Signal.like(self.o, name="given")
        m.d.sync += [taken.eq(self.i), given.eq(self.component.o)]
        m.d.comb += [self.component.i.eq(taken), self.o.eq(given)]
        return m
