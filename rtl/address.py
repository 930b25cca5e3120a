"""Nested affine loops: the micro level that turns an instruction into one address per cycle."""
from collections.abc import Collection
from functools import reduce
from operator import or_

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out


class AffineLoops(wiring.Component):
    """Walks nested loops and keeps affine addresses of the indices.

    ``address[s] = base[s] + sum(index[level] * stride[s][level])``, modulo the address width.
    ``start`` loads the loops; from the next cycle on the outputs are those of the first step, and
    each ``step`` advances to the following one, the innermost loop first. Counts are at least 1
    and, like the strides, must hold still until the last step.

    Parameters
    ----------
    count_bits
        Width of each loop's count, outermost first.
    address_bits
        Width of each address stream.
    moving
        For each stream the levels that can move it; all of them unless given. The strides of
        others are not looked at, and cost nothing. Bases of streams that level 0 does not move
        must hold still as well.

    Members
    -------
    stream_starts, stream_steps
        ``start`` and ``step`` once more for each stream: they drive more registers than one wire
        can well.
    counts, bases, strides
        Loop counts; per stream a base and one stride per level.
    addresses
        One per stream.
    at_first, at_last
        Per level: its index is the first, the last.
    last
        This is the last step of all.
    """

    def __init__(self, count_bits: tuple[int, ...], address_bits: tuple[int, ...],
                 moving: tuple[Collection[int], ...] | None = None) -> None:
        self.count_bits, self.address_bits = count_bits, address_bits
        self.moving = moving or (range(len(count_bits)),) * len(address_bits)
        levels = len(count_bits)
        streams = data.StructLayout({f"s{s}": bits for s, bits in enumerate(address_bits)})
        super().__init__({
            "start": In(1), "step": In(1), "stream_starts": In(len(address_bits)),
            "stream_steps": In(len(address_bits)),
            "counts": In(data.StructLayout({f"l{k}": b for k, b in enumerate(count_bits)})),
            "bases": In(streams),
            "strides": In(data.StructLayout({
                f"s{s}": data.ArrayLayout(bits, levels) for s, bits in enumerate(address_bits)})),
            "addresses": Out(streams), "at_first": Out(levels), "at_last": Out(levels),
            "last": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        levels = range(len(self.count_bits))
        # Level j moves when it is the innermost one that is not at its last index; those inside
        # it start over. Which one will move is known from registers: it drives every address.
        mover = Signal(len(levels))
        moves = [self.step & mover[k] for k in levels]
        at_last = Signal(len(levels), name="next_at_last")
        for k in levels:
            remaining = Signal(self.count_bits[k], name=f"remaining_{k}")
            one_before = Signal(name=f"one_before_last_{k}")
            restart = self.start | (self.step & mover[:k].any())
            count = self.counts[f"l{k}"]
            m.d.comb += at_last[k].eq(
                Mux(restart, count == 1, Mux(moves[k], one_before, self.at_last[k])))
            with m.If(restart):
                m.d.sync += [remaining.eq(count), one_before.eq(count == 2),
                             self.at_first[k].eq(1)]
            with m.Elif(moves[k]):
                m.d.sync += [remaining.eq(remaining - 1), one_before.eq(remaining == 3),
                             self.at_first[k].eq(0)]
        m.d.sync += [self.at_last.eq(at_last), self.last.eq(at_last.all()),
                     *(mover[k].eq(~at_last[k] & at_last[k + 1:].all()) for k in levels)]

        for s, bits in enumerate(self.address_bits):
            stream, strides = f"s{s}", self.strides[f"s{s}"]
            # the address with all indices inside level k at zero
            here: list[Value] = []
            for k in levels:
                here.append(Signal(bits, name=f"address_{s}_{k}") if k in self.moving[s]
                            else here[-1] if here else self.bases[stream])
            moved = [(here[k] + strides[k])[:bits] if k in self.moving[s] else here[k]
                     for k in levels]
            for k in self.moving[s]:
                steps = [moved[outer] & mover[outer].replicate(bits) for outer in range(k + 1)]
                with m.If(self.stream_starts[s]):
                    m.d.sync += here[k].eq(self.bases[stream])
                with m.Elif(self.stream_steps[s] & mover[:k + 1].any()):
                    m.d.sync += here[k].eq(reduce(or_, steps))
            m.d.comb += self.addresses[stream].eq(here[-1])
        return m
