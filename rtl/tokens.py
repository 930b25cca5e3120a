"""Dependency tokens between neighbouring units."""
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class TokenPort(wiring.Signature):
    """A unit's exchange with its one neighbour: takes a token, gives a token."""

    def __init__(self) -> None:
        super().__init__({"available": In(1), "pop": Out(1), "push": Out(1)})


class TokenExchange(wiring.Component):
    """Counts the tokens under way between two units, in both directions.

    Members
    -------
    before, behind
        The two units, in chain order.
    balanced
        No token is left over.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        super().__init__({"before": In(TokenPort()), "behind": In(TokenPort()),
                          "balanced": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        forward, backward = Signal(range(self.most + 1)), Signal(range(self.most + 1))
        m.d.sync += [forward.eq(forward + self.before.push - self.behind.pop),
                     backward.eq(backward + self.behind.push - self.before.pop)]
        m.d.comb += [self.behind.available.eq(forward.any()),
                     self.before.available.eq(backward.any()),
                     self.balanced.eq(~forward.any() & ~backward.any())]
        return m
