"""How stages are cut into blocks, chosen by the cycles that the program takes.

A stage is cut by itself, or two of them that share their strips together. All cuts that fit are
ordered by the cycles that they take at least; one after the other is tried, beside the stages
around, until none that is left can be better, or enough have been tried: a few where stages are
large, all where they are small. The best one stays if the whole program becomes faster by it.
"""
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from accel.compile.arrange import Way
from accel.compile.emit import steps_of
from accel.compile.jobs import Job
from accel.compile.order import Step
from accel.compile.overlap import overlapping
from accel.compile.plan import Block, Cut
from accel.cost.cycles import GAP, TOKEN, latencies, simulate, steps
from accel.program import Layout
from accel.spec.config import AccelConfig
from accel.spec.isa import Instruction, Opcode, Unit

#: Blocks that are made on trial, about, for all stages of a program.
EFFORT = 600
#: Cuts that are tried in any case.
LEAST_TRIALS = 4


@dataclass(frozen=True)
class Judge:
    """Makes programs of jobs, and tells what they cost.

    Members
    -------
    layouts, weights_at
        As `emit.steps_of` takes them.
    """

    config: AccelConfig
    layouts: Mapping[str, Layout]
    weights_at: int | None

    def steps(self, jobs: Sequence[Job]) -> list[Step]:
        """All instructions but FINISH."""
        return steps_of(jobs, self.config, self.layouts, self.weights_at)

    def cost(self, jobs: Sequence[Job]) -> tuple[int, int]:
        """Instructions, FINISH too, for which there is no room; cycles."""
        spans = simulate([step.instruction for step in self.steps(jobs)], self.config)
        return (max(0, len(spans) + 1 - self.config.instruction_depth),
                max(span.landed for span in spans))


def guessed(jobs: Sequence[Job], judge: Judge) -> list[Job]:
    """The jobs, cut by rules of thumb, and sliced where that is faster; no cut is tried."""
    return min(_starts(jobs, judge.config), key=judge.cost)


def searched(jobs: Sequence[Job], judge: Judge) -> list[Job]:
    """The jobs, cut so that the program is fast: never slower than as `guessed`."""
    return min((_refined(each, judge) for each in _starts(jobs, judge.config)), key=judge.cost)


def _starts(jobs: Sequence[Job], config: AccelConfig) -> list[list[Job]]:
    """The jobs, cut by rules of thumb; then the same with slices, if there are any."""
    found = list(jobs)
    for part in parts_of(jobs):
        *ahead, last = (job.plan for job in jobs[part.start:part.stop])
        found = with_cut(found, part, last.guess(*ahead))
    closer = overlapping(found, config)
    return [found, closer] if closer else [found]


def _refined(jobs: list[Job], judge: Judge) -> list[Job]:
    """The jobs with better cuts, part by part."""
    found, cost, parts = jobs, judge.cost(jobs), list(parts_of(jobs))
    for number, part in enumerate(parts):
        beside = parts[max(0, number - 1):number + 2]
        around = range(beside[0].start, beside[-1].stop)
        better = _better(found, part, around, EFFORT // len(parts), judge)
        if better and (less := judge.cost(better)) < cost:
            found, cost = better, less
    return found


def parts_of(jobs: Sequence[Job]) -> Iterator[range]:
    """Stages that are cut by themselves, and pairs that share their strips."""
    first = 0
    while first < len(jobs):
        stop = first + (2 if jobs[first].way is Way.BLOCKS else 1)
        yield range(first, stop)
        first = stop


def with_cut(jobs: Sequence[Job], part: range, cut: Cut) -> list[Job]:
    """The jobs, with another cut of a part; the first ones of it have all groups in a block."""
    found = list(jobs)
    for index in part:
        plan = jobs[index].plan
        groups = cut.groups if index == part[-1] else plan.taps.groups
        found[index] = replace(jobs[index], plan=replace(plan, cut=Cut(cut.rows, groups)))
    return found


def legal_cuts(jobs: Sequence[Job]) -> Iterator[Cut]:
    """All cuts of a part that fit; none where blocks are slices."""
    last = jobs[-1].plan
    if any(job.plan.narrow or job.plan.overlap for job in jobs):
        return
    for rows in range(1, last.stage.output.shape[1] + 1):
        for groups in range(last.least_groups, last.taps.groups + 1):
            if all(job.plan.fits(Cut(rows, groups if job is jobs[-1] else job.plan.taps.groups))
                   for job in jobs):
                yield Cut(rows, groups)


def _better(jobs: Sequence[Job], part: range, around: range, effort: int, judge: Judge,
            ) -> list[Job] | None:
    """The jobs with the cut of a part that is best beside the jobs around; None if it is theirs."""
    def beside(each: Sequence[Job]) -> Sequence[Job]:
        return each[around.start:around.stop]

    found, cycles = None, judge.cost(beside(jobs))
    size = sum(len(job.plan.blocks()) for job in beside(jobs))
    ordered = []
    for cut in legal_cuts(jobs[part.start:part.stop]):
        tried = with_cut(jobs, part, cut)
        least = least_cycles(tried[part.start:part.stop], judge.config)
        ordered.append((least, cut.rows, cut.groups, tried))
    ordered.sort(key=lambda each: each[:3])
    for least, *_, tried in ordered[:max(LEAST_TRIALS, effort // size)]:
        if (0, least) >= cycles:
            break
        if (less := judge.cost(beside(tried))) < cycles:
            found, cycles = tried, less
    return found


def least_cycles(jobs: Sequence[Job], config: AccelConfig) -> int:
    """Cycles that a part of a program cannot stay below.

    The array begins when the first block's rows are there, and the last block's results pass the
    vector unit, and are stored, when the array is through. Neither of these can be faster, either.
    """
    array, vector, store = -GAP[Unit.GEMM], -GAP[Unit.VECTOR], -GAP[Unit.STORE]
    for job in jobs:
        for block, count in _kinds(job):
            gemm, result, words = _busy(job, block, config)
            array += count * (gemm + GAP[Unit.GEMM])
            vector += count * (result + GAP[Unit.VECTOR])
            store += count * (words + GAP[Unit.STORE]) if words else 0
    first, last, latency = jobs[0], jobs[-1], latencies(config)
    rows = first.plan.source_rows(0, first.plan.blocks()[0].rows).stop
    loaded = (0 if first.source.layout is None or first.plan.in_one_row
              else min(rows, first.plan.window.rows) * first.plan.window.pitch)
    _, result, words = _busy(last, last.plan.blocks()[-1], config)
    stored = latency[Unit.VECTOR] + (
        TOKEN[Unit.STORE] + words + latency[Unit.STORE] if words else 0)
    return max(loaded + array + latency[Unit.GEMM] + TOKEN[Unit.VECTOR] + result + stored,
               vector + stored, store)


def _kinds(job: Job) -> Iterator[tuple[Block, int]]:
    """Blocks of each size, and how many of them there are."""
    sizes = Counter((block.rows, block.groups) for block in job.plan.blocks())
    for (rows, groups), count in sizes.items():
        yield Block(0, rows, 0, groups, range(job.plan.tiles)), count


def _busy(job: Job, block: Block, config: AccelConfig) -> tuple[int, int, int]:
    """Steps of the array and the vector unit for a block, and words that are stored."""
    plan = job.plan
    (win_rows, win_cols), _ = plan.stage.window
    cols = plan.stage.output.shape[2]
    gemm = Instruction(Opcode.GEMM, {
        "rows": plan.conv_rows(block.rows), "cols": plan.stage.conv.output.shape[2],
        "tiles": plan.tiles, "groups": block.groups, "tiles_outer": int(plan.tiles_outer(block))})
    vector = Instruction(Opcode.VECTOR, {
        "rows": block.rows, "cols": cols, "win_rows": win_rows, "win_cols": win_cols,
        "groups": block.groups, "lane_groups": job.lane_groups})
    return (steps(gemm, config), steps(vector, config),
            0 if job.target else block.rows * cols * block.groups)
