"""Dispatch to four units, faults, and a clean start after each of them."""
from dataclasses import dataclass, field

import pytest
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from amaranth.sim import SimulatorContext

from accel.spec.isa import UNIT_OF, Instruction, Isa, Opcode, Unit
from accel.spec.link import FaultCode
from rtl.arith import delay
from rtl.load import LoadUnit
from rtl.memory import Memory
from rtl.sequencer import QUEUE_DEPTH, Sequencer
from rtl.store import StoreUnit
from rtl.tokens import TokenRing
from sim import pysim
from tests.configs import config

SMALL = config("small", act_depth=32, out_depth=32, weight_depth=8, mem_depth=256,
               instruction_depth=32)
ISA = Isa(SMALL)
NAMES = {unit: unit.name.lower() for unit in Unit}


def instruction(opcode: Opcode, *tokens: str, **fields: int) -> int:
    """A word whose fields are 0 unless given."""
    return ISA.encode(Instruction(opcode, {
        **{each.name: 0 for each in ISA.formats[opcode]}, **fields}, frozenset(tokens)))


@dataclass
class Run:
    """What a run came to."""

    fault: int
    index: int
    cycles: int
    taken: dict[Unit, list[int]] = field(default_factory=dict)


class Alone(wiring.Component):
    """A sequencer with units that take one instruction in ``pace`` cycles and do nothing."""

    def __init__(self, pace: int) -> None:
        self.sequencer, self.pace = Sequencer(SMALL, patience=200), pace
        super().__init__({"taken": Out(len(Unit))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.sequencer = sequencer = self.sequencer
        for unit, name in NAMES.items():
            port, wait = getattr(sequencer, name), Signal(8, name=f"{name}_wait")
            m.d.comb += [port.ready.eq(wait == 0), self.taken[unit].eq(port.valid & port.ready)]
            m.d.sync += wait.eq(wait - wait.any())
            with m.If(self.taken[unit]):
                m.d.sync += wait.eq(self.pace - 1)
        moves = self.taken.any()
        m.d.comb += [
            sequencer.units_idle.eq(~Cat(getattr(sequencer, name).valid
                                         for name in NAMES.values()).any()),
            sequencer.moving.eq(moves), sequencer.balanced.eq(1)]
        return m


async def start(ctx: SimulatorContext, sequencer: Sequencer, words: list[int], entry: int = 0,
                ) -> None:
    ctx.set(sequencer.write, 1)
    for offset, word in enumerate(words):
        ctx.set(sequencer.address, entry + offset)
        ctx.set(sequencer.word, word)
        await ctx.tick()
    ctx.set(sequencer.write, 0)
    await ctx.tick()
    ctx.set(sequencer.entry, entry)
    ctx.set(sequencer.start, 1)
    await ctx.tick()
    ctx.set(sequencer.start, 0)


def outcome(ctx: SimulatorContext, sequencer: Sequencer) -> tuple[int, int, int]:
    return (int(ctx.get(sequencer.fault)), ctx.get(sequencer.fault_index),
            ctx.get(sequencer.cycles))


def run_alone(words: list[int], entry: int = 0, pace: int = 1) -> Run:
    dut, taken = Alone(pace), {unit: [] for unit in Unit}
    results = []

    async def control(ctx: SimulatorContext) -> None:
        await start(ctx, dut.sequencer, words, entry)
        await ctx.tick().until(~dut.sequencer.running)
        results.append(outcome(ctx, dut.sequencer))

    async def watch(ctx: SimulatorContext) -> None:
        while True:
            await ctx.tick()
            await ctx.delay(pysim.SETTLE)
            for unit, name in NAMES.items():
                if ctx.get(dut.taken[unit]):
                    taken[unit].append(ctx.get(getattr(dut.sequencer, name).payload))

    pysim.run(dut, control, background=[watch])
    return Run(*results[0], taken)


LOAD = instruction(Opcode.LOAD, "push_next", mem_base=9, left=3, value=-1)
GEMM = instruction(Opcode.GEMM, "pop_prev", tiles=3, groups=5)
VECTOR = instruction(Opcode.VECTOR, "push_prev", to_output=1, high=-1)
STORE = instruction(Opcode.STORE, "push_next", rows=31, mem_row_stride=255)
FINISH = 0


@pytest.mark.parametrize("pace", [1, 7])
@pytest.mark.parametrize("entry", [0, 5])
def test_each_unit_gets_its_instructions_in_order(entry: int, pace: int) -> None:
    words = [LOAD, GEMM, VECTOR, STORE, STORE, LOAD, GEMM + 8, GEMM, GEMM + 8, GEMM, VECTOR]
    run = run_alone([*words, FINISH], entry, pace)
    assert (run.fault, run.index) == (FaultCode.NONE, 0)
    for unit in Unit:
        assert run.taken[unit] == [word for word in words if UNIT_OF[Opcode(word & 7)] == unit]


def test_an_instruction_in_three_cycles() -> None:
    few, many = (run_alone([LOAD, GEMM, VECTOR, STORE] * n + [FINISH]).cycles for n in (2, 6))
    assert many - few == 3 * 16


@pytest.mark.parametrize("opcode", [5, 7])
def test_bad_opcode(opcode: int) -> None:
    run = run_alone([LOAD, LOAD, opcode, LOAD, FINISH], entry=4)
    assert (run.fault, run.index) == (FaultCode.BAD_OPCODE, 6)
    assert len(run.taken[Unit.LOAD]) <= 2


class Core(wiring.Component):
    """LOAD and STORE for real, with a memory; GEMM and VECTOR only exchange tokens."""

    def __init__(self) -> None:
        self.sequencer = Sequencer(SMALL, patience=200)
        self.load, self.memory = LoadUnit(SMALL), Memory(SMALL)
        self.store = StoreUnit(SMALL)
        super().__init__({})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.sequencer, m.submodules.load = self.sequencer, self.load
        m.submodules.store, m.submodules.memory = self.store, self.memory
        m.submodules.ring = ring = TokenRing()
        sequencer, port = self.sequencer, self.memory.port
        wiring.connect(m, self.load.read, port.read)
        wiring.connect(m, port.data, self.load.data)
        wiring.connect(m, self.store.write, port.write)
        for name, unit in (("load", self.load), ("store", self.store)):
            wiring.connect(m, getattr(sequencer, name), unit.i)
            wiring.connect(m, unit.before, getattr(ring, f"{name}_before"))
            wiring.connect(m, unit.behind, getattr(ring, f"{name}_behind"))
            m.d.comb += [unit.i_index.eq(getattr(sequencer, f"{name}_index")),
                         getattr(sequencer, f"{name}_fault").eq(unit.fault),
                         getattr(sequencer, f"{name}_fault_index").eq(unit.fault_index)]
        idle = [self.load.idle, self.store.idle]
        for name in ("gemm", "vector"):
            port, before, behind = (getattr(sequencer, name), getattr(ring, f"{name}_before"),
                                    getattr(ring, f"{name}_behind"))
            word = port.payload[3:]
            rests = Signal(name=f"{name}_rests")
            take = (port.valid & ~rests & (~word[0] | before.available)
                    & (~word[1] | behind.available))
            m.d.sync += rests.eq(take)
            m.d.comb += [port.ready.eq(take), before.pop.eq(take & word[0]),
                         behind.pop.eq(take & word[1]),
                         before.push.eq(delay(m, take & word[2], 3, f"{name}_prev")),
                         behind.push.eq(delay(m, take & word[3], 3, f"{name}_next"))]
            idle.append(~port.valid & ~Cat(
                delay(m, take, age, f"{name}_age_{age}") for age in range(1, 4)).any())
        m.d.comb += [
            sequencer.units_idle.eq(Cat(idle).all()), sequencer.balanced.eq(ring.balanced),
            sequencer.moving.eq(self.load.busy | self.store.busy),
            ring.clear.eq(sequencer.clear), ring.flood.eq(sequencer.aborting)]
        m.d.comb += [getattr(self.load, target).ready.eq(1)
                     for target in ("activation", "weight", "output")]
        return m


def run_core(*programs: list[int]) -> list[tuple[int, int]]:
    """Run programs one after the other on one core; fault and index of each."""
    dut, results = Core(), []

    async def control(ctx: SimulatorContext) -> None:
        for words in programs:
            await start(ctx, dut.sequencer, words)
            await ctx.tick().until(~dut.sequencer.running)
            results.append(outcome(ctx, dut.sequencer)[:2])

    pysim.run(dut, control)
    return results


def fetch(*tokens: str, **fields: int) -> int:
    return instruction(Opcode.LOAD, *tokens, **{"rows": 1, "words": 3, **fields})


def keep(*tokens: str, **fields: int) -> int:
    return instruction(Opcode.STORE, *tokens, **{"rows": 1, "words": 3, **fields})


ROUND = [fetch("push_next"), instruction(Opcode.GEMM, "pop_prev", "push_next"),
         instruction(Opcode.VECTOR, "pop_prev", "push_next"), keep("pop_prev", "push_next"),
         fetch("pop_prev"), FINISH]
FAULTS = {
    "left over": ([*ROUND[:4], FINISH], FaultCode.BAD_TOKENS, 4),
    "never comes": ([fetch(), instruction(Opcode.GEMM, "pop_next"), fetch(), FINISH],
                    FaultCode.BAD_TOKENS, 3),
    "never comes to LOAD, with a full queue": (
        [fetch("pop_next")] * (QUEUE_DEPTH + 3) + [FINISH], FaultCode.BAD_TOKENS, QUEUE_DEPTH),
    "load": ([fetch(), fetch(), fetch("push_next", mem_base=254), ROUND[1], *[fetch()] * 6,
              FINISH], FaultCode.BAD_ADDRESS, 2),
    "last load": ([fetch(), fetch("push_next", mem_base=254, words=9, rows=3), FINISH],
                  FaultCode.BAD_ADDRESS, 1),
    "store": ([*ROUND[:3], keep("pop_prev", "push_next", mem_base=255), *ROUND[4:]],
              FaultCode.BAD_ADDRESS, 3),
    "opcode": ([instruction(Opcode.GEMM, "pop_next"), instruction(Opcode.VECTOR, "pop_next"),
                fetch("pop_prev"), keep("pop_prev"), 6], FaultCode.BAD_OPCODE, 4)}


def test_a_round_of_tokens() -> None:
    assert run_core(ROUND, ROUND) == [(FaultCode.NONE, 0)] * 2


@pytest.mark.parametrize("case", FAULTS, ids=str)
def test_fault_and_restart(case: str) -> None:
    """The core stops by itself, names the instruction, and then runs as if nothing had been."""
    words, fault, index = FAULTS[case]
    assert run_core(words, ROUND, words, ROUND) == [(fault, index), (FaultCode.NONE, 0)] * 2
