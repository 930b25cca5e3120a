"""The ring of token exchanges against a count."""
import random

import pytest
from amaranth.sim import SimulatorContext

from accel.spec.isa import MOST_TOKENS, Unit
from rtl.tokens import TokenExchange, TokenRing
from sim import pysim

PORTS = [f"{unit.name.lower()}_{side}" for unit in Unit for side in ("before", "behind")]


def partner(port: str) -> str:
    """The other end of a port's exchange."""
    name, side = port.split("_")
    step = 1 if side == "behind" else -1
    return f"{Unit[name.upper()].neighbour(step).name.lower()}_" + (
        "before" if side == "behind" else "behind")


def test_partners() -> None:
    assert partner("load_before") == "store_behind"
    assert partner("store_behind") == "load_before"
    assert partner("gemm_behind") == "vector_before"


@pytest.mark.parametrize("seed", range(3))
def test_every_token_arrives_once(seed: int) -> None:
    """Units take what they are shown, as often as every other cycle; every push is seen in time."""
    dut, generator = TokenRing(), random.Random(seed)
    given, taken = dict.fromkeys(PORTS, 0), dict.fromkeys(PORTS, 0)
    popped = dict.fromkeys(PORTS, False)

    async def bench(ctx: SimulatorContext) -> None:
        for cycle in range(600):
            eager = generator.choice([0.1, 0.9])
            for name in PORTS:
                port = getattr(dut, name)
                push = cycle < 500 and given[name] - taken[partner(name)] < 5 and (
                    generator.random() < 0.3)
                pop = (not popped[name] and bool(ctx.get(port.available))
                       and generator.random() < eager)
                ctx.set(port.push, push)
                ctx.set(port.pop, pop)
                popped[name] = pop
                given[name] += push
                taken[name] += pop
            assert all(taken[partner(name)] <= given[name] for name in PORTS)
            await ctx.tick()
        for name in PORTS:
            ctx.set(getattr(dut, name).push, 0)
            ctx.set(getattr(dut, name).pop, 0)
        await ctx.tick().repeat(TokenRing.LATENCY)
        balanced = [given[name] == taken[partner(name)] for name in PORTS]
        assert ctx.get(dut.balanced) == all(balanced)
        for name in PORTS:
            assert ctx.get(getattr(dut, name).available) == (
                given[partner(name)] > taken[name])

    pysim.run(dut, bench)
    assert min(given.values()) > 50


def test_latency_and_most_tokens() -> None:
    dut = TokenExchange()

    async def bench(ctx: SimulatorContext) -> None:
        ctx.set(dut.before.push, 1)
        await ctx.tick()
        ctx.set(dut.before.push, 0)
        for _ in range(TokenExchange.LATENCY - 1):
            assert not ctx.get(dut.behind.available)
            await ctx.tick()
        assert ctx.get(dut.behind.available)
        ctx.set(dut.before.push, 1)
        await ctx.tick().repeat(MOST_TOKENS - 1)
        ctx.set(dut.before.push, 0)
        await ctx.tick().repeat(3)
        for left in reversed(range(MOST_TOKENS)):
            ctx.set(dut.behind.pop, 1)
            await ctx.tick()
            ctx.set(dut.behind.pop, 0)
            await ctx.tick().repeat(TokenExchange.LATENCY - 1)
            assert ctx.get(dut.behind.available) == (left > 0)
        await ctx.tick()
        assert ctx.get(dut.balanced)

    pysim.run(dut, bench)


def test_flood_and_clear() -> None:
    dut = TokenRing()

    async def bench(ctx: SimulatorContext) -> None:
        ctx.set(dut.gemm_behind.push, 1)
        ctx.set(dut.flood, 1)
        await ctx.tick()
        ctx.set(dut.gemm_behind.push, 0)
        await ctx.tick().repeat(3)
        for _ in range(3):
            for name in PORTS:
                assert ctx.get(getattr(dut, name).available)
                ctx.set(getattr(dut, name).pop, 1)
            await ctx.tick()
        for name in PORTS:
            ctx.set(getattr(dut, name).pop, 0)
        ctx.set(dut.flood, 0)
        ctx.set(dut.clear, 1)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        await ctx.tick().repeat(TokenRing.LATENCY)
        assert not any(ctx.get(getattr(dut, name).available) for name in PORTS)
        assert ctx.get(dut.balanced)

    pysim.run(dut, bench)
