"""A component's behavioural twin as the reference for what it becomes on a device."""
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import Flow
from amaranth.sim import Simulator, SimulatorContext

from sim.check import UnitCheck
from sim.pysim import CLOCK, SETTLE
from sim.runner import run_bench, simulators

HAS_ICARUS = pytest.mark.skipif("icarus" not in simulators(), reason="no iverilog on PATH")
#: Icarus builds in a second; Verilator takes twenty.
SIMULATORS = [pytest.param("icarus", marks=HAS_ICARUS),
              pytest.param("verilator", marks=pytest.mark.slow)]


def on_simulators(quick: Sequence[Any], slow: Sequence[Any], verilator: Sequence[Any]) -> list[Any]:
    """Parameters (case, simulator): on Icarus the ``quick`` and ``slow`` cases, and Verilator's."""
    return [*(pytest.param(case, "icarus", marks=HAS_ICARUS) for case in quick),
            *(pytest.param(case, "icarus", marks=[HAS_ICARUS, pytest.mark.slow]) for case in slow),
            *(pytest.param(case, "verilator", marks=pytest.mark.slow) for case in verilator)]


def check_on(check: UnitCheck, simulator: str, platform: object) -> None:
    """Run ``check`` on what its component becomes on ``platform``; every value must be right."""
    outcome = run_bench(check.component, "vectors", check.job, simulator=simulator,
                        platform=platform)
    assert (outcome.mismatches, outcome.first) == (0, "")
    assert outcome.compared > len(next(iter(check.inputs.values()))) // 2


def stimuli(bits: int, cycles: int, rng: random.Random, *, signed: bool = False) -> list[int]:
    """Unsigned words: runs of the lowest number, the highest, the two in turn, 0, then random."""
    low, high = (1 << (bits - 1), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    run = cycles // 10
    return [*[low] * run, *[high] * run, *[low, high] * (run // 2), *[0] * run,
            *(rng.getrandbits(bits) for _ in range(cycles))][:cycles]


def recorded(name: str, component: wiring.Component, inputs: Mapping[str, list[int]],
             skip: int = 8) -> UnitCheck:
    """What the twin of ``component`` makes of ``inputs``, from cycle ``skip`` on."""
    cycles = len(next(iter(inputs.values())))
    outputs = [port for port, member in component.signature.members.items()
               if member.flow is Flow.Out]
    expected: dict[str, list[int | None]] = {port: [] for port in outputs}
    simulator = Simulator(component)
    simulator.add_clock(CLOCK, if_exists=True)

    async def bench(ctx: SimulatorContext) -> None:
        for cycle in range(cycles):
            for port, words in inputs.items():
                ctx.set(Value.cast(getattr(component, port)).as_unsigned(), words[cycle])
            await ctx.delay(SETTLE)
            for port in outputs:
                word = ctx.get(Value.cast(getattr(component, port)).as_unsigned())
                expected[port].append(word if cycle >= skip else None)
            await ctx.delay(CLOCK - SETTLE)

    simulator.add_testbench(bench)
    simulator.run()
    return UnitCheck(name, component, dict(inputs), expected)


def twin_check(name: str, component: wiring.Component, cycles: int = 1000) -> UnitCheck:
    """`recorded` for extremes, each input's at other times, and random numbers."""
    rng = random.Random(name)
    inputs = {}
    for index, (port, member) in enumerate(component.signature.members.items()):
        if member.flow is Flow.In:
            words = stimuli(len(Value.cast(getattr(component, port))), cycles, rng,
                            signed=bool(index % 2))
            shift = index * cycles // 17
            inputs[port] = words[shift:] + words[:shift]
    return recorded(name, component, inputs)
