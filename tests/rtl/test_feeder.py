"""A row's activations: the one at the address, or each column's own, when the step is there."""
import random
from dataclasses import replace

import pytest
from amaranth.sim import SimulatorContext

from accel.spec.config import AccelConfig
from rtl.feeder import RowFeeder
from sim import pysim
from tests.configs import FIVE_BY_SEVEN, ONE_BY_ONE, TINY, config

CONFIGS = [replace(c, act_depth=16) for c in (
    TINY, ONE_BY_ONE, FIVE_BY_SEVEN, config("9 columns", cols=9), config("16 columns", cols=16))]


@pytest.mark.parametrize("c", CONFIGS, ids=lambda c: c.name)
def test_activations_by_step(c: AccelConfig) -> None:
    rng = random.Random(7)
    half = 1 << (c.act_bits - 1)
    memory = [rng.randrange(-half, half) for _ in range(c.act_elements)]
    depthwise, offset, wait, steps = 0, 0, 0, []
    for number in range(120):
        swap = int(number == 0 or rng.random() < 0.3)
        if c.depthwise and rng.random() < 0.2:
            wait = RowFeeder.depthwise_tail(c) if depthwise else 0
            depthwise ^= 1
        steps += [None] * wait
        wait, offset = 0, rng.randrange(c.act_elements) if swap else offset
        steps.append((rng.randrange(c.act_elements), swap, offset, depthwise))
    steps += [None] * (RowFeeder.latency + c.cols)
    dut = RowFeeder(c)

    def expected(cycle: int, late: int) -> tuple[int, int] | None:
        """Element address and mode of the step that is due in ``cycle``."""
        due = cycle - RowFeeder.latency - late
        if due < 0 or (step := steps[due]) is None:
            return None
        ring = c.act_elements // 2      # each half of the scratchpad is one
        return step[0] // ring * ring + (step[0] + step[2]) % ring, step[3]

    async def bench(ctx: SimulatorContext) -> None:
        for word in range(c.act_depth):
            ctx.set(dut.write.address, word)
            ctx.set(dut.write.enable, -1)
            for lane in range(c.word_lanes):
                ctx.set(dut.write.data[lane], memory[word * c.word_lanes + lane])
            await ctx.tick()
        ctx.set(dut.write.enable, 0)
        await ctx.tick()
        for cycle, step in enumerate(steps):
            address, swap, row_offset, mode = step or (rng.randrange(c.act_elements), 0, 0, 0)
            ctx.set(dut.i.address, address)
            ctx.set(dut.i.swap, swap)
            # only with a swap is the offset that of the step
            ctx.set(dut.offset, row_offset if swap else rng.randrange(c.act_elements))
            if c.depthwise:
                ctx.set(dut.i.depthwise, mode)
            if found := expected(cycle, 0):
                assert ctx.get(dut.swap) == steps[cycle - RowFeeder.latency][1]
                assert found[1] or ctx.get(dut.x) == memory[found[0]]
                if c.depthwise:
                    assert ctx.get(dut.depthwise) == found[1]
            for lane in range(c.cols if c.depthwise else 0):
                if (found := expected(cycle, c.array.x_delay(lane))) and found[1]:
                    word = found[0] - found[0] % c.word_lanes
                    assert ctx.get(dut.lanes[lane]) == memory[word + lane]
            await ctx.tick()

    pysim.run(dut, bench)
