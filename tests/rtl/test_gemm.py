"""Weights are double-buffered: no cycle is lost between tiles that are long enough."""
import pytest
from amaranth.sim import Simulator, SimulatorContext

from accel.spec.isa import Instruction, Isa, Opcode
from rtl.gemm import TILE_PERIOD, GemmControl
from sim import pysim
from tests.configs import TINY


def gemm(tiles: int, rows: int, cols: int) -> Instruction:
    return Instruction(Opcode.GEMM, {
        "weight_base": 3, "tiles": tiles, "act_base": 0, "rows": rows, "row_stride": 8,
        "cols": cols, "col_stride": 1, "acc_base": 0, "accumulate": 0})


def trace(instructions: list[Instruction]) -> list[tuple[int, int, int]]:
    """Per cycle: whether the array takes a step, whether with new weights, and of which tile."""
    dut, seen = GemmControl(TINY), []

    async def bench(ctx: SimulatorContext) -> None:
        await pysim.send(ctx, dut.i, [Isa(TINY).encode(each) for each in instructions])
        await ctx.tick().repeat(400)

    async def watch(ctx: SimulatorContext) -> None:
        async for _, _, step, swap, tile in ctx.tick().sample(
                dut.stepping, dut.step.swap, dut.tile):
            seen.append((step, swap, tile))

    simulator = Simulator(dut)
    simulator.add_clock(pysim.CLOCK)
    simulator.add_testbench(bench)
    simulator.add_testbench(watch, background=True)
    simulator.run()
    steps = [cycle for cycle, (step, *_) in enumerate(seen) if step]
    return seen[steps[0]:steps[-1] + 2]


@pytest.mark.parametrize(("tiles", "rows", "cols"), [(1, 1, 5), (7, 1, TILE_PERIOD), (5, 3, 3),
                                                     (9, 2, 7)])
def test_no_stall_between_tiles(tiles: int, rows: int, cols: int) -> None:
    seen = trace([gemm(tiles, rows, cols)])[:-1]
    assert [step for step, *_ in seen] == [1] * (tiles * rows * cols)
    assert [cycle for cycle, (_, swap, _) in enumerate(seen) if swap] == list(
        range(0, tiles * rows * cols, rows * cols))


def test_the_next_tile_is_there_a_cycle_behind_its_swap() -> None:
    seen = trace([gemm(4, 2, 3)])
    behind = [seen[cycle + 1][2] for cycle, (_, swap, _) in enumerate(seen[:-1]) if swap]
    assert behind == [3, 4, 5, 6]


@pytest.mark.parametrize("length", range(1, TILE_PERIOD))
def test_short_tiles_wait_for_the_period_and_no_longer(length: int) -> None:
    tiles = 6
    seen = trace([gemm(tiles, 1, length)])[:-1]
    assert sum(not step for step, *_ in seen) == (tiles - 1) * (TILE_PERIOD - length)


def test_two_cycles_between_instructions() -> None:
    seen = trace([gemm(2, 2, 4), gemm(1, 3, 3)])[:-1]
    assert sum(not step for step, *_ in seen) == 2
