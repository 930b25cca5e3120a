"""Rows of block RAM: every lane returns its own words, each one cycle behind the lane before."""
from amaranth.sim import Simulator

from rtl.ram_lanes import LATENCY, RamLanes

LANES, DEPTH, BITS = 3, 8, 8


def word(lane: int, address: int) -> int:
    return lane * 16 - address


def test_lanes() -> None:
    dut = RamLanes(LANES, DEPTH, BITS)
    seen = []

    async def bench(ctx) -> None:
        for lane in range(LANES):
            for address in range(DEPTH):
                ctx.set(dut.write, address)
                ctx.set(dut.w_data, word(lane, address))
                ctx.set(dut.w_en, 1 << lane)
                await ctx.tick()
        ctx.set(dut.w_en, 0)
        await ctx.tick().repeat(LANES + 1)
        for address in range(DEPTH + LATENCY + LANES):
            ctx.set(dut.read, address % DEPTH)
            await ctx.tick()
            seen.append([ctx.get(dut.o[lane]) for lane in range(LANES)])

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    for lane in range(LANES):
        first = LATENCY + lane - 1      # `seen` begins one cycle after the first address
        assert [row[lane] for row in seen[first:first + DEPTH]] == [
            word(lane, address) for address in range(DEPTH)]
