"""Stages made ready: places, blocks, packed weights; and the order in which blocks are computed."""
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from accel.compile.arrange import Halves, Place, Way
from accel.compile.images import Images
from accel.compile.pack import Taps
from accel.compile.plan import Block, Plan, cut
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
    """A job per stage; what the host writes for it is in ``images``, but for weight tiles."""
    halves, jobs = Halves(config), []
    passed: Place | None = None
    plans: list[Plan] = []
    first_tile = 0
    for index, (stage, way) in enumerate(zip(stages, found, strict=True)):
        before = found[index - 1] if index else Way.MEMORY
        source = passed or halves.source(stage, layouts[stage.conv.input.name])
        plan = Plan(config, stage, taps[index], source.window, way is Way.MEMORY, streamed,
                    before is Way.MEMORY and source.window.words > halves.depth,
                    whole_strips=way is Way.BLOCKS,
                    strips=plans[-1].strips if before is Way.BLOCKS else None)
        passed = None
        if way is Way.WHOLE:
            passed = halves.whole(stages[index + 1], source)
        elif way is Way.BLOCKS:
            passed = halves.blocks(stages[index + 1], source)
            following = Plan(config, stages[index + 1], taps[index + 1], passed.window,
                             found[index + 1] is Way.MEMORY, streamed)
            strips = cut(stage.output.shape[1], min(plan.most_rows(), following.most_rows()),
                         max(plan.wanted_strips(), following.wanted_strips()))
            plan = replace(plan, strips=strips)
            for row, rows in strips:
                halves.block(passed, row, rows)
        plans.append(plan)
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
        behind, blocks = jobs[index + 1], job.plan.blocks()
        index += 2
        strips = [[(behind, each) for each in behind.plan.blocks() if each.row == block.row]
                  for block in blocks]
        last = strips.pop()
        if early:
            ahead = [(job, block) for block in blocks[1:]]
            for strip, made in zip(strips, ahead, strict=True):
                yield from (*strip[:-1], made, strip[-1])
        else:
            yield job, blocks[0]
            for strip, block in zip(strips, blocks[1:], strict=True):
                yield from ((job, block), *strip)
        following = jobs[index] if index < len(jobs) else None
        early = _early(following, behind, last[0][1].row) if len(last) > 1 else None
        yield from last[:-1]
        if early and following:
            yield following, early
        yield last[-1]


def _early(job: Job | None, before: Job, row: int) -> Block | None:
    """The first block of ``job``, if it needs no row of ``before`` from ``row`` on.

    Both pass on blocks in one half of the scratchpad, which must hold what is still to be read.
    """
    if job is None or job.way is not Way.BLOCKS or before.target or job.target is None:
        return None
    first, *others = job.plan.blocks()
    if not others or job.source.layout is None or job.plan.stage.conv.input.name != (
            before.plan.stage.output.name):
        return None
    needed = job.plan.source_rows(first.row, first.rows).stop - job.source.top
    waiting = (before.plan.stage.output.shape[1] - row) * before.source.window.pitch
    ours = first.rows * job.target.window.pitch
    fits = job.target.half == before.source.half and waiting + ours <= job.target.depth
    return first if needed <= row and fits else None
