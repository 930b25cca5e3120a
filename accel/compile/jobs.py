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
    """A job per stage."""
    halves, jobs = Halves(config), []
    passed: Place | None = None
    plans: list[Plan] = []
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
        jobs.append(Job(plan, source, passed, way, images.add_tiles(plan),
                        images.add_offsets(plan.taps, source.window), param_base, lane_groups))
    return jobs


def in_order(jobs: Sequence[Job]) -> Iterator[tuple[Job, Block]]:
    """Every block of every job, in the order in which they are computed.

    Where a job passes its output on block by block, the next one follows two blocks behind, so
    that the array need not wait for what the vector unit still works on.
    """
    index = 0
    while index < len(jobs):
        job = jobs[index]
        if job.way is not Way.BLOCKS:
            yield from ((job, block) for block in job.plan.blocks())
            index += 1
            continue
        following, blocks = jobs[index + 1], job.plan.blocks()
        behind: dict[int, list[Block]] = {}
        for block in following.plan.blocks():
            behind.setdefault(block.row, []).append(block)
        for number in range(len(blocks) + 1):
            if number < len(blocks):
                yield job, blocks[number]
            if number:
                yield from ((following, block) for block in behind[blocks[number - 1].row])
        index += 2
