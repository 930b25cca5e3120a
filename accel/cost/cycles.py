"""Cycles of a program: closed forms per instruction, and the units side by side.

Each unit takes its instructions one after the other; an instruction starts when its unit is free,
it has been fetched and its tokens have come. All constants are those of the gateware.
"""
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from accel.spec.config import AccelConfig
from accel.spec.isa import UNIT_OF, Instruction, Opcode, Unit

#: Cycles from one dispatch to the next, and instructions that wait at a unit.
FETCH, QUEUE = 6, 4
#: Cycles from a token's push until the other unit may take it.
TOKEN = 3
#: Cycles between two instructions of a unit.
GAP = {Unit.LOAD: 3, Unit.GEMM: 2, Unit.VECTOR: 4, Unit.STORE: 3}
#: Steps after which an accumulator is used again without a pause.
REUSE = 5


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
    latency = latencies(config)
    free = dict.fromkeys(Unit, 0)
    tokens: dict[tuple[Unit, Unit], deque[int]] = {
        (unit, unit.neighbour(way)): deque() for unit in Unit for way in (-1, 1)}
    started: dict[Unit, deque[int]] = {unit: deque() for unit in Unit}
    fetched, spans = 0, []
    for instruction in instructions:
        if instruction.opcode == Opcode.FINISH:
            break
        unit = UNIT_OF[instruction.opcode]
        fetched += FETCH
        waiting = started[unit]
        if len(waiting) >= QUEUE:       # the queue has room once an earlier one has started
            fetched = max(fetched, waiting[-QUEUE])
        start, held_by = max((fetched + TOKEN, None), (free[unit], unit),
                             key=lambda reason: reason[0])
        for flag, way in (("pop_prev", -1), ("pop_next", 1)):
            if flag in instruction.tokens:
                giver = unit.neighbour(way)
                given = tokens[giver, unit].popleft() + TOKEN
                if given > start:
                    start, held_by = given, giver
        waiting.append(start)
        end = start + steps(instruction, config)
        free[unit] = end + GAP[unit]
        landed = end + latency[unit]
        for flag, way in (("push_prev", -1), ("push_next", 1)):
            if flag in instruction.tokens:
                tokens[unit, unit.neighbour(way)].append(landed)
        spans.append(Span(instruction, start, end, landed, held_by))
    return spans


def latencies(config: AccelConfig) -> dict[Unit, int]:
    """Cycles from an instruction's last step until what it wrote can be used."""
    array = config.rows + config.rows // config.band_rows + config.cols
    return {Unit.LOAD: 8 + config.rows, Unit.GEMM: 22 + array, Unit.VECTOR: 25 + config.rows,
            Unit.STORE: 6}


def steps(instruction: Instruction, config: AccelConfig) -> int:
    """Cycles in which an instruction keeps its unit busy."""
    f = instruction.fields
    if instruction.opcode == Opcode.LOAD:
        return (f["top"] + f["rows"] + f["bottom"]) * (f["left"] + f["words"] + f["right"])
    if instruction.opcode == Opcode.STORE:
        return f["rows"] * f["words"]
    if instruction.opcode == Opcode.GEMM:
        positions, tiles, groups = f["rows"] * f["cols"], f["tiles"], f["groups"]
        again = positions * groups if f["tiles_outer"] else positions
        wait = 0 if again == 1 else max(0, REUSE - again)
        return positions * tiles * groups + wait * (
            tiles if f["tiles_outer"] else tiles * groups)
    windows = f["rows"] * f["cols"] * f["win_rows"] * f["win_cols"]
    return f["groups"] * f["lane_groups"] * max(windows,
                                                config.vector_lanes // config.param_lanes)
