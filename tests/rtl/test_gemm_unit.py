"""The whole GEMM unit against a model that is written as the instruction set says it."""
import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest
from amaranth.sim import Simulator, SimulatorContext

from accel.spec.cells import Operation
from accel.spec.config import AccelConfig
from accel.spec.isa import Instruction, Isa, Opcode
from rtl.accumulator import AccumulatorColumn
from rtl.gemm import GemmUnit
from sim import pysim
from tests.configs import ADD, FIVE_BY_SEVEN, ONE_BY_ONE, SWITCHED, TINY, TWO_BY_THREE, config


def small(c: AccelConfig) -> AccelConfig:
    """The configuration with memories that are written soon, and wrap around soon."""
    return replace(c, act_depth=32, weight_depth=16, offset_depth=16, acc_depth=64)


SIX_COLUMNS = config("3x6-shift", rows=3, cols=6, cell="shift", weight_bits=5, band_rows=1,
                     act_bits=4, vector_lanes=2)
CONFIGS = [small(c) for c in (TINY, ONE_BY_ONE, TWO_BY_THREE, FIVE_BY_SEVEN, SWITCHED, ADD,
                              SIX_COLUMNS)]


class Model:
    """Memories and what an instruction does to them, in Python's integers."""

    def __init__(self, c: AccelConfig, rng: random.Random) -> None:
        self.c = c
        bound = 1 << (c.act_bits - 1)
        self.act = [rng.choice((-bound, bound - 1, rng.randrange(-bound, bound)))
                    for _ in range(c.act_elements)]
        self.weights = [[[rng.randrange(1 << c.weight_bits) for _ in range(c.cols)]
                         for _ in range(c.rows)] for _ in range(c.weight_depth)]
        self.offsets = [[rng.randrange(c.act_elements) for _ in range(c.rows)]
                        for _ in range(c.offset_depth)]
        self.acc = [[0] * c.cols for _ in range(c.acc_depth)]

    def run(self, instruction: Instruction) -> None:
        f = instruction.fields
        groups, tiles = range(f["groups"]), range(f["tiles"])
        order = ([(g, t) for t in tiles for g in groups] if f["tiles_outer"]
                 else list(product(groups, tiles)))
        for n, (group, tile) in enumerate(order):
            weights = self.weights[(f["weight_base"] + n) % self.c.weight_depth]
            offsets = self.offsets[(f["offset_base"] + tile) % self.c.offset_depth]
            for row, col in product(range(f["rows"]), range(f["cols"])):
                element = (f["act_base"] + group * f["act_group_stride"] + row * f["row_stride"]
                           + col * f["col_stride"])
                word = self.acc[(f["acc_base"] + group * f["acc_group_stride"]
                                 + row * f["cols"] + col) % self.c.acc_depth]
                fresh = tile == 0 and not f["accumulate"]
                for column in range(self.c.cols):
                    total = sum(self._term(element + offset, weights[r][column], column, f)
                                for r, offset in enumerate(offsets))
                    word[column] = total + (0 if fresh else word[column])

    def _term(self, element: int, code: int, column: int, f: dict[str, int]) -> int:
        ring = self.c.act_elements // 2     # each half of the scratchpad is one
        element = f["act_base"] // ring * ring + element % ring
        if f.get("depthwise"):
            element += column - element % self.c.word_lanes
        cell = self.c.cell_spec
        operation = Operation(f.get("distance", cell.operations[0]))
        return cell.term(self.act[element], code, operation)


def instructions(c: AccelConfig, rng: random.Random, count: int) -> Iterator[Instruction]:
    """Legal instructions: short and long sweeps, both orders, every mode."""
    for _ in range(count):
        rows, cols = rng.choice(((1, 1), (1, 1), (1, 2), (2, 1), (1, 3), (2, 2), (2, 3), (1, 7)))
        groups, tiles = rng.choice((1, 1, 2, 3, 5)), rng.choice((1, 2, 3, 6))
        stride = rows * cols + rng.choice((0, 0, 1))
        fields = {
            "weight_base": rng.randrange(c.weight_depth), "tiles": tiles, "groups": groups,
            "tiles_outer": rng.randrange(2), "offset_base": rng.randrange(c.offset_depth),
            "act_base": rng.randrange(c.act_elements),
            "act_group_stride": rng.randrange(c.act_elements),
            "rows": rows, "row_stride": rng.randrange(c.act_elements), "cols": cols,
            "col_stride": rng.choice((1, c.word_lanes, rng.randrange(c.act_elements))),
            # few, so that instructions often use those of the one before; some wrap around
            "acc_base": rng.randrange(-4, 8) % c.acc_depth,
            "acc_group_stride": stride, "accumulate": rng.randrange(2)}
        if c.depthwise:
            fields["depthwise"] = rng.randrange(2)
        if c.array.switched:
            fields["distance"] = rng.randrange(2)
        yield Instruction(Opcode.GEMM, fields, frozenset(
            flag for flag in ("pop_prev", "pop_next", "push_prev", "push_next")
            if rng.random() < 0.3))


def packed(values: list[int], bits: int) -> int:
    return sum((value % (1 << bits)) << (bits * lane) for lane, value in enumerate(values))


async def fill(ctx: SimulatorContext, dut: GemmUnit, model: Model) -> None:
    """Write all memories, as LOAD and host do: a word per cycle."""
    c = dut.config
    for address in range(c.act_depth):
        ctx.set(dut.write.address, address)
        ctx.set(dut.write.enable, -1)
        ctx.set(dut.write.data.as_value(),
                packed(model.act[address * c.word_lanes:][:c.word_lanes], c.act_bits))
        await ctx.tick()
    ctx.set(dut.write.enable, 0)
    ctx.set(dut.offset_write, 1)
    for address, offsets in enumerate(model.offsets):
        ctx.set(dut.offset_address, address)
        ctx.set(dut.offset_data.as_value(), packed(offsets, len(dut.offset_data[0])))
        await ctx.tick()
    ctx.set(dut.offset_write, 0)
    ctx.set(dut.weight_write, 1)
    for tile, row in product(range(c.weight_depth), range(c.rows)):
        ctx.set(dut.weight_address, tile * c.row_slots + row)
        ctx.set(dut.weight_data.as_value(), packed(model.weights[tile][row], c.weight_bits))
        await ctx.tick()
    ctx.set(dut.weight_write, 0)


async def accumulators(ctx: SimulatorContext, dut: GemmUnit) -> list[list[int]]:
    found, late = [], AccumulatorColumn.read_latency
    for cycle in range(dut.config.acc_depth + late):
        ctx.set(dut.acc_address, min(cycle, dut.config.acc_depth - 1))
        if cycle >= late:
            found.append([ctx.get(dut.acc_data[col]) for col in range(dut.config.cols)])
        await ctx.tick()
    return found


def simulate(dut: GemmUnit, bench: object, *background: object) -> None:
    simulator = Simulator(dut)
    simulator.add_clock(pysim.CLOCK)
    simulator.add_testbench(bench)
    for each in background:
        simulator.add_testbench(each, background=True)
    simulator.run()


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("c", CONFIGS, ids=lambda c: c.name)
def test_random_instructions_equal_the_model(c: AccelConfig, seed: int) -> None:
    rng = random.Random(seed)
    dut, model = GemmUnit(c), Model(c, rng)
    tokens = dict.fromkeys(("pop_prev", "pop_next", "push_prev", "push_next"), 0)

    async def bench(ctx: SimulatorContext) -> None:
        await fill(ctx, dut, model)
        for _ in range(3):
            program = list(instructions(c, rng, 5))
            before = dict(tokens)
            await pysim.send(ctx, dut.i, [Isa(c).encode(each) for each in program])
            await ctx.tick().until(dut.idle)
            for each in program:
                model.run(each)
            assert await accumulators(ctx, dut) == model.acc
            for flag in tokens:
                assert tokens[flag] - before[flag] == sum(flag in each.tokens for each in program)

    async def neighbours(ctx: SimulatorContext) -> None:
        """They give tokens now and then, and count those that come and go."""
        ports = {"pop_prev": dut.before.pop, "pop_next": dut.behind.pop,
                 "push_prev": dut.before.push, "push_next": dut.behind.push}
        while True:
            ctx.set(dut.before.available, rng.random() < 0.6)
            ctx.set(dut.behind.available, rng.random() < 0.6)
            _, _, *values = await ctx.tick().sample(*ports.values())
            for flag, value in zip(ports, values, strict=True):
                tokens[flag] += value

    simulate(dut, bench, neighbours)


@pytest.mark.parametrize("c", [CONFIGS[0], CONFIGS[3]], ids=lambda c: c.name)
def test_a_write_is_seen_by_the_instruction_behind_it(c: AccelConfig) -> None:
    """The last row's weight and the only offset and activation are written in the cycle before."""
    dut, seen = GemmUnit(c), []
    fields = dict.fromkeys((field.name for field in Isa(c).formats[Opcode.GEMM]), 0)
    fields |= {"tiles": 1, "groups": 1, "rows": 1, "cols": 1, "act_base": 2, "weight_base": 3}

    async def bench(ctx: SimulatorContext) -> None:
        ctx.set(dut.weight_address, 3 * c.row_slots + c.rows - 1)
        ctx.set(dut.weight_data.as_value(), packed([1] * c.cols, c.weight_bits))
        ctx.set(dut.offset_data.as_value(), packed([5] * c.rows, len(dut.offset_data[0])))
        ctx.set(dut.write.address, 7 // c.word_lanes)
        ctx.set(dut.write.data.as_value(), packed([11] * c.word_lanes, c.act_bits))
        for port in (dut.weight_write, dut.offset_write, dut.write.enable):
            ctx.set(port, -1)
        await ctx.tick()
        for port in (dut.weight_write, dut.offset_write, dut.write.enable):
            ctx.set(port, 0)
        await pysim.send(ctx, dut.i, [Isa(c).encode(Instruction(Opcode.GEMM, fields))])
        await ctx.tick().until(dut.idle)
        seen.extend((await accumulators(ctx, dut))[0])

    simulate(dut, bench)
    assert seen == [11] * c.cols


@pytest.mark.parametrize("c", CONFIGS[:4], ids=lambda c: c.name)
def test_sums_have_landed_when_the_token_is_given(c: AccelConfig) -> None:
    rng = random.Random(3)
    dut, model, seen = GemmUnit(c), Model(c, rng), []
    last = next(instructions(c, rng, 1))
    last = replace(last, fields=last.fields | {"acc_base": 0, "tiles": 2, "groups": 1, "rows": 1,
                                               "cols": 6, "accumulate": 0},
                   tokens=frozenset({"push_next"}))

    async def bench(ctx: SimulatorContext) -> None:
        await fill(ctx, dut, model)
        ctx.set(dut.acc_address, 5)     # the last one
        await pysim.send(ctx, dut.i, [Isa(c).encode(last)])
        await ctx.tick().until(dut.behind.push)
        # read in the cycle of the token, which is over: one cycle less to wait
        await ctx.tick().repeat(AccumulatorColumn.read_latency - 1)
        seen.extend(ctx.get(dut.acc_data[col]) for col in range(c.cols))
        model.run(last)

    simulate(dut, bench)
    assert seen == model.acc[5]
