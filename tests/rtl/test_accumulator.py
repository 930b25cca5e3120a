"""One column's accumulators: when a sum can be used again, and the way around the memory."""
import random
from dataclasses import replace

import pytest
from amaranth.sim import SimulatorContext

from accel.spec.config import AccelConfig
from rtl.accumulator import REUSE_CYCLES, AccumulatorColumn
from sim import pysim
from tests.configs import ONE_BY_ONE, TINY

CONFIGS = [replace(TINY, acc_depth=32), replace(ONE_BY_ONE, acc_depth=64)]
#: control: first, again, address; and the sum that follows
Step = tuple[int, int, int, int]


def totals(c: AccelConfig, steps: list[Step | None], read: int) -> list[int]:
    """What the vector unit's port shows of word ``read``, by the cycle of the read address."""
    dut, seen = AccumulatorColumn(c), []

    async def bench(ctx: SimulatorContext) -> None:
        ctx.set(dut.read_address, read)
        padded = [*steps, *[None] * (REUSE_CYCLES + dut.read_latency)]
        for cycle, step in enumerate(padded):
            first, again, address, _ = step or (0, 0, 0, 0)
            ctx.set(dut.control.valid, step is not None)
            ctx.set(dut.control.first, first)
            ctx.set(dut.control.again, again)
            ctx.set(dut.control.address, address)
            before = padded[cycle - dut.sum_delay] if cycle >= dut.sum_delay else None
            ctx.set(dut.sum, before[3] if before else -1)
            if cycle >= dut.read_latency:
                seen.append(ctx.get(dut.read_data))
            await ctx.tick()

    pysim.run(dut, bench)
    return seen


@pytest.mark.parametrize("c", CONFIGS, ids=lambda c: c.name)
def test_readable_once_it_has_landed_and_no_sooner(c: AccelConfig) -> None:
    seen, landing = totals(c, [(1, 0, 3, 77)], 3), AccumulatorColumn.landing
    assert [value == 77 for value in seen[:landing + 1]] == [False] * landing + [True]


@pytest.mark.parametrize("c", CONFIGS, ids=lambda c: c.name)
@pytest.mark.parametrize("distance", [1, REUSE_CYCLES, REUSE_CYCLES + 1])
def test_goes_on_from_what_came_before(c: AccelConfig, distance: int) -> None:
    """Random sums onto two words in turn with others between them, in every cycle."""
    rng = random.Random(distance)
    bound = 1 << (c.array.sum_bits - 1)
    steps, expected = [], [0] * c.acc_depth
    for number in range(60):
        address = number % distance if distance > 1 else number // 7
        again = int(distance == 1 and number % 7 > 0)
        first = int(not again and rng.random() < 0.4)
        value = rng.choice((-bound, bound - 1, rng.randrange(-bound, bound)))
        steps.append((first, again, address, value))
        expected[address] = value + (0 if first else expected[address])
    for address in range(min(distance, 3)):
        assert totals(c, steps, address)[-1] == expected[address]
