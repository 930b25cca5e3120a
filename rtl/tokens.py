"""Dependency tokens between neighbouring units."""
from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.spec.isa import MOST_TOKENS, Unit
from rtl.arith import register


class TokenPort(wiring.Signature):
    """A unit's exchange with one neighbour: takes a token, gives a token.

    ``available`` is right in every cycle but the one after a ``pop``: a unit takes no two
    instructions in two cycles.
    """

    def __init__(self) -> None:
        super().__init__({"available": In(1), "pop": Out(1), "push": Out(1)})


class TokenExchange(wiring.Component):
    """Counts the tokens under way between two units, in both directions.

    A push or a pop is seen in ``available`` after `LATENCY` cycles. ``balanced`` is right when
    nothing happened for as long. More than ``most`` tokens one way are the compiler's mistake.

    Members
    -------
    before, behind
        The two units, in the order of the ring.
    clear
        Drop all tokens.
    flood
        Show every unit a token, whether there is one or not, until ``clear``.
    balanced
        No token is left over.
    """

    LATENCY = 2

    def __init__(self, most: int = MOST_TOKENS) -> None:
        self.most = most
        super().__init__({"before": In(TokenPort()), "behind": In(TokenPort()),
                          "clear": In(1), "flood": In(1), "balanced": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        counts = []
        for name, giver, taker in (("forward", self.before, self.behind),
                                   ("backward", self.behind, self.before)):
            count = Signal(range(self.most + 1), name=name)
            several = Signal(name=f"{name}_several")        # two or more
            # the units may be far apart, and far from here
            push = register(m, giver.push, f"{name}_push")
            pop = register(m, taker.pop, f"{name}_pop")
            with m.If(self.clear):
                m.d.sync += [count.eq(0), several.eq(0), taker.available.eq(0)]
            with m.Elif(push & ~pop):
                m.d.sync += [count.eq(count + 1), several.eq(taker.available),
                             taker.available.eq(1)]
            with m.Elif(~push & pop):
                m.d.sync += [count.eq(count - 1), several.eq(several & (count != 2)),
                             taker.available.eq(several)]
            with m.If(self.flood & ~self.clear):
                m.d.sync += taker.available.eq(1)
            counts.append(count)
        m.d.sync += self.balanced.eq(~counts[0].any() & ~counts[1].any())
        return m


class TokenRing(wiring.Component):
    """The exchanges of all units: each with the next, and the last with the first.

    ``clear``, ``flood``, ``balanced`` and the timing are those of `TokenExchange`; they take a
    cycle more.

    Members
    -------
    load_before, load_behind, gemm_before, ...
        Each unit's exchange with the unit before and with the one behind it.
    """

    LATENCY = TokenExchange.LATENCY + 1

    def __init__(self) -> None:
        super().__init__({
            "clear": In(1), "flood": In(1), "balanced": Out(1),
            **{f"{unit.name.lower()}_{side}": In(TokenPort())
               for unit in Unit for side in ("before", "behind")}})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        clear, flood = register(m, self.clear, "clear_all"), register(m, self.flood, "flood_all")
        balanced = Signal(len(Unit))
        for unit in Unit:
            name, behind = unit.name.lower(), unit.neighbour(1).name.lower()
            m.submodules[f"{name}_{behind}"] = exchange = TokenExchange()
            wiring.connect(m, wiring.flipped(getattr(self, f"{name}_behind")), exchange.before)
            wiring.connect(m, wiring.flipped(getattr(self, f"{behind}_before")), exchange.behind)
            m.d.comb += [exchange.clear.eq(clear), exchange.flood.eq(flood),
                         balanced[unit].eq(exchange.balanced)]
        m.d.sync += self.balanced.eq(balanced.all())
        return m


def taken_with_tokens(m: Module, unit: wiring.Component, offered: data.View, free: Value,
                      ) -> Signal:
    """Whether ``unit`` takes the instruction ``offered`` at its stream ``i`` in this cycle.

    It does once it is ``free`` and all tokens that the instruction asks for are there; it then
    takes those as well.
    """
    take = Signal(name="take")
    m.d.comb += [
        take.eq(unit.i.valid & free & (~offered.pop_prev | unit.before.available)
                & (~offered.pop_next | unit.behind.available)),
        unit.i.ready.eq(take),
        unit.before.pop.eq(take & offered.pop_prev), unit.behind.pop.eq(take & offered.pop_next)]
    return take
