"""What must wait for what, the program order, and the tokens that enforce it."""
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from accel.graph import IntArray
from accel.spec.isa import UNIT_OF, Instruction, Unit


@dataclass
class Step:
    """An instruction and, per unit, the last instruction that must be done before it.

    Members
    -------
    cycles
        For which it keeps its unit busy, roughly.
    latency
        From then on until its last write has landed, roughly.
    layer
        Number of the stage that it belongs to.
    """

    instruction: Instruction
    cycles: int
    latency: int
    layer: int
    after: dict[Unit, int] = field(default_factory=dict)

    @property
    def unit(self) -> Unit:
        """The unit that executes it."""
        return UNIT_OF[self.instruction.opcode]

    def wait_for(self, unit: Unit, index: int) -> None:
        """Begin after instruction ``index`` of ``unit``; -1 is none."""
        if index >= 0 and unit is not self.unit:
            self.after[unit] = max(index, self.after.get(unit, -1))


class Words:
    """Who read and wrote each word of a memory last, by unit: index of the instruction or -1."""

    def __init__(self, depth: int) -> None:
        self.readers = np.full((len(Unit), depth), -1, np.int64)
        self.writers = np.full((len(Unit), depth), -1, np.int64)

    def read(self, step: Step, index: int, words: IntArray) -> None:
        """``step``, which is instruction ``index``, reads ``words``."""
        self._wait(step, self.writers, words)
        self.readers[step.unit, words] = index

    def write(self, step: Step, index: int, words: IntArray) -> None:
        """``step`` writes ``words``."""
        self._wait(step, self.writers, words)
        self._wait(step, self.readers, words)
        self.writers[step.unit, words] = index

    def _wait(self, step: Step, users: IntArray, words: IntArray) -> None:
        if words.size:
            last = users[:, words.reshape(-1)].max(axis=1).tolist()
            for unit, index in zip(Unit, last, strict=True):
                step.wait_for(unit, index)


def schedule(steps: list[Step]) -> list[Step]:
    """The steps with their tokens, in the order of the cycles in which they may start.

    Each unit keeps the order in which its steps were made.
    """
    _through_neighbours(steps)
    flags: list[set[str]] = [set() for _ in steps]
    covered: dict[tuple[Unit, Unit], int] = {}
    for index, step in enumerate(steps):
        for giver, last in step.after.items():
            # units finish in order: an earlier wait may vouch for this one
            if covered.get((giver, step.unit), -1) < last:
                covered[giver, step.unit] = last
                behind = step.unit.neighbour(1) is giver
                flags[index].add("pop_next" if behind else "pop_prev")
                flags[last].add("push_prev" if behind else "push_next")
    order = sorted(range(len(steps)), key=_starts(steps).__getitem__)
    for step, tokens in zip(steps, flags, strict=True):
        step.instruction = replace(step.instruction, tokens=frozenset(tokens))
    return [steps[index] for index in order]


def _through_neighbours(steps: list[Step]) -> None:
    """Turn waits between units that are no neighbours into waits along the ring.

    What LOAD writes and VECTOR reads, the GEMM in between waits for.
    """
    for step in steps:
        if step.unit is Unit.VECTOR and Unit.LOAD in step.after:
            steps[step.after[Unit.GEMM]].wait_for(Unit.LOAD, step.after.pop(Unit.LOAD))
        elif step.unit is Unit.LOAD and Unit.VECTOR in step.after:
            # what VECTOR wrote has been stored or read by GEMM before it is overwritten
            writer = step.after.pop(Unit.VECTOR)
            assert any(_vouches(steps, step.after.get(unit, -1), writer)
                       for unit in (Unit.STORE, Unit.GEMM)), "a VECTOR result nobody used"


def _vouches(steps: list[Step], index: int, writer: int) -> bool:
    """Whether some instruction of the unit of ``index``, up to it, waits for ``writer``."""
    if index < 0:
        return False
    unit = steps[index].unit
    return any(steps[k].unit is unit and steps[k].after.get(Unit.VECTOR, -1) >= writer
               for k in range(index, -1, -1))


def _starts(steps: list[Step]) -> Mapping[int, tuple[int, int]]:
    """When each step may start if instructions came at once, with its index."""
    free = dict.fromkeys(Unit, 0)
    done: list[int] = []
    starts = {}
    for index, step in enumerate(steps):
        start = max([free[step.unit], *(done[k] for k in step.after.values())])
        free[step.unit] = start + step.cycles
        done.append(free[step.unit] + step.latency)
        starts[index] = (start, index)
    return starts
