"""The GEMM unit's pace, cycle by cycle: where it pauses, for how long, and why."""
from dataclasses import dataclass
from itertools import pairwise

import pytest
from amaranth.sim import Simulator, SimulatorContext

from accel.spec.config import AccelConfig
from accel.spec.isa import Instruction, Isa, Opcode
from rtl.accumulator import REUSE_CYCLES
from rtl.feeder import RowFeeder
from rtl.gemm import GemmControl
from sim import pysim
from tests.configs import TINY, config

WIDE = config("13 columns", cols=13)
FLAGS = ("pop_prev", "pop_next", "push_prev", "push_next")


def gemm(tiles: int, rows: int, cols: int, groups: int = 1, *tokens: str, **changes: int,
         ) -> Instruction:
    return Instruction(Opcode.GEMM, {
        "weight_base": 3, "tiles": tiles, "groups": groups, "tiles_outer": 0, "offset_base": 2,
        "act_base": 0, "act_group_stride": 0, "rows": rows, "row_stride": 8, "cols": cols,
        "col_stride": 1, "acc_base": 0, "acc_group_stride": rows * cols, "accumulate": 0,
        "depthwise": 0} | changes, frozenset(tokens))


@dataclass
class Cycle:
    """What was seen in one cycle."""

    busy: int
    stall: int
    swap: int
    weight: int
    offset: int
    address: int
    again: int


def trace(instructions: list[Instruction], c: AccelConfig = TINY) -> list[Cycle]:
    """The cycles from the first step to the one behind the last."""
    dut, seen = GemmControl(c), []

    async def bench(ctx: SimulatorContext) -> None:
        await pysim.send(ctx, dut.i, [Isa(c).encode(each) for each in instructions])
        await ctx.tick().until(~dut.busy & ~dut.stall)
        await ctx.tick().repeat(2)

    async def watch(ctx: SimulatorContext) -> None:
        async for _, _, *values in ctx.tick().sample(
                dut.busy, dut.stall, dut.step.swap, dut.tile.weight, dut.tile.offset,
                dut.control.address, dut.control.again):
            seen.append(Cycle(*values))

    simulator = Simulator(dut)
    simulator.add_clock(pysim.CLOCK)
    simulator.add_testbench(bench)
    simulator.add_testbench(watch, background=True)
    simulator.run()
    steps = [number for number, cycle in enumerate(seen) if cycle.busy]
    return seen[steps[0]:steps[-1] + 2]


def pauses(seen: list[Cycle]) -> list[int]:
    """Cycles without a step between steps, where there are any."""
    steps = [number for number, cycle in enumerate(seen) if cycle.busy]
    return [b - a - 1 for a, b in pairwise(steps) if b - a > 1]


@pytest.mark.parametrize("instruction", [
    gemm(1, 1, 5), gemm(7, 1, REUSE_CYCLES), gemm(5, 3, 3), gemm(9, 2, 7), gemm(2, 3, 4, 3),
    gemm(40, 1, 1), gemm(8, 1, 1, 5),                           # a single step: `again`
    gemm(1, 1, 2, 6), gemm(1, 3, 1, 4),                         # no accumulator comes twice
    gemm(6, 1, 1, REUSE_CYCLES, tiles_outer=1), gemm(3, 2, 1, 4, tiles_outer=1),
    gemm(9, 1, 1, 1, tiles_outer=1)], ids=str)
def test_a_step_in_every_cycle(instruction: Instruction) -> None:
    seen = trace([instruction])
    f = instruction.fields
    length = f["rows"] * f["cols"]
    assert [cycle.busy for cycle in seen[:-1]] == [1] * (f["tiles"] * f["groups"] * length)
    assert [number for number, cycle in enumerate(seen) if cycle.swap] == list(
        range(0, len(seen) - 1, length))


@pytest.mark.parametrize("length", range(2, REUSE_CYCLES))
def test_short_tiles_wait_until_their_accumulators_can_be_used_again(length: int) -> None:
    for rows, cols in ((1, length), (length, 1)):
        seen = trace([gemm(6, rows, cols, 2)])
        # but not between the groups, whose accumulators differ
        assert pauses(seen) == [REUSE_CYCLES - length] * 2 * 5


def test_two_rows_of_two_columns_wait_as_well() -> None:
    assert pauses(trace([gemm(3, 2, 2)])) == [REUSE_CYCLES - 4] * 2


@pytest.mark.parametrize(("groups", "cols"), [(2, 1), (3, 1), (1, 3), (2, 2)])
def test_few_steps_over_all_groups_wait(groups: int, cols: int) -> None:
    seen = trace([gemm(4, 1, cols, groups, tiles_outer=1)])
    assert pauses(seen) == [REUSE_CYCLES - groups * cols] * 3


@pytest.mark.parametrize("instruction", [
    gemm(5, 1, 2, 3), gemm(4, 1, 1, 3, tiles_outer=1), gemm(6, 1, 1, 4), gemm(4, 2, 2, 2)], ids=str)
def test_no_accumulator_is_used_again_too_soon(instruction: Instruction) -> None:
    last: dict[int, int] = {}
    for number, cycle in enumerate(trace([instruction])):
        if not cycle.busy:
            continue
        since = number - last.get(cycle.address, -100)
        assert cycle.again == (since == 1)
        assert cycle.again or since >= REUSE_CYCLES
        last[cycle.address] = number


@pytest.mark.parametrize("outer", [0, 1])
def test_tiles_in_the_order_of_execution(outer: int) -> None:
    """The tile is there a cycle behind its swap; weights count on, offsets follow the tile."""
    seen = trace([gemm(4, 2, 3, 2, tiles_outer=outer, weight_base=TINY.weight_depth - 3)])
    behind = [(seen[number + 1].weight, seen[number + 1].offset)
              for number, cycle in enumerate(seen) if cycle.swap]
    weights = [(TINY.weight_depth - 3 + n) % TINY.weight_depth for n in range(8)]
    offsets = [2, 2, 3, 3, 4, 4, 5, 5] if outer else [2, 3, 4, 5] * 2
    assert behind == list(zip(weights, offsets, strict=True))


def test_two_cycles_between_instructions() -> None:
    assert pauses(trace([gemm(2, 2, 4), gemm(1, 3, 3), gemm(3, 1, 1), gemm(1, 1, 1),
                         gemm(1, 1, 1, depthwise=1), gemm(2, 3, 3, depthwise=1)])) == [2] * 5


def test_sums_to_go_on_from_are_waited_for() -> None:
    """Unless those that come first are not those that came last."""
    for before, acc_base, waits in (
            (gemm(2, 1, 1), 0, True), (gemm(2, 1, 1), 1, False), (gemm(1, 1, 6), 5, True),
            (gemm(1, 1, 6), 4, True), (gemm(1, 1, 6), 3, False), (gemm(1, 1, 6), 6, False),
            (gemm(2, 1, 1, 8, tiles_outer=1), 0, False), (gemm(1, 1, 1, 8), 7, True)):
        accumulating = gemm(1, 1, 2, accumulate=1, acc_base=acc_base)
        assert pauses(trace([before, accumulating])) == [REUSE_CYCLES - 1 if waits else 2]
    scattered = gemm(1, 1, 1, 3, accumulate=1, acc_base=10, acc_group_stride=2)
    assert pauses(trace([gemm(1, 1, 6), scattered])) == [REUSE_CYCLES - 1]


@pytest.mark.parametrize("c", [TINY, WIDE], ids=lambda c: c.name)
def test_the_reads_of_a_depthwise_instruction_are_waited_for(c: AccelConfig) -> None:
    seen = trace([gemm(1, 1, 9, depthwise=1), gemm(1, 1, 9, depthwise=1), gemm(1, 1, 9),
                  gemm(1, 1, 9)], c)
    assert pauses(seen) == [2, max(2, RowFeeder.depthwise_tail(c)), 2]


def test_stalls_are_counted() -> None:
    """In every cycle from the first step to the last the unit is either busy or stalled."""
    seen = trace([gemm(3, 1, 2), gemm(2, 1, 9)])[:-1]
    assert all(cycle.busy ^ cycle.stall for cycle in seen)


@pytest.mark.parametrize("flags", [frozenset(FLAGS[:1]), frozenset(FLAGS[1:2]),
                                   frozenset(FLAGS[:2])], ids=sorted)
def test_waits_for_all_of_its_tokens(flags: frozenset[str]) -> None:
    dut, popped = GemmControl(TINY), []

    async def bench(ctx: SimulatorContext) -> None:
        ctx.set(dut.i.payload, Isa(TINY).encode(gemm(1, 1, 1, 1, *flags)))
        ctx.set(dut.i.valid, 1)
        for prev, behind in ((0, 0), (0, 1), (1, 0), (1, 1)):
            ctx.set(dut.before.available, prev)
            ctx.set(dut.behind.available, behind)
            enough = prev >= ("pop_prev" in flags) and behind >= ("pop_next" in flags)
            assert ctx.get(dut.i.ready) == enough
            popped.append((ctx.get(dut.before.pop), ctx.get(dut.behind.pop)))
            assert popped[-1] == (enough and "pop_prev" in flags, enough and "pop_next" in flags)
            if enough:
                return
            assert ctx.get(dut.stall)
            await ctx.tick()

    pysim.run(dut, bench)
    assert any(popped[-1])
