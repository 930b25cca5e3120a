"""Jobs -> instructions."""
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from accel.compile.arrange import Place, Way
from accel.compile.jobs import Job, in_order
from accel.compile.order import Step, Words, schedule
from accel.compile.plan import Block, Plan
from accel.compile.stages import Stage
from accel.compile.weights import Piece, WeightStream
from accel.graph import IntArray
from accel.program import Layout
from accel.spec.cells import Operation
from accel.spec.config import AccelConfig
from accel.spec.isa import Field, Instruction, Isa, Opcode, Target
from accel.spec.scales import Scales

#: Words of one LOAD, about.
LOAD_WORDS = 128
#: Marks words of the activation scratchpad that hold no padding; no code is as large.
NO_PADDING_HERE = np.iinfo(np.int64).max
#: Cycles from a unit's last step to its token, roughly; they order the program only.
LATENCY = {Opcode.LOAD: 15, Opcode.GEMM: 45, Opcode.VECTOR: 30, Opcode.STORE: 10}


def steps_of(jobs: Sequence[Job], config: AccelConfig, layouts: Mapping[str, Layout],
             weights_at: int | None) -> list[Step]:
    """All instructions of some jobs that follow each other, but FINISH.

    Weights are streamed from memory word ``weights_at`` on, if it is given.
    """
    emitter = _Emitter(config, layouts, weights_at)
    emitter.run(jobs)
    return schedule(emitter.steps)


@dataclass
class _Emitter:
    """Makes steps, and notes what each waits for."""

    config: AccelConfig
    layouts: Mapping[str, Layout]
    weights_at: int | None      # first memory word of the weights, if they are streamed
    steps: list[Step] = field(default_factory=list)
    layer: int = 0              # stage that the steps belong to
    acc_next: int = 0           # next free word, as in a ring of blocks
    acc_start: int = 0          # accumulators of group 0 of the sums that were begun last
    out_next: int = 0

    def __post_init__(self) -> None:
        c = self.config
        self.act, self.acc, self.out = Words(c.act_depth), Words(c.acc_depth), Words(c.out_depth)
        self.memory, self.tiles = Words(c.mem_depth), Words(c.weight_depth)
        self.loaded = Counter[int]()    # per layer, rows of its source that are there (or words)
        self.vector_fields = Isa(c).formats[Opcode.VECTOR]
        #: Code of the padding that a word of the activation scratchpad holds, if it does.
        self.padded = np.full(c.act_depth, NO_PADDING_HERE)

    def run(self, jobs: Sequence[Job]) -> None:
        """All instructions: per block a GEMM and a VECTOR, and what moves data."""
        order = list(in_order(jobs))
        weights = self._weights(order)
        for number, (job, block) in enumerate(order):
            self.layer = jobs.index(job)
            if job.way is Way.WHOLE and block == job.plan.blocks()[0]:
                self._pad(job.target)
            self._block(job, block, number, weights)

    def _weights(self, order: list[tuple[Job, Block]]) -> WeightStream:
        """Which weight tiles each block uses."""
        weights = WeightStream(self.config)
        used: dict[int, int] = {}       # first tile -> place of the tiles
        for job, block in order:
            plan, tiles = job.plan, len(block.tiles) * block.groups
            first = job.first_tile + plan.tiles_before(block)
            stay = plan.weights_stay or not (plan.streams or plan.paired)
            again = used.get(first) if stay and block.row else None
            used[first] = weights.use(first, tiles, first if self.weights_at is None else again)
        weights.finish()
        return weights

    def _block(self, job: Job, block: Block, number: int, weights: WeightStream) -> None:
        plan, stage, streamed = job.plan, job.plan.stage, self.weights_at is not None
        loads = len(self.steps)
        for piece in weights.needed(number) if streamed else ():
            self._load_weights(piece)
        completes = block.tiles.stop == plan.tiles
        out_base = self._out_room(job, block) if completes else 0
        if stage.add and completes:
            self._load_other(stage, block, out_base)
        self._load_source(job, block)
        spent = sum(step.cycles for step in self.steps[loads:])
        gemm = self._gemm(job, block, weights.uses[number][0])
        for piece in weights.ahead(number, self.steps[gemm].cycles - spent) if streamed else ():
            self._load_weights(piece)
        if completes:
            self._vector(job, block, gemm, out_base)
        if completes and job.target is None:
            self._store(stage, block, out_base)

    def _acc_base(self, plan: Plan, block: Block) -> int:
        """Accumulators of a block: new ones, or those of the sums that it continues."""
        positions = plan.positions(block.rows)
        if block.tiles.start:
            return self.acc_start + block.group * positions
        base = _room(self.acc_next, positions * block.groups, self.config.acc_depth)
        self.acc_next = base + positions * block.groups
        self.acc_start = base - block.group * positions
        return base

    def _out_room(self, job: Job, block: Block) -> int:
        """Room for a block in the output scratchpad, if it goes there."""
        if not job.plan.uses_output:
            return 0
        words = block.rows * job.plan.stage.output.shape[2] * block.groups
        base = _room(self.out_next, words, self.config.out_depth)
        self.out_next = base + words
        return base

    def _pad(self, place: Place | None) -> None:
        """The padding around a tensor that the vector unit will write, where it is not there."""
        if place is None or not any(place.padding):
            return
        window, (top, _, bottom, _) = place.window, place.padding
        inner = window.pitch - window.left - window.right
        height = window.rows - top - bottom
        # what is above, what is between the end of a row and the next one, what is below
        for first, rows, words in ((0, 1, top * window.pitch + window.left),
                                   (place.row(top) - place.base + window.left + inner,
                                    height - 1, window.left + window.right),
                                   (place.row(top + height) - place.base - window.right, 1,
                                    window.right + bottom * window.pitch)):
            words_there = place.wrapped(place.base + first + _grid(
                0, (rows, window.pitch), (words, 1)))
            if rows and words and (self.padded[words_there] != place.pad_value).any():
                self._load(Target.ACTIVATION, place.word(place.base + first), window.pitch, 0,
                           top=rows, left=words, value=place.pad_value)

    # --- instructions ---------------------------------------------------------------------------
    def _add(self, opcode: Opcode, cycles: int, **fields: int) -> tuple[Step, int]:
        step = Step(Instruction(opcode, fields), cycles, LATENCY[opcode], self.layer)
        self.steps.append(step)
        return step, len(self.steps) - 1

    def _load(self, target: Target, base: int, row_stride: int, rows: int, *, mem_base: int = 0,
              mem_row_stride: int = 0, words: int = 0, top: int = 0, bottom: int = 0,
              left: int = 0, right: int = 0, value: int = 0) -> None:
        height, width = top + rows + bottom, left + words + right
        step, index = self._add(
            Opcode.LOAD, height * width, target=target, mem_base=mem_base, rows=rows,
            mem_row_stride=mem_row_stride if rows > 1 else 0, words=words, base=base,
            row_stride=row_stride if height > 1 else 0, top=top, bottom=bottom, left=left,
            right=right, value=value)
        source = _grid(mem_base, (rows, mem_row_stride), (words, 1))
        self.memory.read(step, index, source)
        places = _grid(base, (height, row_stride), (width, 1))
        if target == Target.WEIGHT:
            self.tiles.write(step, index, np.unique(
                places // self.config.row_slots % self.config.weight_depth))
        elif target == Target.OUTPUT:
            self.out.write(step, index, places % self.config.out_depth)
        else:
            half = self.config.act_depth // 2
            places = base // half * half + places % half
            self.act.write(step, index, places)
            self.padded[places] = value
            self.padded[places[top:top + rows, left:left + words]] = NO_PADDING_HERE

    def _load_source(self, job: Job, block: Block) -> None:
        """What a block reads and is not there yet, if it comes from memory."""
        place, plan = job.source, job.plan
        layout, window = place.layout, place.window
        if layout is None:
            return
        there = self.loaded[self.layer]
        if plan.in_one_row:
            stop = max(plan.words_of(block.tiles)) + 1
            if there < stop:
                self._load(Target.ACTIVATION, place.word(place.row(0) + there), 0, 1,
                           mem_base=layout.start // self.config.word_lanes + there,
                           words=stop - there)
        else:
            rows = plan.source_rows(block.row, block.rows, block.tiles)
            # in pieces, as the first rows may be there long before the last
            stop, piece = min(rows.stop, window.rows), max(1, LOAD_WORDS // window.pitch)
            for first in range(there, stop, piece):
                self._load_piece(place, layout, first, min(first + piece, stop))
        self.loaded[self.layer] = max(there, stop)

    def _load_piece(self, place: Place, layout: Layout, first: int, stop: int) -> None:
        window = place.window
        height, lanes = layout.shape[1], self.config.word_lanes
        begin, end = (min(max(row - place.top, 0), height) for row in (first, stop))
        words = layout.row_stride // lanes
        top = min(stop, place.top) - min(first, place.top)
        self._load(
            Target.ACTIVATION, place.word(place.row(first)), window.pitch, end - begin,
            mem_base=layout.start // lanes + begin * words,
            mem_row_stride=words, words=words, top=top,
            bottom=stop - first - (end - begin) - top, left=window.left, right=window.right,
            value=place.pad_value)

    def _load_weights(self, piece: Piece) -> None:
        rows, slots, depth = self.config.rows, self.config.row_slots, self.config.weight_depth
        assert self.weights_at is not None
        self._load(Target.WEIGHT, piece.place % depth * slots, slots, piece.tiles,
                   mem_base=self.weights_at + piece.tile * rows, mem_row_stride=rows, words=rows)

    def _load_other(self, stage: Stage, block: Block, out_base: int) -> None:
        assert stage.other is not None
        mem_base, rows, words, stride = self._copied(stage, block, stage.other.name)
        self._load(Target.OUTPUT, out_base, words, rows, mem_base=mem_base,
                   mem_row_stride=stride, words=words)

    def _copied(self, stage: Stage, block: Block, name: str) -> tuple[int, int, int, int]:
        """Where a block of a tensor lies in memory: first word, rows, words per row, stride."""
        layout, width = self.layouts[name], stage.output.shape[2]
        lanes = self.config.word_lanes
        groups, positions = layout.col_stride // lanes, block.rows * width
        first = ((layout.origin + layout.channel_offsets[0]) // lanes
                 + block.row * width * groups + block.group)
        if block.groups == groups:
            return first, 1, positions * groups, 0
        return first, positions, block.groups, groups

    def _gemm(self, job: Job, block: Block, weight_base: int) -> int:
        c, plan, source = self.config, job.plan, job.source
        conv, window, lanes = plan.stage.conv, source.window, c.word_lanes
        rows, cols = plan.conv_rows(block.rows), conv.output.shape[2]
        positions, count = rows * cols, len(block.tiles)
        own = block.group * lanes if plan.taps.per_group else 0
        first = source.row(plan.source_rows(block.row, block.rows).start)
        acc_base = self._acc_base(plan, block)
        row_stride = conv.stride[0] * window.pitch * lanes
        step, index = self._add(
            Opcode.GEMM, positions * block.groups * count,
            weight_base=weight_base % c.weight_depth, tiles=count, groups=block.groups,
            tiles_outer=int(plan.tiles_outer(block)),
            offset_base=job.offset_base + block.tiles.start,
            act_base=source.element(first * lanes + window.start + own, lanes),
            act_group_stride=lanes if plan.taps.per_group and block.groups > 1 else 0,
            rows=rows, row_stride=row_stride % (source.depth * lanes) if rows > 1 else 0,
            cols=cols, col_stride=conv.stride[1] * window.col_stride if cols > 1 else 0,
            acc_base=acc_base, acc_group_stride=positions if block.groups > 1 else 0,
            accumulate=int(block.tiles.start > 0),
            **({"depthwise": int(plan.taps.by_lane)} if c.depthwise else {}),
            **({"distance": int(conv.operation is Operation.DISTANCE)} if c.array.switched else {}))
        self.act.read(step, index, self._words_read(job, block, step.instruction.fields))
        self.tiles.read(step, index, (weight_base + np.arange(
            count * block.groups)) % c.weight_depth)
        self.acc.write(step, index, acc_base + np.arange(positions * block.groups))
        return index

    def _words_read(self, job: Job, block: Block, gemm: Mapping[str, int]) -> IntArray:
        """Words of the source that a GEMM reads; all of the rows if it uses all tiles."""
        plan, source, lanes = job.plan, job.source, self.config.word_lanes
        if len(block.tiles) < plan.tiles:
            starts = _grid(gemm["act_base"], (block.groups, gemm["act_group_stride"]),
                           (gemm["rows"], gemm["row_stride"]), (gemm["cols"], gemm["col_stride"]))
            return source.wrapped((starts[..., None] + plan.offsets_of(block.tiles)) // lanes)
        rows, window = plan.source_rows(block.row, block.rows), source.window
        words = source.wrapped(source.row(rows.start)
                               + np.arange(len(rows) * window.pitch))
        if plan.taps.per_group:     # of each position only the groups' own words
            words = words.reshape(-1, window.col_stride // lanes)[
                :, block.group:block.group + block.groups]
        return words

    def _vector(self, job: Job, block: Block, gemm: int, out_base: int) -> None:
        c, stage, target = self.config, job.plan.stage, job.target
        acc = self.steps[gemm].instruction.fields
        (win_rows, win_cols), (row_step, col_step) = stage.window
        width, cols = stage.conv.output.shape[2], stage.output.shape[2]
        if target:
            col_stride, row_stride = target.window.col_stride // c.word_lanes, target.window.pitch
            base = (target.row(target.top + block.row) + target.window.left
                    + block.group)
        else:
            col_stride, row_stride, base = block.groups, cols * block.groups, out_base
        functions = [spec.function for spec in c.activation_specs]
        offset = stage.conv.offset
        step, index = self._add(
            Opcode.VECTOR, block.rows * cols * win_rows * win_cols * block.groups
            * job.lane_groups, acc_base=acc["acc_base"], groups=block.groups,
            acc_group_stride=acc["acc_group_stride"], lane_groups=job.lane_groups,
            rows=block.rows, row_stride=row_step * width if block.rows > 1 else 0,
            cols=cols, col_stride=col_step if cols > 1 else 0,
            win_rows=win_rows, win_row_stride=width if win_rows > 1 else 0,
            win_cols=win_cols, win_col_stride=1 if win_cols > 1 else 0,
            param_base=job.param_base
            + block.group * job.lane_groups * c.vector_lanes // c.param_lanes,
            to_activation=int(target is not None),
            to_output=int(target is None), out_base=target.word(base) if target else base,
            out_row_stride=row_stride if block.rows > 1 else 0,
            out_col_stride=col_stride if cols > 1 else 0,
            activation=functions.index(stage.activation) + 1 if stage.activation else 0,
            zero_point=stage.conv.output.zero_point if offset is None else offset,
            low=stage.low, high=stage.high,
            **(_sum_fields(stage, out_base, self.vector_fields, c.scales) if c.residual
               else {}))
        self.acc.read(step, index, acc["acc_base"] + np.arange(
            acc["rows"] * acc["cols"] * block.groups))
        words = _grid(base, (block.rows, row_stride), (cols, col_stride), (block.groups, 1))
        if stage.add:
            self.out.read(step, index, out_base + np.arange(words.size))
        if target:
            self.act.write(step, index, target.wrapped(words))
            self.padded[target.wrapped(words)] = NO_PADDING_HERE
        else:
            self.out.write(step, index, words % c.out_depth)

    def _store(self, stage: Stage, block: Block, out_base: int) -> None:
        mem_base, rows, words, stride = self._copied(stage, block, stage.output.name)
        step, index = self._add(
            Opcode.STORE, rows * words, out_base=out_base, rows=rows,
            row_stride=words if rows > 1 else 0, words=words, mem_base=mem_base,
            mem_row_stride=stride)
        self.out.read(step, index, out_base + np.arange(rows * words))
        self.memory.write(step, index, _grid(mem_base, (rows, stride), (words, 1)))


def _room(following: int, words: int, depth: int) -> int:
    """First word of a block of ``words`` that does not wrap around, ``following`` if it can."""
    return following if following + words <= depth else 0


def _sum_fields(stage: Stage, out_base: int, fields: Sequence[Field], scales: Scales,
                ) -> dict[str, int]:
    """The addition's fields among those of VECTOR; zeros where nothing is added."""
    names = [field.name for field in fields]
    names = names[names.index("add"):]
    node = stage.add
    if node is None:
        return dict.fromkeys(names, 0)
    (own, other), (own_factor, other_factor) = (
        node.inputs, map(scales.encode_summand, node.multipliers))
    values = {"add": 1, "add_base": out_base, "own_zero_point": own.zero_point,
              "own_multiplier": own_factor, "own_shift": node.shifts[0],
              "other_zero_point": other.zero_point, "other_multiplier": other_factor,
              "other_shift": node.shifts[1], "add_multiplier": node.multiplier,
              "add_shift": node.shift, "add_zero_point": node.output.zero_point}
    return {name: values[name] for name in names}


def _grid(base: int, *loops: tuple[int, int]) -> IntArray:
    """Addresses of nested loops, each given by count and stride, outermost first."""
    address: IntArray = np.array(base, np.int64)
    for count, stride in loops:
        address = address[..., None] + np.arange(count) * stride
    return address
