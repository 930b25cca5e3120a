"""Cycles of a program: closed forms per instruction, and the units side by side.

Each unit takes its instructions one after the other; an instruction starts when its unit is free,
it has been fetched and its tokens have come. The constants are those of the gateware.
"""
import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

from accel.spec.config import AccelConfig
from accel.spec.isa import UNIT_OF, Instruction, Opcode, Target, Unit

#: Cycles from the start of a program to its first instruction.
ENTRY = 4
#: Cycles from one dispatch to the next, from there to the unit, and instructions that wait there.
FETCH, TRAVEL, QUEUE = 3, 4, 4
#: Cycles from an instruction that waits for nothing to its first step.
START = {Unit.LOAD: 10, Unit.GEMM: 2, Unit.VECTOR: 4, Unit.STORE: 7}
#: Cycles from the landing that gives the last token to the first step of who waits for it.
TOKEN = {Unit.LOAD: 9, Unit.GEMM: 2, Unit.VECTOR: 5, Unit.STORE: 7}
#: Cycles between the last step of an instruction and the first of the next.
GAP = {Unit.LOAD: 2, Unit.GEMM: 2, Unit.VECTOR: 2, Unit.STORE: 2}
#: The same in front of a GEMM that adds to the last accumulators of the one before.
ACCUMULATE_GAP = 4
#: Cycles from the last step of LOAD and STORE until what they wrote can be used.
LANDING = {Unit.LOAD: 4, Unit.STORE: 2}
#: Steps after which an accumulator is used again without a pause.
REUSE = 5
#: Passes after which the units are taken to be as they are, if they still move each other.
MOST_PASSES = 6


@dataclass(frozen=True)
class Span:
    """When an instruction began, was through, and had its last write landed; in cycles.

    Members
    -------
    held_by
        What it waited for last: the unit that gave the token, its own unit, or None while it was
        being fetched.
    """

    instruction: Instruction
    start: int
    end: int
    landed: int
    held_by: Unit | None


def simulate(instructions: Sequence[Instruction], config: AccelConfig) -> list[Span]:
    """A span for every instruction up to FINISH, in program order."""
    latency, held_up = latencies(config), dict[int, int]()
    # VECTOR's writes go before LOAD's, and what LOAD brings moves VECTOR: until that settles
    for _ in range(MOST_PASSES):
        spans = _run(instructions, config, latency, held_up)
        before, held_up = held_up, _held_up(spans, latency)
        if held_up == before:
            break
    return spans


def _run(instructions: Sequence[Instruction], config: AccelConfig, latency: Mapping[Unit, int],
         held_up: Mapping[int, int]) -> list[Span]:
    """Spans, if some LOADs, by index, are held up for so many cycles."""
    last: dict[Unit, Span] = {}
    tokens: dict[tuple[Unit, Unit], deque[int]] = {
        (unit, unit.neighbour(way)): deque() for unit in Unit for way in (-1, 1)}
    started: dict[Unit, deque[int]] = {unit: deque() for unit in Unit}
    fetched, spans = ENTRY, []
    for index, instruction in enumerate(instructions):
        if instruction.opcode == Opcode.FINISH:
            break
        unit = UNIT_OF[instruction.opcode]
        fetched += FETCH
        waiting = started[unit]
        if len(waiting) >= QUEUE:       # the queue has room once an earlier one has started
            fetched = max(fetched, waiting[-QUEUE])
        start, held_by = fetched + TRAVEL + START[unit], None
        if unit in last and (free := last[unit].end + gap(last[unit].instruction, instruction,
                                                          config)) > start:
            start, held_by = free, unit
        for flag, way in (("pop_prev", -1), ("pop_next", 1)):
            if flag in instruction.tokens:
                giver = unit.neighbour(way)
                given = tokens[giver, unit].popleft() + TOKEN[unit]
                if given > start:
                    start, held_by = given, giver
        waiting.append(start)
        end = start + steps(instruction, config) + held_up.get(index, 0)
        span = last[unit] = Span(instruction, start, end, end + latency[unit], held_by)
        for flag, way in (("push_prev", -1), ("push_next", 1)):
            if flag in instruction.tokens:
                tokens[unit, unit.neighbour(way)].append(span.landed)
        spans.append(span)
    return spans


def _held_up(spans: Sequence[Span], latency: Mapping[Unit, int]) -> dict[int, int]:
    """For how many cycles each LOAD finds VECTOR at its scratchpad's port, if for any."""
    found = {}
    for target, flag in ((Target.ACTIVATION, "to_activation"), (Target.OUTPUT, "to_output")):
        writers = deque(span for span in spans if span.instruction.fields.get(flag))
        for index, span in enumerate(spans):
            f = span.instruction.fields
            if span.instruction.opcode != Opcode.LOAD or f["target"] != target:
                continue
            begin = span.start + latency[Unit.LOAD]
            while writers and writers[0].landed <= begin:
                writers.popleft()
            words = _loaded(f)
            if wait := _written(begin, words, writers) - begin - words:
                found[index] = wait
    return found


def _written(now: float, words: float, writers: Iterable[Span]) -> int:
    """When the last of so many words is written, if those who go first leave gaps."""
    for writer in writers:
        during = writer.end - writer.start
        first = writer.landed - during
        if first >= now + words:
            break
        words -= max(0, first - now)
        now = max(now, first)
        f = writer.instruction.fields
        free = 1 - f["groups"] * f["lane_groups"] * f["rows"] * f["cols"] / during
        if words <= (writer.landed - now) * free:
            return math.ceil(now + words / free)
        words -= (writer.landed - now) * free
        now = writer.landed
    return math.ceil(now + words)


def latencies(config: AccelConfig) -> Mapping[Unit, int]:
    """Cycles from an instruction's last step until what it wrote can be used."""
    # By name: gateware and software do not import each other, but its latencies are what counts.
    gemm, vector = import_module("rtl.gemm"), import_module("rtl.vector")
    feeder, array = import_module("rtl.feeder"), import_module("rtl.array")
    accumulator = import_module("rtl.accumulator").AccumulatorColumn
    wave = (gemm.GemmUnit.STEP_DELAY + feeder.RowFeeder.latency
            + array.SystolicArray.latency_of(config.array) + 1)
    return {**LANDING, Unit.VECTOR: vector.write_stage(config) + 1,
            Unit.GEMM: wave - accumulator.sum_delay + accumulator.landing
            + config.array.col_delay(config.cols - 1) + 1}


def gap(before: Instruction, instruction: Instruction, config: AccelConfig) -> int:
    """Cycles between two instructions of one unit."""
    unit = UNIT_OF[instruction.opcode]
    if unit is Unit.GEMM:
        if before.fields.get("depthwise") and not instruction.fields.get("depthwise"):
            tail: int = import_module("rtl.feeder").RowFeeder.depthwise_tail(config)
            return max(GAP[unit], tail)
        if instruction.fields["accumulate"] and not _are_apart(before, instruction):
            return ACCUMULATE_GAP
    if unit is Unit.VECTOR and instruction.fields.get("add") and before.fields["to_output"]:
        landing: int = import_module("rtl.vector").landing_cycles(config)
        return max(GAP[unit], landing)
    return GAP[unit]


def _are_apart(before: Instruction, instruction: Instruction) -> bool:
    """Whether the first accumulators of a GEMM are not the last two of the one before."""
    f = before.fields
    last = f["acc_base"] + f["rows"] * f["cols"] - 1 + (f["groups"] - 1) * f["acc_group_stride"]
    return instruction.fields["acc_base"] not in (last - 1, last)


def steps(instruction: Instruction, config: AccelConfig) -> int:
    """Cycles in which an instruction keeps its unit busy."""
    f = instruction.fields
    if instruction.opcode == Opcode.LOAD:
        return _loaded(f)
    if instruction.opcode == Opcode.STORE:
        return f["rows"] * f["words"]
    if instruction.opcode == Opcode.GEMM:
        positions, tiles, groups = f["rows"] * f["cols"], f["tiles"], f["groups"]
        again = positions * groups if f["tiles_outer"] else positions
        wait = 0 if again == 1 else max(0, REUSE - again)
        rounds = (tiles - 1) * (1 if f["tiles_outer"] else groups)
        return positions * tiles * groups + wait * rounds
    # the parameters of one set of channels are read while the set before is worked on
    windows, sets = f["rows"] * f["cols"] * f["win_rows"] * f["win_cols"], (
        f["groups"] * f["lane_groups"])
    return (sets - 1) * max(windows, config.vector_lanes // config.param_lanes) + windows


def _loaded(f: Mapping[str, int]) -> int:
    """Words that a LOAD writes, padding included."""
    return (f["top"] + f["rows"] + f["bottom"]) * (f["left"] + f["words"] + f["right"])
