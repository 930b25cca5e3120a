"""Nested affine loops: the micro level that turns an instruction into one address per cycle."""
from collections.abc import Collection, Iterable
from functools import reduce
from operator import or_
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl.arith import register
from rtl.carry import FusedAdder, a_masked
from rtl.register import LocalRegister


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
    counts, single, bases, strides
        Loop counts, and of each whether it is 1; per stream a base and one stride per level.
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
            "single": In(levels),
            "bases": In(streams),
            "strides": In(data.StructLayout({
                f"s{s}": data.ArrayLayout(bits, levels) for s, bits in enumerate(address_bits)})),
            "addresses": Out(streams), "at_first": Out(levels), "at_last": Out(levels),
            "last": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        levels = range(len(self.count_bits))
        goes = self.start | self.step
        # Level k moves when it is the innermost one that is not at its last index; those inside
        # it start over. Whether all inside it are at their last index is known from registers.
        tail = Signal(len(levels))      # from level k on
        inside = [*tail[1:], Const(1)]
        next_last = Signal(len(levels))     # once it `goes`
        for k in levels:
            remaining = Signal(self.count_bits[k], name=f"remaining_{k}")
            one_before = Signal(name=f"one_before_last_{k}")
            count = self.counts[f"l{k}"]
            m.d.comb += next_last[k].eq(Mux(self.start | tail[k], self.single[k],
                                            Mux(inside[k], one_before, self.at_last[k])))
            with m.If(self.start | (self.step & tail[k])):
                m.d.sync += [remaining.eq(count), one_before.eq(count == 2),
                             self.at_first[k].eq(1)]
            with m.Elif(self.step & inside[k]):
                m.d.sync += [remaining.eq(remaining - 1), one_before.eq(remaining == 3),
                             self.at_first[k].eq(0)]
        next_tail = [next_last[k:].all() for k in levels]
        with m.If(goes):
            m.d.sync += [self.at_last.eq(next_last), self.last.eq(next_tail[0]),
                         tail.eq(Cat(next_tail))]

        # The innermost level of more than one turn moves most often, all inside it never do.
        inner = Cat(~self.single[k] & self.single[k + 1:].all() for k in levels)
        outer = Cat(~next_last[k] & next_tail[k + 1] & ~inner[k] for k in levels[:-1])
        for s in range(len(self.address_bits)):
            m.submodules[f"moves_{s}"] = moves = LocalRegister(len(levels), enabled=True)
            m.d.comb += [moves.i.eq(Cat(outer, (inner & ~next_last).any())),
                         moves.enable.eq(self.stream_starts[s] | self.stream_steps[s])]
            self._walk(m, s, inner, moves.o[:-1], moves.o[-1])
        return m

    def _walk(self, m: Module, s: int, inner: Value, outer: Value, moves_inner: Value) -> None:
        """The addresses of a stream; ``outer`` says which level moves, if the ``inner`` does not.

        Between two moves of an outer level, or of one outside it, the inner level moves at least
        once. So there is time to have the sum ready that an outer level moves to.
        """
        bits, strides, base = self.address_bits[s], self.strides[f"s{s}"], self.bases[f"s{s}"]
        start, step, moving = self.stream_starts[s], self.stream_steps[s], self.moving[s]
        outside, arrives = base, Signal(bits, name=f"arrives_{s}")
        sums = []
        for k, _ in enumerate(outer):
            if k in moving:
                # the address with all indices inside level k at zero
                here = Signal(bits, name=f"here_{s}_{k}")
                with m.If(start):
                    m.d.sync += here.eq(base)
                with m.Elif(step & outer[:k + 1].any()):
                    m.d.sync += here.eq(arrives)
                sums.append(register(m, (here + strides[k])[:bits], f"sum_{s}_{k}"))
                outside = here
            else:
                sums.append(outside)
        stride = register(m, _any_of(((strides[k], inner[k]) for k in moving), bits),
                          f"inner_stride_{s}")
        m.submodules[f"adder_{s}"] = adder = FusedAdder(bits, step_or_jump, first=a_masked)
        address = Signal(bits, name=f"address_{s}")
        m.d.comb += [
            arrives.eq(_any_of(zip(sums, outer, strict=True), bits)),
            adder.a.eq(address), adder.b.eq((moves_inner & ~start).replicate(bits)),
            adder.c.eq(stride), adder.d.eq(Mux(start, base, arrives)),
            self.addresses[f"s{s}"].eq(address)]
        with m.If(start | step):
            m.d.sync += address.eq(adder.sum)


def step_or_jump(b: Any, c: Any, d: Any) -> Any:
    """``c`` where ``b`` is set, else ``d``."""
    return (b & c) | (~b & d)


def _any_of(values: Iterable[tuple[Value, Value]], bits: int) -> Value:
    """The value whose flag is set, else 0; at most one is."""
    return reduce(or_, (value & flag.replicate(bits) for value, flag in values), Const(0, bits))
