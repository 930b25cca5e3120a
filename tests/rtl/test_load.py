"""LOAD against a model: padding, wraps, pauses of memory and scratchpads, faults, tokens."""
import random
from dataclasses import dataclass, field, replace

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.sim import SimulatorContext

from accel.spec.config import AccelConfig
from accel.spec.isa import Instruction, Isa, Opcode, Target
from rtl.load import LoadUnit, Middle
from rtl.memory import Memory
from sim import pysim
from tests.configs import TINY, config

SMALL = config("small", act_depth=32, out_depth=32, weight_depth=8, mem_depth=256)
ODD = config("odd", rows=3, cols=3, act_depth=16, out_depth=32, weight_depth=4, mem_depth=100)
NOTHING = {"target": 0, "mem_base": 0, "rows": 0, "mem_row_stride": 0, "words": 0, "base": 0,
           "row_stride": 0, "top": 0, "bottom": 0, "left": 0, "right": 0, "value": 0}


def load(target: Target = Target.ACTIVATION, *tokens: str, **fields: int) -> Instruction:
    return Instruction(Opcode.LOAD, {**NOTHING, "target": int(target), **fields},
                       frozenset(tokens))


def contents(config: AccelConfig) -> list[int]:
    generator = random.Random(5)
    return [generator.getrandbits(config.mem_bits) for _ in range(config.mem_depth)]


def expected(config: AccelConfig, instruction: Instruction) -> list[tuple[int, int, int]]:
    """Target, address and word of each write, in order."""
    f, memory = instruction.fields, contents(config)
    depth, bits = {
        Target.ACTIVATION: (config.act_depth, config.word_lanes * config.act_bits),
        Target.OUTPUT: (config.out_depth, config.word_lanes * config.act_bits),
        Target.WEIGHT: (config.weight_depth * config.row_slots, config.cols * config.weight_bits),
    }[Target(f["target"])]
    code = f["value"] % (1 << config.act_bits)
    padding = sum(code << (config.act_bits * lane) for lane in range(config.word_lanes))
    writes = []
    for row in range(f["top"] + f["rows"] + f["bottom"]):
        for col in range(f["left"] + f["words"] + f["right"]):
            y, x = row - f["top"], col - f["left"]
            word = padding
            if 0 <= y < f["rows"] and 0 <= x < f["words"]:
                word = memory[f["mem_base"] + y * f["mem_row_stride"] + x]
            place = f["base"] + row * f["row_stride"] + col
            if f["target"] == Target.ACTIVATION:
                half = depth // 2       # each is a ring
                place = f["base"] // half * half + place % half
            writes.append((f["target"], place % depth, word % (1 << bits)))
    return writes


@dataclass
class Trace:
    """What a run showed; times are cycles."""

    writes: list[tuple[int, int, int]] = field(default_factory=list)
    times: list[int] = field(default_factory=list)          # of the writes
    pushes: list[tuple[str, int]] = field(default_factory=list)
    reads: list[int] = field(default_factory=list)
    faults: list[int] = field(default_factory=list)         # index of the instruction
    busy: int = 0
    stall: int = 0


class Bench(wiring.Component):
    """LOAD before a memory."""

    def __init__(self, config: AccelConfig, latency: int, interval: int) -> None:
        self.load, self.memory = LoadUnit(config), Memory(config, latency=latency,
                                                          interval=interval)
        super().__init__({})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.load, m.submodules.memory = self.load, self.memory
        wiring.connect(m, self.load.read, self.memory.port.read)
        wiring.connect(m, self.memory.port.data, self.load.data)
        return m


def trace(config: AccelConfig, instructions: list[Instruction], *, stall: float = 0.0,
          latency: int = 0, interval: int = 1) -> Trace:
    """Run LOADs; scratchpads refuse a write with probability ``stall``."""
    bench, seen, generator = Bench(config, latency, interval), Trace(), random.Random(11)
    unit, encoded = bench.load, [Isa(config).encode(each) for each in instructions]
    ports = {target: getattr(unit, target.name.lower()) for target in Target}

    async def feed(ctx: SimulatorContext) -> None:
        write = bench.memory.port.write
        ctx.set(write.valid, 1)
        for address, word in enumerate(contents(config)):
            ctx.set(write.payload, {"address": address, "data": word})
            await ctx.tick().until(write.ready)
        ctx.set(write.valid, 0)
        await ctx.tick().repeat(3)
        ctx.set(unit.i.valid, 1)
        for index, word in enumerate(encoded):
            ctx.set(unit.i.payload, word)
            ctx.set(unit.i_index, index)
            await ctx.tick().until(unit.i.ready)
        ctx.set(unit.i.valid, 0)
        await ctx.tick().until(unit.idle)
        await ctx.tick().repeat(3)

    async def watch(ctx: SimulatorContext) -> None:
        cycle = 0
        while True:
            for port in ports.values():
                ctx.set(port.ready, generator.random() >= stall)
            await ctx.delay(pysim.SETTLE)
            for target, port in ports.items():
                if ctx.get(port.valid) and ctx.get(port.ready):
                    seen.writes.append((int(target), ctx.get(port.payload.address),
                                        ctx.get(port.payload.data)))
                    seen.times.append(cycle)
            if ctx.get(unit.read.valid) and ctx.get(unit.read.ready):
                seen.reads.append(ctx.get(unit.read.payload))
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


PADDED = load(mem_base=40, rows=3, mem_row_stride=5, words=4, base=28, row_stride=7, top=1,
              bottom=2, left=1, right=2, value=-3)
VARIOUS = [
    load(mem_base=10, rows=1, words=1, base=3),
    PADDED,
    load(words=5, rows=0, left=2, row_stride=7, top=2, value=7),        # padding alone
    load(rows=4, row_stride=3, left=1, right=2, value=-128),            # no words in the rows
    load(),                                                             # nothing at all
    load(rows=3, words=0), load(words=3),
    load(Target.WEIGHT, mem_base=7, rows=3, mem_row_stride=4, words=3, base=26, row_stride=8),
    load(Target.OUTPUT, mem_base=60, rows=2, mem_row_stride=9, words=6, base=6, row_stride=6,
         right=1, value=1),
    load(mem_base=2, rows=6, words=1, row_stride=1, mem_row_stride=3),
    load(mem_base=2, rows=1, words=9, base=1),
]


@pytest.mark.parametrize("stall", [0.0, 0.6])
@pytest.mark.parametrize(("latency", "interval"), [(0, 1), (9, 1), (2, 3)])
@pytest.mark.parametrize("config", [SMALL, ODD], ids=lambda c: c.name)
def test_equals_the_model(config: AccelConfig, latency: int, interval: int, stall: float) -> None:
    seen = trace(config, VARIOUS, stall=stall, latency=latency, interval=interval)
    wanted = [write for each in VARIOUS for write in expected(config, each)]
    assert seen.writes == wanted
    assert seen.faults == []


@pytest.mark.parametrize("seed", range(4))
def test_random_instructions(seed: int) -> None:
    generator, instructions = random.Random(seed), []
    for _ in range(12):
        few = {name: generator.choice([0, 0, 1, 2]) for name in ("top", "bottom", "left", "right")}
        instructions.append(load(
            generator.choice(list(Target)), mem_base=generator.randrange(100),
            rows=generator.randrange(5), words=generator.randrange(6),
            mem_row_stride=generator.randrange(20), base=generator.randrange(32),
            row_stride=generator.randrange(12), value=generator.randrange(-128, 128), **few))
    seen = trace(SMALL, instructions, stall=generator.choice([0.0, 0.3]),
                 latency=generator.randrange(5), interval=generator.choice([1, 2]))
    assert seen.writes == [write for each in instructions for write in expected(SMALL, each)]


def test_a_word_per_cycle_and_two_cycles_between_instructions() -> None:
    again = load(mem_base=8, rows=4, mem_row_stride=8, words=6, row_stride=8)
    seen = trace(SMALL, [again, PADDED, again])
    assert len(seen.writes) == 24 + 42 + 24
    assert seen.times[-1] - seen.times[0] + 1 == len(seen.writes) + 2 * 2
    assert (seen.busy, seen.stall) == (len(seen.writes), seen.stall)


def test_latency_costs_no_rate() -> None:
    seen = trace(SMALL, [load(mem_base=0, rows=1, words=32)] * 2, latency=40)
    assert seen.times[31] - seen.times[0] == 31


def test_stalls_are_counted() -> None:
    seen = trace(SMALL, [load(mem_base=0, rows=1, words=20)], interval=4)
    assert seen.busy == 20
    assert seen.stall >= 19 * 3


def test_tokens_are_given_behind_the_last_write() -> None:
    seen = trace(SMALL, [load(Target.ACTIVATION, "push_next", words=4, rows=1),
                         load(Target.ACTIVATION, "push_prev", "push_next"),
                         load(Target.ACTIVATION, words=4, rows=1)], stall=0.5)
    assert [side for side, _ in seen.pushes] == ["behind", "before", "behind"]
    assert seen.times[3] < seen.pushes[0][1] < seen.times[3] + 6


@pytest.mark.parametrize(("given", "starts"), [("", False), ("before", False), ("behind", False),
                                               ("before behind", True)])
def test_waits_for_all_its_tokens(given: str, starts: bool) -> None:
    """Nothing is read for an instruction that has not got its tokens, and none is taken."""
    dut, seen = LoadUnit(SMALL), []

    async def bench(ctx: SimulatorContext) -> None:
        for name in given.split():
            ctx.set(getattr(dut, name).available, 1)
        ctx.set(dut.i.payload, Isa(SMALL).encode(
            load(Target.ACTIVATION, "pop_prev", "pop_next", words=4, rows=1)))
        ctx.set(dut.i.valid, 1)
        for _ in range(20):
            ctx.set(dut.i.valid, not seen or not seen[-1][0])
            await ctx.delay(pysim.SETTLE)
            seen.append((ctx.get(dut.i.ready), ctx.get(dut.before.pop), ctx.get(dut.behind.pop),
                         ctx.get(dut.read.valid)))
            await ctx.tick()

    pysim.run(dut, bench)
    assert {each[0] == each[1] == each[2] for each in seen} == {True}
    assert any(ready for ready, *_ in seen) is starts
    assert any(reading for *_, reading in seen) is starts


@pytest.mark.parametrize("config", [SMALL, ODD], ids=lambda c: c.name)
@pytest.mark.parametrize("rows", [1, 3])
def test_beyond_memory(config: AccelConfig, rows: int) -> None:
    """What lies inside is read; then the instruction ends, and the next one runs."""
    depth = config.mem_depth
    wrong = load(Target.ACTIVATION, "push_next", mem_base=depth - 2, rows=rows, words=6,
                 mem_row_stride=9, left=1, right=3)
    seen = trace(config, [PADDED, wrong, VARIOUS[0]], latency=3)
    assert seen.faults == [1]
    assert seen.pushes == []
    assert max(seen.reads) == depth - 1
    assert seen.writes == (expected(config, PADDED)
                           + expected(config, replace(wrong, fields={
                               **wrong.fields, "rows": 1, "words": 2, "right": 0}))
                           + expected(config, VARIOUS[0]))


def test_a_row_beyond_memory() -> None:
    wrong = load(mem_base=SMALL.mem_depth - 40, rows=9, words=2, mem_row_stride=39)
    assert trace(SMALL, [wrong]).reads == [216, 217, 255]


@pytest.mark.parametrize(("target", "base", "places"), [
    (Target.OUTPUT, 30, [30, 31, 0, 1, 2, 3]), (Target.ACTIVATION, 6, [6, 7, 0, 1, 2, 3]),
    (Target.ACTIVATION, 14, [14, 15, 8, 9, 10, 11]), (Target.WEIGHT, 14, [14, 15, 0, 1, 2, 3])],
    ids=str)
def test_every_scratchpad_is_a_ring(target: Target, base: int, places: list[int]) -> None:
    """Activations are two, one in each half."""
    ring = load(target, "push_prev", rows=1, words=6, base=base)
    seen = trace(ODD, [ring])
    assert seen.writes == expected(ODD, ring)
    assert [address for _, address, _ in seen.writes] == places
    assert (seen.faults, [side for side, _ in seen.pushes]) == ([], ["before"])


def test_nothing_is_lost_when_tokens_come_late() -> None:
    """Tokens for one instruction while the one before still runs."""
    dut, pops = LoadUnit(TINY), []

    async def feed(ctx: SimulatorContext) -> None:
        await pysim.send(ctx, dut.i, [Isa(TINY).encode(load(
            Target.ACTIVATION, "pop_prev", top=1, left=5))] * 3)
        await ctx.tick().until(dut.idle)

    async def supply(ctx: SimulatorContext) -> None:
        for cycle in range(200):
            ctx.set(dut.activation.ready, 1)
            ctx.set(dut.before.available, cycle % 17 == 0)
            await ctx.delay(pysim.SETTLE)
            if ctx.get(dut.before.pop):
                pops.append(cycle)
            await ctx.tick()

    pysim.run(dut, feed, supply)
    assert len(pops) == 3
    assert all(cycle % 17 == 0 for cycle in pops)


@pytest.mark.parametrize("middle", [0, 1, 2, 5])
@pytest.mark.parametrize("front", [0, 1, 2, 5])
def test_middle(front: int, middle: int) -> None:
    dut, seen = Middle(4), []

    async def bench(ctx: SimulatorContext) -> None:
        for port, count in ((dut.front, front), (dut.middle, middle)):
            ctx.set(port, {"count": count, "any": count > 0, "one": count == 1})
        for _ in range(2):
            ctx.set(dut.restart, 1)
            await ctx.tick()
            ctx.set(dut.restart, 0)
            ctx.set(dut.step, 1)
            for _ in range(front + middle + 3):
                seen.append(ctx.get(dut.inside))
                await ctx.tick()

    pysim.run(dut, bench)
    assert seen == ([0] * front + [1] * middle + [0] * 3) * 2
