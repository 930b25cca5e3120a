"""Nested affine loops against the loops they replace."""
import itertools

import pytest
from amaranth.sim import SimulatorContext

from rtl.address import AffineLoops
from sim import pysim


@pytest.mark.parametrize("counts", [
    (1, 1, 1), (3, 1, 2), (1, 4, 3), (2, 3, 1), (5, 2, 7), (4, 1, 1), (2, 2, 2)], ids=str)
@pytest.mark.parametrize("stall", [False, True])
@pytest.mark.parametrize("moving", [None, ((0, 1, 2), (0, 2)), ((1,), (2,)),
                                    ((0, 1), (0,))], ids=str)
def test_walks_every_index(counts: tuple[int, ...], stall: bool, moving) -> None:
    dut = AffineLoops((4, 3, 4), (10, 6), moving)
    bases, strides = (100, 60), ((7, 33, 2), (1, 0, 5))
    if moving:
        strides = tuple(tuple(stride * (level in levels) for level, stride in enumerate(each))
                        for each, levels in zip(strides, moving, strict=True))
    expected = [tuple((base + sum(map(int.__mul__, index, stride))) % (1 << bits)
                      for base, stride, bits in zip(bases, strides, (10, 6), strict=True))
                for index in itertools.product(*map(range, counts))]
    seen = []

    async def bench(ctx: SimulatorContext) -> None:
        for level, count in enumerate(counts):
            ctx.set(dut.counts[f"l{level}"], count)
            ctx.set(dut.single[level], count == 1)
        for stream in range(2):
            ctx.set(dut.bases[f"s{stream}"], bases[stream])
            for level in range(3):
                ctx.set(dut.strides[f"s{stream}"][level], strides[stream][level])
        for stop in (1, 4, None, None):     # the loops can be started again, at any time
            seen.clear()
            ctx.set(dut.start, 1)
            ctx.set(dut.stream_starts, 0b11)
            await ctx.tick()
            ctx.set(dut.start, 0)
            ctx.set(dut.stream_starts, 0)
            for number, index in enumerate(itertools.product(*map(range, counts))):
                if number == stop:
                    break
                seen.append((ctx.get(dut.addresses.s0), ctx.get(dut.addresses.s1)))
                first, last = ctx.get(dut.at_first), ctx.get(dut.at_last)
                for level, (i, n) in enumerate(zip(index, counts, strict=True)):
                    assert first >> level & 1 == (i == 0)
                    assert last >> level & 1 == (i == n - 1)
                assert ctx.get(dut.last) == (number == len(expected) - 1)
                if stall:
                    await ctx.tick().repeat(2)
                ctx.set(dut.step, 1)
                ctx.set(dut.stream_steps, 0b11)
                await ctx.tick()
                ctx.set(dut.step, 0)
                ctx.set(dut.stream_steps, 0)

    pysim.run(dut, bench)
    assert seen == expected
