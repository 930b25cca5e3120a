"""STORE against a model: wraps, a slow memory, faults, tokens; and the memory itself."""
import random
from dataclasses import dataclass, field

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.sim import SimulatorContext

from accel.spec.config import AccelConfig
from accel.spec.isa import Instruction, Isa, Opcode
from rtl.arith import delay
from rtl.memory import Memory
from rtl.ram import READ_LATENCY, Ram
from rtl.store import StoreUnit
from sim import pysim
from tests.configs import config

SMALL = config("small", out_depth=32, mem_depth=256)
ODD = config("odd", cols=3, act_bits=5, out_depth=16, mem_depth=100)
LATENCIES = [2, 5]


def store(*tokens: str, **fields: int) -> Instruction:
    return Instruction(Opcode.STORE, {
        "out_base": 0, "rows": 1, "row_stride": 0, "words": 1, "mem_base": 0,
        "mem_row_stride": 0, **fields}, frozenset(tokens))


def contents(config: AccelConfig) -> list[int]:
    generator = random.Random(5)
    return [generator.getrandbits(config.word_lanes * config.act_bits)
            for _ in range(config.out_depth)]


def expected(config: AccelConfig, instruction: Instruction) -> list[tuple[int, int]]:
    """Address and word of each write, in order."""
    f, words = instruction.fields, contents(config)
    return [(f["mem_base"] + row * f["mem_row_stride"] + col,
             words[(f["out_base"] + row * f["row_stride"] + col) % config.out_depth])
            for row in range(f["rows"]) for col in range(f["words"])]


@dataclass
class Trace:
    """What a run showed; times are cycles."""

    writes: list[tuple[int, int]] = field(default_factory=list)
    times: list[int] = field(default_factory=list)          # of the writes
    pushes: list[tuple[str, int]] = field(default_factory=list)
    faults: list[int] = field(default_factory=list)         # index of the instruction
    busy: int = 0
    stall: int = 0


class Bench(wiring.Component):
    """A scratchpad before STORE."""

    def __init__(self, config: AccelConfig, read_latency: int) -> None:
        self.store, self.read_latency = StoreUnit(config, read_latency), read_latency
        self.ram = Ram(config.word_lanes * config.act_bits, config.out_depth)
        super().__init__({})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.store, m.submodules.ram = self.store, self.ram
        data = delay(m, self.ram.r0_data[0], self.read_latency - READ_LATENCY, "late")
        m.d.comb += [self.ram.r0_addr.eq(self.store.out_address), self.store.out_data.eq(data)]
        return m


def trace(config: AccelConfig, instructions: list[Instruction], *, stall: float = 0.0,
          read_latency: int = 2) -> Trace:
    """Run STOREs; memory refuses a word with probability ``stall``."""
    bench, seen, generator = Bench(config, read_latency), Trace(), random.Random(11)
    unit, encoded = bench.store, [Isa(config).encode(each) for each in instructions]

    async def feed(ctx: SimulatorContext) -> None:
        ctx.set(bench.ram.w_en, 1)
        for address, word in enumerate(contents(config)):
            ctx.set(bench.ram.w_addr, address)
            ctx.set(bench.ram.w_data[0], word)
            await ctx.tick()
        ctx.set(bench.ram.w_en, 0)
        ctx.set(unit.i.valid, 1)
        for index, word in enumerate(encoded):
            ctx.set(unit.i.payload, word)
            ctx.set(unit.i_index, index)
            await ctx.tick().until(unit.i.ready)
        ctx.set(unit.i.valid, 0)
        await ctx.tick().until(unit.idle)
        await ctx.tick().repeat(3)

    async def watch(ctx: SimulatorContext) -> None:
        cycle, write = 0, unit.write
        while True:
            ctx.set(write.ready, generator.random() >= stall)
            await ctx.delay(pysim.SETTLE)
            if ctx.get(write.valid) and ctx.get(write.ready):
                seen.writes.append((ctx.get(write.payload.address), ctx.get(write.payload.data)))
                seen.times.append(cycle)
            for name in ("before", "behind"):
                if ctx.get(getattr(unit, name).push):
                    seen.pushes.append((name, cycle))
            if ctx.get(unit.fault):
                seen.faults.append(ctx.get(unit.fault_index))
            seen.busy += ctx.get(unit.busy)
            seen.stall += ctx.get(unit.stall)
            await ctx.tick()
            cycle += 1

    pysim.run(bench, feed, background=[watch])
    return seen


VARIOUS = [
    store(out_base=3, mem_base=7),
    store(out_base=2, rows=3, row_stride=5, words=4, mem_base=20, mem_row_stride=9),
    store(rows=0), store(words=0), store(rows=0, words=0),
    store(out_base=1, rows=5, words=1, row_stride=1, mem_base=60, mem_row_stride=4),
    store(out_base=0, words=20, mem_base=80)]


@pytest.mark.parametrize("stall", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("read_latency", LATENCIES)
@pytest.mark.parametrize("config", [SMALL, ODD], ids=lambda c: c.name)
def test_equals_the_model(config: AccelConfig, read_latency: int, stall: float) -> None:
    seen = trace(config, VARIOUS, stall=stall, read_latency=read_latency)
    assert seen.writes == [write for each in VARIOUS for write in expected(config, each)]
    assert seen.faults == []


@pytest.mark.parametrize(("config", "base"), [(SMALL, 29), (ODD, 13)], ids=["small", "odd"])
def test_wraps(config: AccelConfig, base: int) -> None:
    ring = store("push_prev", out_base=base, rows=3, row_stride=15, words=7, mem_base=4,
                 mem_row_stride=7)
    seen = trace(config, [ring])
    assert seen.writes == expected(config, ring)
    assert (seen.faults, [side for side, _ in seen.pushes]) == ([], ["before"])


@pytest.mark.parametrize("read_latency", LATENCIES)
def test_a_word_per_cycle_and_two_cycles_between_instructions(read_latency: int) -> None:
    several = store(rows=4, row_stride=8, words=6, mem_row_stride=6)
    seen = trace(SMALL, [several] * 3, read_latency=read_latency)
    assert len(seen.writes) == 72
    assert seen.times[-1] - seen.times[0] + 1 == 72 + 2 * 2
    assert (seen.busy, seen.stall) == (72, 0)


def test_tokens_are_given_once_memory_has_the_last_word() -> None:
    seen = trace(SMALL, [store("push_next", words=4), store("push_prev", "push_next", rows=0),
                         store(words=4)], stall=0.5)
    assert [side for side, _ in seen.pushes] == ["behind", "before", "behind"]
    assert seen.pushes[0][1] == seen.times[3] + 1
    assert seen.stall > 0


@pytest.mark.parametrize("stall", [0.0, 0.6])
@pytest.mark.parametrize("config", [SMALL, ODD], ids=lambda c: c.name)
def test_beyond_memory(config: AccelConfig, stall: float) -> None:
    """What lies inside is written; then the instruction ends, and the next one runs."""
    depth = config.mem_depth
    for rows, words, stride in ((1, 9, 0), (4, 2, depth - 1), (1, 3, 0)):
        wrong = store("push_next", mem_base=depth - 2, rows=rows, words=words,
                      mem_row_stride=stride)
        seen = trace(config, [VARIOUS[1], wrong, VARIOUS[0]], stall=stall)
        assert seen.faults == [1]
        assert seen.pushes == []
        assert seen.writes == (expected(config, VARIOUS[1]) + expected(config, wrong)[:2]
                               + expected(config, VARIOUS[0]))


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize(("latency", "interval"), [(0, 1), (7, 1), (0, 3), (20, 2)])
def test_memory(latency: int, interval: int, stall: float) -> None:
    """Every word read comes, in order, however slowly it is taken; a later read sees a write."""
    dut = Memory(SMALL, latency=latency, interval=interval)
    port, generator, got, times = dut.port, random.Random(2), [], []
    words = [generator.getrandbits(SMALL.mem_bits) for _ in range(60)]

    async def write(ctx: SimulatorContext) -> None:
        for address, word in enumerate(words):
            await pysim.send(ctx, port.write, [{"address": address, "data": word}])
            await pysim.send(ctx, port.read, [address])
        await pysim.send(ctx, port.read, range(60))

    async def take(ctx: SimulatorContext) -> None:
        cycle = 0
        while len(got) < 120:
            ctx.set(port.data.ready, generator.random() >= stall)
            await ctx.delay(pysim.SETTLE)
            if ctx.get(port.data.valid) and ctx.get(port.data.ready):
                got.append(ctx.get(port.data.payload))
                times.append(cycle)
            await ctx.tick()
            cycle += 1

    pysim.run(dut, write, take)
    assert got == words + words
    if not stall:
        assert times[-1] - times[-50] == 49 * interval


@pytest.mark.parametrize("latency", [0, 3])
def test_memory_latency(latency: int) -> None:
    dut, seen = Memory(SMALL, latency=latency), []

    async def bench(ctx: SimulatorContext) -> None:
        await ctx.tick().repeat(2)
        ctx.set(dut.port.read.valid, 1)
        await ctx.tick()
        ctx.set(dut.port.read.valid, 0)
        for _ in range(10):
            seen.append(ctx.get(dut.port.data.valid))
            await ctx.tick()

    pysim.run(dut, bench)
    assert seen.index(1) + 1 == 5 + latency
