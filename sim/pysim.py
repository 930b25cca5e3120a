"""The checks of `sim.check`, and streams of bytes, on Amaranth's own simulator: no build step."""
from collections.abc import Iterable
from typing import Any

from amaranth.hdl import Value
from amaranth.lib import stream, wiring
from amaranth.sim import Simulator, SimulatorContext

from sim.check import UnitCheck

CLOCK = 1e-6        # seconds; only the count of cycles matters
SETTLE = CLOCK / 4  # from driving the inputs to looking at the outputs


def mismatches(check: UnitCheck) -> list[tuple[str, int, int, int]]:
    """Differences as (port, cycle, expected, got); empty for a correct unit."""
    found: list[tuple[str, int, int, int]] = []
    dut = check.component
    simulator = Simulator(dut)
    simulator.add_clock(CLOCK, if_exists=True)

    async def bench(ctx: SimulatorContext) -> None:
        inputs = [(Value.cast(getattr(dut, name)).as_unsigned(), words)
                  for name, words in check.inputs.items()]
        outputs = [(name, Value.cast(getattr(dut, name)).as_unsigned(), words)
                   for name, words in check.expected.items()]
        for cycle in range(len(inputs[0][1])):
            for port, words in inputs:
                ctx.set(port, words[cycle])
            await ctx.delay(SETTLE)
            for name, port, words in outputs:
                if words[cycle] is not None and (got := ctx.get(port)) != words[cycle]:
                    found.append((name, cycle, words[cycle], got))
            await ctx.delay(CLOCK - SETTLE)

    simulator.add_testbench(bench)
    simulator.run()
    return found


async def send(ctx: SimulatorContext, port: stream.Interface, items: Iterable[Any]) -> None:
    """Offer ``items`` one by one, as fast as they are taken."""
    for item in items:
        ctx.set(port.payload, item)
        ctx.set(port.valid, 1)
        await ctx.tick().until(port.ready)
    ctx.set(port.valid, 0)


def run(dut: wiring.Component, *benches: Any, background: Iterable[Any] = (),
        timeout: int = 20_000) -> None:
    """Simulate until every bench has come to its end, those in the ``background`` excepted.

    `TimeoutError` after ``timeout`` cycles.
    """
    simulator = Simulator(dut)
    simulator.add_clock(CLOCK)
    for bench in benches:
        simulator.add_testbench(bench)
    for bench in background:
        simulator.add_testbench(bench, background=True)

    async def watchdog(ctx: SimulatorContext) -> None:
        await ctx.delay(timeout * CLOCK)
        raise TimeoutError(f"no end within {timeout} cycles")

    simulator.add_testbench(watchdog, background=True)
    simulator.run()
