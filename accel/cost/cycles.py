"""Cycles of a program: closed forms per instruction, and the units side by side.

Each unit takes its instructions one after the other; an instruction starts when its unit is free,
it has been fetched and its tokens have come. The constants are those of the gateware.
"""
import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
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
#: Scratchpads whose port VECTOR takes before LOAD, and the flag by which it writes them.
WRITTEN_BY = {Target.ACTIVATION: "to_activation", Target.OUTPUT: "to_output"}
#: Instructions of VECTOR that a LOAD may meet.
MOST_WRITERS = 64


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
    opcodes = [instruction.opcode for instruction in instructions]
    end = opcodes.index(Opcode.FINISH) if Opcode.FINISH in opcodes else len(opcodes)
    return _Run(instructions[:end], config).spans()


class _Run:
    """A program's instructions, begun one after the other as time goes on.

    So whatever can still delay one that is under way begins later than all that is known.
    """

    def __init__(self, program: Sequence[Instruction], config: AccelConfig) -> None:
        self.program, self.config, self.latency = program, config, latencies(config)
        self.found: dict[int, Span] = {}
        self.fetched, self.next = ENTRY, 0
        self.begun: dict[Unit, list[int]] = {unit: [] for unit in Unit}
        # per unit what waits, with the cycle in which it has been fetched
        self.queues: dict[Unit, deque[tuple[int, int]]] = {unit: deque() for unit in Unit}
        # from unit to unit, by those who give them
        self.tokens: dict[tuple[Unit, Unit], deque[int]] = {
            (unit, unit.neighbour(way)): deque() for unit in Unit for way in (-1, 1)}

    def spans(self) -> list[Span]:
        """Spans of all instructions, in program order."""
        self._fetch()
        while ready := [each for unit in Unit if (each := self._first(unit))]:
            start, unit, held_by = min(ready, key=lambda each: each[:2])
            self._begin(unit, start, held_by)
            self._fetch()
        assert len(self.found) == len(self.program), "the program waits for ever"
        return [self.found[index] for index in range(len(self.program))]

    def _fetch(self) -> None:
        """Dispatch instructions while there is room in their units' queues."""
        while self.next < len(self.program):
            unit = UNIT_OF[self.program[self.next].opcode]
            if len(self.queues[unit]) >= QUEUE:
                return
            self.fetched += FETCH
            if len(self.begun[unit]) + len(self.queues[unit]) >= QUEUE:
                # the one before it in its place of the queue had to begin first
                left = self.begun[unit][len(self.queues[unit]) - QUEUE]
                self.fetched = max(self.fetched, self.found[left].start)
            self.queues[unit].append((self.next, self.fetched))
            self.next += 1

    def _first(self, unit: Unit) -> tuple[int, Unit, Unit | None] | None:
        """When the unit's next instruction begins, and what holds it; None: not known yet."""
        if not self.queues[unit]:
            return None
        index, fetched = self.queues[unit][0]
        instruction = self.program[index]
        start, held_by = fetched + TRAVEL + START[unit], None
        if self.begun[unit]:
            before = self.found[self.begun[unit][-1]]
            free = before.end + gap(before.instruction, instruction, self.config)
            if free > start:
                start, held_by = free, unit
        for flag, way in (("pop_prev", -1), ("pop_next", 1)):
            if flag in instruction.tokens:
                giver = unit.neighbour(way)
                if not self.tokens[giver, unit]:
                    return None
                given = self.found[self.tokens[giver, unit][0]].landed + TOKEN[unit]
                if given > start:
                    start, held_by = given, giver
        return start, unit, held_by

    def _begin(self, unit: Unit, start: int, held_by: Unit | None) -> None:
        index, _ = self.queues[unit].popleft()
        instruction = self.program[index]
        end = start + steps(instruction, self.config)
        self.found[index] = Span(instruction, start, end, end + self.latency[unit], held_by)
        self.begun[unit].append(index)
        for way, side in ((-1, "prev"), (1, "next")):
            other = unit.neighbour(way)
            if f"pop_{side}" in instruction.tokens:
                self.tokens[other, unit].popleft()
            if f"push_{side}" in instruction.tokens:
                self.tokens[unit, other].append(index)
        if unit in (Unit.LOAD, Unit.VECTOR) and self.begun[Unit.LOAD]:
            self._hold_up(self.begun[Unit.LOAD][-1])

    def _hold_up(self, index: int) -> None:
        """Let a LOAD, the last to have begun, wait where VECTOR writes the same scratchpad."""
        load = self.found[index]
        flag = WRITTEN_BY.get(Target(load.instruction.fields["target"]))
        begin, words = load.start + self.latency[Unit.LOAD], _loaded(load.instruction.fields)
        writers = [self.found[each] for each in self.begun[Unit.VECTOR][-MOST_WRITERS:]]
        landed = _written(begin, words, [each for each in writers if flag is not None
                                         and each.instruction.fields[flag]
                                         and each.landed > begin])
        self.found[index] = replace(load, end=landed - self.latency[Unit.LOAD], landed=landed)


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
        return max(GAP[unit], landing - 1)      # from the last step to the first
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
