"""Stages -> instructions, packed weights and parameters."""
from dataclasses import dataclass, field

import numpy as np

from accel.compile.order import Step, Words, schedule, span
from accel.compile.pack import Taps, offset_words, param_words, taps_of, tile_rows
from accel.compile.place import Memory, Window, layouts_of, window_of, words_per_position
from accel.compile.plan import Block, Plan
from accel.compile.stages import CompileError, Stage, group
from accel.compile.weights import Piece, WeightStream
from accel.graph import Graph, IntArray, Padding
from accel.program import Image, Layout, Program
from accel.spec.config import AccelConfig
from accel.spec.isa import Instruction, Isa, Opcode, Target
from accel.spec.link import Space

#: Words of one LOAD, about.
LOAD_WORDS = 128
#: Cycles from a unit's last step to its token, roughly; they order the program only.
LATENCY = {Opcode.LOAD: 15, Opcode.GEMM: 45, Opcode.VECTOR: 30, Opcode.STORE: 10}


def compile_graph(graph: Graph, config: AccelConfig, *, keep_tensors: bool = False) -> Program:
    """Compile a verified graph.

    With ``keep_tensors`` every stage writes its tensor to memory and none reuses the place of
    another, so that all of them can be read after a run. Raises `graph.GraphError` or
    `CompileError` naming what does not fit.
    """
    graph.verify(config)
    stages = group(graph, config)
    taps = [taps_of(stage.conv, config) for stage in stages]
    tiles = sum(each.groups * -(-len(each.places) // config.rows) for each in taps)
    memory, streamed = Memory(config), tiles > config.weight_depth
    weights_at = memory.take("the weights", tiles * config.rows, 0, len(stages) + 1) \
        if streamed else None
    near = frozenset[str]() if keep_tensors else _near(stages, config)
    layouts = layouts_of(graph, stages, memory, near, config, keep=keep_tensors)
    emitter = _Emitter(config, layouts, near, weights_at)
    for stage, each, following in zip(stages, taps, [*stages[1:], None], strict=True):
        emitter.prepare(stage, each, following)
    emitter.emit()
    return Program(
        name=graph.name, config_digest=config.digest, images=emitter.images(), tensors=layouts,
        input=graph.input.name, output=stages[-1].output.name, macs=graph.macs,
        keeps_tensors=keep_tensors)


def _near(stages: list[Stage], config: AccelConfig) -> frozenset[str]:
    """Tensors that never leave the activation scratchpad.

    Those that only the very next stage reads, where the sources of both stages fit into half of
    the scratchpad each.
    """
    half = config.act_depth // 2
    readers: dict[str, list[int]] = {}
    for index, stage in enumerate(stages):
        for source in stage.sources:
            readers.setdefault(source.name, []).append(index)
    fits = [window_of(stage, None, config).words <= half for stage in stages]
    return frozenset(
        stage.output.name for index, stage in enumerate(stages[:-1])
        if readers.get(stage.output.name) == [index + 1] and not stage.add
        and stages[index + 1].conv.input.name == stage.output.name
        and fits[index] and fits[index + 1])


@dataclass
class _Place:
    """A stage's source in the activation scratchpad, or a tensor that is written there.

    Members
    -------
    base
        First word.
    layout
        Where it is loaded from; None if the vector unit writes it.
    loaded
        Rows that are there, padding included.
    """

    window: Window
    base: int
    ring: bool
    pad_value: int
    layout: Layout | None
    padding: Padding
    loaded: int = 0

    @property
    def top(self) -> int:
        """Rows of padding above."""
        return self.padding[0]


@dataclass(frozen=True)
class _Prepared:
    """A stage with its places."""

    plan: Plan
    source: _Place
    target: _Place | None
    offset_base: int
    param_base: int
    lane_groups: int


@dataclass
class _Emitter:
    """Collects steps and memory images."""

    config: AccelConfig
    layouts: dict[str, Layout]
    near: frozenset[str]
    weights_at: int | None      # first memory word of the weights, if they are streamed
    steps: list[Step] = field(default_factory=list)
    tile_words: list[int] = field(default_factory=list)     # `rows` words per tile
    offsets: list[int] = field(default_factory=list)
    offset_index: dict[tuple[int, ...], int] = field(default_factory=dict)
    params: list[int] = field(default_factory=list)
    places: dict[str, _Place] = field(default_factory=dict)     # of near tensors
    prepared: list[_Prepared] = field(default_factory=list)
    act_next: int = 0           # next free word of the activation scratchpad
    acc_next: int = 0           # next free word, as in a ring of blocks
    out_next: int = 0

    def __post_init__(self) -> None:
        c = self.config
        self.act, self.acc, self.out = Words(c.act_depth), Words(c.acc_depth), Words(c.out_depth)
        self.memory, self.tiles = Words(c.mem_depth), Words(c.weight_depth)
        self.weights = WeightStream(c)

    def prepare(self, stage: Stage, taps: Taps, following: Stage | None) -> None:
        """Choose places and blocks of the next stage and pack its weights, offsets and scales."""
        source = self.places.get(stage.conv.input.name) or self._place(
            stage, self.layouts[stage.conv.input.name])
        target = self._near_target(stage, following)
        plan = Plan(self.config, stage, taps, source.window, source.ring, target is None,
                    self.weights_at is not None)
        first_tile = len(self.tile_words) // self.config.rows
        used: dict[int, int] = {}       # group -> place of its tiles
        for block in plan.blocks():
            tiles = plan.tiles * block.groups
            if block.row == 0:
                self.tile_words += tile_rows(taps, self.config, list(plan.tile_order(block)))
            again = used.get(block.group) if plan.weights_stay or (
                not source.ring and block.row) else None
            used[block.group] = self.weights.use(
                first_tile + block.group * plan.tiles, tiles, again)
        param_base, lane_groups = self._pack_params(stage, taps)
        self.prepared.append(_Prepared(plan, source, target,
                                       self._pack_offsets(taps, source.window), param_base,
                                       lane_groups))

    def emit(self) -> None:
        """All instructions: per block a GEMM and a VECTOR, and what moves data."""
        self.weights.finish()
        number = 0
        for ready in self.prepared:
            if ready.target:
                self._pad(ready.target)
            for block in ready.plan.blocks():
                self._block(ready, block, number)
                number += 1

    def _block(self, ready: "_Prepared", block: Block, number: int) -> None:
        plan, stage = ready.plan, ready.plan.stage
        streamed = self.weights_at is not None
        loads = len(self.steps)
        for piece in self.weights.needed(number) if streamed else ():
            self._load_weights(piece)
        self._load_rows(ready.source, plan.source_rows(block.row, block.rows).stop)
        out_base = self._out_room(plan, block)
        if stage.add:
            self._load_other(stage, block, out_base)
        spent = sum(step.cycles for step in self.steps[loads:])
        gemm = self._gemm(ready, block, self.weights.uses[number][0])
        for piece in (self.weights.ahead(number, self.steps[gemm].cycles - spent)
                      if streamed else ()):
            self._load_weights(piece)
        self._vector(ready, block, gemm, out_base)
        if ready.target is None:
            self._store(stage, block, out_base)

    # --- places ---------------------------------------------------------------------------------
    def _place(self, stage: Stage, layout: Layout | None) -> _Place:
        """Room for the source of ``stage``: a half of the scratchpad, or all of it as a ring."""
        window, half = window_of(stage, layout, self.config), self.config.act_depth // 2
        ring = window.words > half
        # behind what was placed last, which is still being read
        base = self.act_next if ring else -(-self.act_next // half) % 2 * half
        self.act_next = (base + window.words) % self.config.act_depth
        return _Place(window, base, ring, stage.pad_value, layout, stage.conv.padding)

    def _out_room(self, plan: Plan, block: Block) -> int:
        """Room for a block in the output scratchpad, if it goes there."""
        if not plan.uses_output:
            return 0
        words = block.rows * plan.stage.output.shape[2] * block.groups
        base = _room(self.out_next, words, self.config.out_depth)
        self.out_next = base + words
        return base

    def _near_target(self, stage: Stage, following: Stage | None) -> _Place | None:
        """Room for an output that stays near."""
        if following is None or stage.output.name not in self.near:
            return None
        place = self.places[stage.output.name] = self._place(following, None)
        place.loaded = place.window.rows
        return place

    def _pad(self, place: _Place) -> None:
        """Fill a tensor that the vector unit will write with padding, if it has some."""
        window = place.window
        if any(place.padding):
            self._load(Target.ACTIVATION, place.base, window.pitch, 0, top=window.rows,
                       left=window.pitch, value=place.pad_value)

    # --- instructions ---------------------------------------------------------------------------
    def _add(self, opcode: Opcode, cycles: int, **fields: int) -> tuple[Step, int]:
        step = Step(Instruction(opcode, fields), cycles, LATENCY[opcode])
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
        else:
            scratchpad, depth = ((self.act, self.config.act_depth)
                                 if target == Target.ACTIVATION
                                 else (self.out, self.config.out_depth))
            scratchpad.write(step, index, places % depth)

    def _load_rows(self, place: _Place, stop: int) -> None:
        """Rows of a source up to ``stop``, padding included, that are not there yet."""
        layout, window = place.layout, place.window
        stop = min(stop, window.rows)
        if layout is None:
            return
        # in pieces, as the first rows may be there long before the last
        piece = max(1, LOAD_WORDS // window.pitch)
        for first in range(place.loaded, stop, piece):
            self._load_piece(place, layout, first, min(first + piece, stop))
        place.loaded = max(place.loaded, stop)

    def _load_piece(self, place: _Place, layout: Layout, first: int, stop: int) -> None:
        window = place.window
        height, lanes = layout.shape[1], self.config.word_lanes
        begin, end = (min(max(row - place.top, 0), height) for row in (first, stop))
        words = layout.row_stride // lanes
        top = min(stop, place.top) - min(first, place.top)
        self._load(
            Target.ACTIVATION, (place.base + first * window.pitch) % self.config.act_depth,
            window.pitch, end - begin, mem_base=layout.start // lanes + begin * words,
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
        groups = words_per_position(stage.output, self.config)
        positions = block.rows * width
        first = layout.start // self.config.word_lanes + block.row * width * groups + block.group
        if block.groups == groups:
            return first, 1, positions * groups, 0
        return first, positions, block.groups, groups

    def _gemm(self, ready: _Prepared, block: Block, weight_base: int) -> int:
        c, plan, source = self.config, ready.plan, ready.source
        conv, window = plan.stage.conv, source.window
        lanes, cols = c.word_lanes, plan.stage.conv.output.shape[2]
        rows, needed = plan.conv_rows(block.rows), plan.source_rows(block.row, block.rows)
        positions = rows * cols
        acc_base = _room(self.acc_next, positions * block.groups, c.acc_depth)
        self.acc_next = acc_base + positions * block.groups
        own = block.group * lanes if plan.taps.per_group else 0
        row_stride = conv.stride[0] * window.pitch * lanes
        step, index = self._add(
            Opcode.GEMM, positions * block.groups * plan.tiles,
            weight_base=weight_base % c.weight_depth, tiles=plan.tiles, groups=block.groups,
            tiles_outer=int(plan.tiles_outer(block)), offset_base=ready.offset_base,
            act_base=((source.base + needed.start * window.pitch) * lanes + window.start + own)
            % c.act_elements,
            act_group_stride=lanes if plan.taps.per_group and block.groups > 1 else 0,
            rows=rows, row_stride=row_stride % c.act_elements if rows > 1 else 0,
            cols=cols, col_stride=conv.stride[1] * window.col_stride if cols > 1 else 0,
            acc_base=acc_base, acc_group_stride=positions if block.groups > 1 else 0,
            accumulate=0, **({"depthwise": int(plan.taps.by_lane)} if c.depthwise else {}),
            **({"distance": 0} if c.array.switched else {}))
        words = span(source.base + needed.start * window.pitch, len(needed) * window.pitch,
                     c.act_depth)
        if plan.taps.per_group:     # of each position only the groups' own words
            words = words.reshape(-1, window.col_stride // lanes)[
                :, block.group:block.group + block.groups]
        self.act.read(step, index, words)
        self.tiles.read(step, index, span(weight_base, plan.tiles * block.groups, c.weight_depth))
        self.acc.write(step, index, acc_base + np.arange(positions * block.groups))
        return index

    def _vector(self, ready: _Prepared, block: Block, gemm: int, out_base: int) -> None:
        c, stage, target = self.config, ready.plan.stage, ready.target
        acc = self.steps[gemm].instruction.fields
        (win_rows, win_cols), (row_step, col_step) = stage.window
        width, cols = stage.conv.output.shape[2], stage.output.shape[2]
        if target:
            col_stride, row_stride = target.window.col_stride // c.word_lanes, target.window.pitch
            base = (target.base + (target.top + block.row) * row_stride + target.window.left
                    + block.group)
        else:
            col_stride, row_stride, base = block.groups, cols * block.groups, out_base
        functions = [spec.function for spec in c.activation_specs]
        offset = stage.conv.offset
        step, index = self._add(
            Opcode.VECTOR, block.rows * cols * win_rows * win_cols * block.groups
            * ready.lane_groups, acc_base=acc["acc_base"], groups=block.groups,
            acc_group_stride=acc["acc_group_stride"], lane_groups=ready.lane_groups,
            rows=block.rows, row_stride=row_step * width if block.rows > 1 else 0,
            cols=cols, col_stride=col_step if cols > 1 else 0,
            win_rows=win_rows, win_row_stride=width if win_rows > 1 else 0,
            win_cols=win_cols, win_col_stride=1 if win_cols > 1 else 0,
            param_base=ready.param_base + block.group * ready.lane_groups * self._param_steps,
            to_activation=int(target is not None),
            to_output=int(target is None), out_base=base,
            out_row_stride=row_stride if block.rows > 1 else 0,
            out_col_stride=col_stride if cols > 1 else 0,
            activation=functions.index(stage.activation) + 1 if stage.activation else 0,
            zero_point=stage.conv.output.zero_point if offset is None else offset,
            low=stage.low, high=stage.high,
            **(_sum_fields(stage, out_base) if c.residual else {}))
        self.acc.read(step, index, acc["acc_base"] + np.arange(
            acc["rows"] * acc["cols"] * block.groups))
        words = _grid(base, (block.rows, row_stride), (cols, col_stride), (block.groups, 1))
        if stage.add:
            self.out.read(step, index, words % c.out_depth)
        if target:
            self.act.write(step, index, words % c.act_depth)
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

    # --- memories that the host fills -----------------------------------------------------------
    def _pack_offsets(self, taps: Taps, window: Window) -> int:
        """Where the row offsets of a geometry stand; layers of one geometry share them."""
        lanes = self.config.word_lanes
        words = offset_words([window.channel_offsets[c] + y * window.pitch * lanes
                              + x * window.col_stride for c, y, x in taps.places], self.config)
        if words not in self.offset_index:
            self.offset_index[words] = len(self.offsets)
            self.offsets += words
        return self.offset_index[words]

    @property
    def _param_steps(self) -> int:
        return self.config.vector_lanes // self.config.param_lanes

    def _pack_params(self, stage: Stage, taps: Taps) -> tuple[int, int]:
        """First bias and scale word of a stage, and the lane groups of each of its groups."""
        first = len(self.params)
        used = min(len(stage.conv.weight), self.config.cols)
        lane_groups = -(-used // self.config.vector_lanes)
        for number in range(taps.groups):
            words = param_words(stage.conv, number, self.config)
            self.params += words + [0] * (lane_groups * self._param_steps - len(words))
        return first, lane_groups

    def images(self) -> tuple[Image, ...]:
        """Memory images; `CompileError` lists each memory that is too small."""
        c, isa = self.config, Isa(self.config)
        program = [*schedule(self.steps), Instruction(Opcode.FINISH, {})]
        needs = {"instruction_depth": len(program), "param_depth": len(self.params),
                 "offset_depth": len(self.offsets)}
        if faults := [f"{name} must be at least {need}, not {getattr(c, name)}"
                      for name, need in needs.items() if need > getattr(c, name)]:
            raise CompileError(f"the network does not fit config {c.name!r}: " + "; ".join(faults))
        weights = ([Image(Space.MEMORY, self.weights_at, tuple(self.tile_words))]
                   if self.weights_at is not None else
                   [Image(Space.WEIGHT, tile * c.row_slots,
                          tuple(self.tile_words[tile * c.rows:(tile + 1) * c.rows]))
                    for tile in range(len(self.tile_words) // c.rows)])
        return (Image(Space.INSTRUCTION, 0, tuple(map(isa.encode, program))),
                Image(Space.OFFSET, 0, tuple(self.offsets)),
                Image(Space.PARAM, 0, tuple(self.params)), *weights)


def _room(following: int, words: int, depth: int) -> int:
    """First word of a block of ``words`` that does not wrap around, ``following`` if it can."""
    return following if following + words <= depth else 0


def _sum_fields(stage: Stage, out_base: int) -> dict[str, int]:
    """The addition's fields of VECTOR; zeros where nothing is added."""
    node = stage.add
    names = ("add", "add_base", "own_zero_point", "own_multiplier", "other_zero_point",
             "other_multiplier", "add_shift", "add_zero_point")
    if node is None:
        return dict.fromkeys(names, 0)
    values = (1, out_base, node.inputs[0].zero_point, node.multipliers[0],
              node.inputs[1].zero_point, node.multipliers[1], node.shift, node.output.zero_point)
    return dict(zip(names, values, strict=True))


def _grid(base: int, *loops: tuple[int, int]) -> IntArray:
    """Addresses of nested loops, each given by count and stride, outermost first."""
    address: IntArray = np.array(base, np.int64)
    for count, stride in loops:
        address = address[..., None] + np.arange(count) * stride
    return address
