"""Stages made ready: places, blocks, packed weights; and the order in which blocks are computed."""
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from accel.compile.arrange import Halves, Place, Way
from accel.compile.images import Images
from accel.compile.pack import Taps
from accel.compile.plan import Block, Plan
from accel.compile.stages import Stage
from accel.program import Layout
from accel.spec.config import AccelConfig


@dataclass(frozen=True)
class Job:
    """A stage ready to be computed.

    Members
    -------
    target
        Where the output goes inside the activation scratchpad; None: to memory.
    first_tile
        Index of its first weight tile.
    """

    plan: Plan
    source: Place
    target: Place | None
    way: Way
    first_tile: int
    offset_base: int
    param_base: int
    lane_groups: int


def make_jobs(stages: Sequence[Stage], taps: Sequence[Taps], found: Sequence[Way],
              layouts: Mapping[str, Layout], images: Images, config: AccelConfig, *,
              streamed: bool) -> list[Job]:
    """A job per stage, not cut yet; what the host writes for it is in ``images``, but for tiles."""
    halves, jobs = Halves(config), []
    passed: Place | None = None
    first_tile = 0
    for index, (stage, way) in enumerate(zip(stages, found, strict=True)):
        before = found[index - 1] if index else Way.MEMORY
        source = passed or halves.source(stage, layouts[stage.conv.input.name])
        plan = Plan(config, stage, taps[index], source.window, way is Way.MEMORY, streamed,
                    before is Way.MEMORY and source.window.words > halves.depth,
                    whole_strips=way is Way.BLOCKS, paired=Way.BLOCKS in (before, way))
        passed = None if way is Way.MEMORY else halves.passed(stages[index + 1], source)
        param_base, lane_groups = images.add_params(stage, plan.taps)
        jobs.append(Job(plan, source, passed, way, first_tile, images.add_offsets(plan),
                        param_base, lane_groups))
        first_tile += plan.tiles * plan.taps.groups
    return jobs


def in_order(jobs: Sequence[Job]) -> Iterator[tuple[Job, Block]]:
    """Every block of every job, in the order in which they are computed.

    Where a job passes its output on block by block, the next one follows a block behind, so that
    the array need not wait for what the vector unit still works on. Where two such pairs follow
    each other, the second one's first block goes before the first one's last block.
    """
    early: Block | None = None      # of the pair at hand, already computed
    index = 0
    while index < len(jobs):
        job = jobs[index]
        if job.way is not Way.BLOCKS:
            yield from ((job, block) for block in job.plan.blocks())
            index += 1
            continue
        behind = jobs[index + 1]
        index += 2
        ahead, strips = _strips(job), _strips(behind)
        last = strips.pop()
        if early:
            for strip, made in zip(strips, ahead[1:], strict=True):
                yield from (*strip[:-1], *made, strip[-1])
        else:
            yield from ahead[0]
            for strip, made in zip(strips, ahead[1:], strict=True):
                yield from (*made, *strip)
        following = jobs[index] if index < len(jobs) else None
        early = _early(following, behind, last[0][1].row) if len(last) > 1 else None
        yield from last[:-1]
        if early and following:
            yield following, early
        yield last[-1]


def _strips(job: Job) -> list[list[tuple[Job, Block]]]:
    """The blocks of each strip."""
    return [[(job, block) for block in strip]
            for _, strip in groupby(job.plan.blocks(), key=lambda block: block.row)]


def _early(job: Job | None, before: Job, row: int) -> Block | None:
    """The first block of ``job``, if it needs no row of ``before`` from ``row`` on.

    Both pass on blocks in one half of the scratchpad, which must hold what is still to be read.
    """
    if job is None or job.way is not Way.BLOCKS or before.target or job.target is None:
        return None
    first, stage = job.plan.blocks()[0], job.plan.stage
    if (first.rows == stage.output.shape[1] or job.source.layout is None
            or stage.conv.input.name != before.plan.stage.output.name):
        return None
    needed = job.plan.source_rows(first.row, first.rows).stop - job.source.top
    waiting = (before.plan.stage.output.shape[1] - row) * before.source.window.pitch
    ours = first.rows * job.target.window.pitch
    fits = job.target.half == before.source.half and waiting + ours <= job.target.depth
    return first if needed <= row and fits else None
