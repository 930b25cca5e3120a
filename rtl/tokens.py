"""Dependency tokens between neighbouring units."""
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.arith import register


class TokenPort(wiring.Signature):
    """A unit's exchange with its one neighbour: takes a token, gives a token."""

    def __init__(self) -> None:
        super().__init__({"available": In(1), "pop": Out(1), "push": Out(1)})


class TokenExchange(wiring.Component):
    """Counts the tokens under way between two units, in both directions.

    ``available`` shows a token `LATENCY` cycles after its push, and a pop as late; no unit takes
    two tokens within that time. ``balanced`` is right when nothing happened for as long.

    Members
    -------
    before, behind
        The two units, in chain order.
    balanced
        No token is left over.
    """

    LATENCY = 3

    def __init__(self, most: int) -> None:
        self.most = most
        super().__init__({"before": In(TokenPort()), "behind": In(TokenPort()),
                          "balanced": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        forward, backward = Signal(range(self.most + 1)), Signal(range(self.most + 1))
        for name, count, giver, taker in (("forward", forward, self.before, self.behind),
                                          ("backward", backward, self.behind, self.before)):
            # registers on the way, as the units may be far apart
            push = register(m, giver.push, f"{name}_push")
            pop = register(m, taker.pop, f"{name}_pop")
            m.d.sync += [count.eq(count + push - pop), taker.available.eq(count.any())]
        m.d.sync += self.balanced.eq(~forward.any() & ~backward.any())
        return m
