"""Stages of a single output position, sliced so that each runs while its neighbours do.

Such a stage has no work of its own that could hide how long results take through the array and
the vector unit. But its sums can begin with the first words of its source, before the stage in
front has made the last ones; and its groups can be completed one after the other, so that the
stage behind begins early. Where to interrupt the sums, and how many groups to complete together,
is searched stage by stage, with times of the array and the vector unit alone. Whoever compiles
judges the program by `cost.cycles`.
"""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, product

from accel.compile.arrange import Way
from accel.compile.jobs import Job
from accel.compile.plan import Slicing
from accel.cost.cycles import ACCUMULATE_GAP, FETCH, GAP, START, TOKEN, TRAVEL, latencies, steps
from accel.spec.config import AccelConfig
from accel.spec.isa import Instruction, Opcode, Unit

#: Fronts from which the search goes on.
BEAM = 4
#: Of the numbers of groups that are completed together: the first ones, all others, the last ones.
HEADS = ((), (1,), (1, 1))
SIZES = (1, 2, 3, 4, 6, 8, 10, 12, 16)
TAILS = ((), (1,), (1, 1), (2, 1), (3, 1), (9, 3, 1))
#: Most blocks in which groups are completed, if there is room for so many groups.
MOST_BLOCKS = 10
#: Words of the source that the first slice needs, or all that any does; each next one needs twice
#: as many.
FIRST_WORDS = (1, 2, 0)
#: How many of the first and of the last words sums are interrupted behind.
INTERRUPTED = 8


def overlapping(jobs: Sequence[Job], config: AccelConfig) -> list[Job] | None:
    """The jobs, with slices where stages of one position follow each other; None if none do."""
    sliced = list(jobs)
    for run in _runs(jobs):
        stages = [_Stage(jobs[index], config) for index in run]
        for index, slicing in zip(run, _best(stages), strict=True):
            sliced[index] = replace(jobs[index],
                                    plan=replace(jobs[index].plan, overlap=slicing))
    return sliced if sliced != list(jobs) else None


def _runs(jobs: Sequence[Job]) -> Iterator[range]:
    """Stages of one position, two or more, of which each reads what the one before passes on."""
    first = 0
    for index, job in enumerate(jobs):
        if not job.plan.in_one_row:
            first = index + 1
        elif index + 1 == len(jobs) or job.way is not Way.WHOLE:
            if index > first:
                yield range(first, index + 1)
            first = index + 1


@dataclass(frozen=True)
class _Front:
    """How far the units are with the stages so far.

    Members
    -------
    array, vector
        Cycle behind the last step.
    words
        Per word of the last output, the cycle from which on it is there.
    slicings
        Of the stages.
    """

    array: int
    vector: int
    words: tuple[int, ...]
    slicings: tuple[Slicing, ...] = ()

    @cached_property
    def first_words(self) -> list[int]:
        """Per word, the cycle from which on it and those before it are there."""
        return list(accumulate(self.words, max))


class _Stage:
    """A stage, and how long its parts take."""

    def __init__(self, job: Job, config: AccelConfig) -> None:
        self.job, self.config, self.plan = job, config, job.plan
        self.groups, self.tiles = self.plan.taps.groups, self.plan.tiles
        latency = latencies(config)
        self.summed = latency[Unit.GEMM] + TOKEN[Unit.VECTOR]
        self.passed_on = latency[Unit.VECTOR] + TOKEN[Unit.GEMM]
        self.stored = latency[Unit.VECTOR] + TOKEN[Unit.STORE]
        self.loaded = latency[Unit.LOAD] + TOKEN[Unit.GEMM]
        once = dict.fromkeys(("rows", "cols", "win_rows", "win_cols"), 1)
        #: Cycles of VECTOR by its groups.
        self.results = [steps(Instruction(Opcode.VECTOR, {
            **once, "groups": groups, "lane_groups": job.lane_groups}), config)
            for groups in range(self.groups + 1)]

    @cached_property
    def needed(self) -> list[int]:
        """Per tile, the words of the source that it and those before it need, from the first on."""
        return list(accumulate((max(self.plan.words_of(range(tile, tile + 1))) + 1
                                for tile in range(self.tiles)), max))

    @cached_property
    def left(self) -> list[int]:
        """Per word of the source, the steps of the array that come behind it in any case."""
        return [self.groups * sum(each > word for each in self.needed)
                for word in range(self.plan.window.pitch)]

    def choices(self) -> Iterator[Slicing]:
        """Slices that are tried."""
        c, room = self.config, self.groups
        if self.plan.uses_output:
            room = min(room, c.out_depth // 2)
        for groups in _sizes(self.groups, min(room, c.acc_depth // 2)):
            yield Slicing((), groups)
        if self.groups <= c.acc_depth:
            for choice in product(self._ends, _sizes(self.groups, room)):
                yield Slicing(*choice)

    @cached_property
    def _ends(self) -> list[tuple[int, ...]]:
        """Tiles behind which sums may be interrupted: those of few words first."""
        within = sorted({sum(each <= words for each in self.needed)
                         for words in set(self.needed)})[:-1]
        found = set()
        for last, words in product({*within[:INTERRUPTED], *within[-INTERRUPTED:]}, FIRST_WORDS):
            ends = [last]
            while words and words <= len(within) and within[words - 1] < last:
                ends.insert(-1, within[words - 1])
                words *= 2
            found.add(tuple(ends))
        return sorted(found)

    def behind(self, front: _Front, slicing: Slicing) -> _Front:
        """How far the units are behind this stage."""
        array, vector, store, begun = front.array, front.vector, 0, 0
        *ready, complete = self._ready(front, slicing)
        gap = GAP[Unit.GEMM]
        for end, there in zip(slicing.ends, ready, strict=True):
            array = max(there, array + gap) + self.groups * (end - begun)
            # one or two groups: the next sums go on where the last ones are under way
            gap, begun = ACCUMULATE_GAP if self.groups <= 2 else GAP[Unit.GEMM], end
        words: list[int] = []
        for groups in slicing.groups:
            array = max(complete, array + gap) + groups * (self.tiles - begun)
            gap = GAP[Unit.GEMM]
            vector = (max(array + self.summed, vector + GAP[Unit.VECTOR])
                      + self.results[groups])
            store = max(vector + self.stored, store + GAP[Unit.STORE]) + groups
            words += [vector + self.passed_on if self.job.target else store] * groups
        return _Front(array, vector, tuple(words), (*front.slicings, slicing))

    def _ready(self, front: _Front, slicing: Slicing) -> list[int]:
        """When the source is there for each slice, and for all the rest."""
        words = [self.needed[end - 1] for end in (*slicing.ends, self.tiles)]
        if not self.job.source.layout:
            return [front.first_words[count - 1] for count in words]
        ready, there = [], 0
        load = FETCH + TRAVEL + START[Unit.LOAD] - GAP[Unit.LOAD]
        for count in words:
            if count > there:
                load += GAP[Unit.LOAD] + count - there
                there = count
            ready.append(load + self.loaded)
        return ready


def _best(stages: Sequence[_Stage]) -> tuple[Slicing, ...]:
    """Slices of stages that follow each other with which the last results come early."""
    fronts = [_Front(0, 0, (0,) * stages[0].plan.window.pitch)]
    for stage, following in zip(stages, [*stages[1:], None], strict=True):
        left = following.left if following else [0] * stage.groups
        behind = (stage.behind(*choice) for choice in product(fronts, stage.choices()))
        # of those that are equally far, one
        found = {(front.array, front.vector, front.words): front for front in behind}
        fronts = sorted(found.values(), key=lambda front: _promise(front, left))[:BEAM]
    return fronts[0].slicings


def _promise(front: _Front, left: Sequence[int]) -> tuple[int, int]:
    """When the next stage can be through at best, and how early its source is there."""
    through = max(ready + steps for ready, steps in zip(front.words, left, strict=True))
    return max(through, front.array + GAP[Unit.GEMM] + left[0]), sum(front.words)


def _sizes(groups: int, most: int) -> set[tuple[int, ...]]:
    """How many groups may be completed together, but no more than ``most``."""
    found = set()
    for head, size, tail in product(HEADS, (*SIZES, most), TAILS):
        rest = groups - sum(head) - sum(tail)
        sizes = (*head, *[size] * (rest // size), rest % size, *tail)
        if rest >= 0 and max(sizes) <= most:
            found.add(tuple(filter(None, sizes)))
    blocks = max(MOST_BLOCKS, -(-groups // most))
    return {sizes for sizes in found if len(sizes) <= blocks}
