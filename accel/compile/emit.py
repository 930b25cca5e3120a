"""Stages -> instructions, packed weights and parameters."""
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from accel.compile.allocate import allocate, halo_words
from accel.compile.stages import CompileError, Stage, group
from accel.graph import Conv2d, Graph
from accel.program import Image, Layout, Program
from accel.spec.cells import OFF, Operation
from accel.spec.config import AccelConfig
from accel.spec.isa import Instruction, Isa, Opcode
from accel.spec.link import Space
from accel.spec.numerics import MULTIPLIER_BITS, SHIFT_BITS


def compile_graph(graph: Graph, config: AccelConfig, *, keep_tensors: bool = False) -> Program:
    """Compile a verified graph.

    With ``keep_tensors`` no tensor reuses the memory of another, so that all of them can be read
    after a run. Raises `graph.GraphError` or `CompileError` naming what does not fit.
    """
    graph.verify(config)
    stages = group(graph)
    layouts = allocate(graph.input, stages, config, keep=keep_tensors)
    emitter = _Emitter(config)
    for stage in stages:
        emitter.stage(stage, layouts)
    return Program(
        name=graph.name, config_digest=config.digest, images=emitter.images(), tensors=layouts,
        input=graph.input.name, output=stages[-1].output.name, macs=graph.macs,
        keeps_tensors=keep_tensors)


@dataclass
class _Emitter:
    """Collects instructions and memory images, and hands out tokens."""

    config: AccelConfig
    instructions: list[Instruction] = field(default_factory=list)
    tiles: list[tuple[int, ...]] = field(default_factory=list)
    params: list[int] = field(default_factory=list)
    waits: dict[int, int] = field(default_factory=dict)     # GEMM -> the VECTOR it waits for
    pairs: list[tuple[int, int]] = field(default_factory=list)  # (GEMM, VECTOR) that reads it
    acc_reader: dict[int, int] = field(default_factory=dict)  # accumulator half -> last VECTOR
    stage_end: int | None = None                            # last VECTOR of the stage before
    half: int = 0

    def stage(self, stage: Stage, layouts: dict[str, Layout]) -> None:
        """All instructions of one stage: per column tile and strip a GEMM and a VECTOR."""
        source, target = layouts[stage.conv.input.name], layouts[stage.output.name]
        if any(target.padding):
            base, words = halo_words(target, self.config)
            self._add(Opcode.FILL, out_base=base, words=words, value=target.zero_point)
        last = self.stage_end
        for first_channel in range(0, stage.conv.weight.shape[0], self.config.cols):
            weight_base, count = self._pack_weights(stage.conv, first_channel, source)
            param_base, groups = self._pack_params(stage.conv, first_channel)
            for out_row, out_rows, halves in self._strips(stage):
                gemm = self._gemm(stage, source, out_row, out_rows, weight_base, count)
                vector = self._vector(stage, target, out_row, out_rows, first_channel,
                                      param_base, groups)
                self._order(gemm, vector, halves)
                last = vector
        self.stage_end = last

    def _strips(self, stage: Stage) -> Iterator[tuple[int, int, tuple[int, ...]]]:
        """Output rows that fit half of the accumulators (or, if none do, all of them)."""
        _, height, width = stage.conv.output.shape
        (kernel, _), (stride, _) = stage.window
        out_height = (height - kernel) // stride + 1
        half = self.config.acc_depth // 2
        for room, halves in ((half, None), (self.config.acc_depth, (0, 1))):
            fit = (room // width - kernel) // stride + 1 if room // width >= kernel else 0
            if fit:
                for row in range(0, out_height, fit):
                    if halves is None:
                        self.half ^= 1
                    else:
                        self.half = 0
                    yield row, min(fit, out_height - row), halves or (self.half,)
                return
        raise CompileError(
            f"layer {stage.conv.name!r}: one output row needs {kernel * width} accumulators per "
            f"column, but acc_depth is {self.config.acc_depth}")

    @property
    def _acc_base(self) -> int:
        return self.half * (self.config.acc_depth // 2)

    def _gemm(self, stage: Stage, source: Layout, out_row: int, out_rows: int, weight_base: int,
              tiles: int) -> int:
        conv = stage.conv
        (kernel, _), (pool_stride, _) = stage.window
        rows, cols = (out_rows - 1) * pool_stride + kernel, conv.output.shape[2]
        row_stride = conv.stride[0] * source.row_stride
        start = (source.origin - conv.padding[0] * source.row_stride
                 - conv.padding[1] * source.col_stride)
        return self._add(
            Opcode.GEMM, weight_base=weight_base, tiles=tiles,
            act_base=start + out_row * pool_stride * row_stride,
            rows=rows, row_stride=row_stride if rows > 1 else 0,
            cols=cols, col_stride=conv.stride[1] * source.col_stride if cols > 1 else 0,
            acc_base=self._acc_base, accumulate=0,
            **({"distance": 0} if self.config.array.switched else {}))

    def _vector(self, stage: Stage, target: Layout, out_row: int, out_rows: int,
                first_channel: int, param_base: int, groups: int) -> int:
        lanes, width = self.config.word_lanes, stage.conv.output.shape[2]
        (win_rows, win_cols), (row_stride, col_stride) = stage.window
        cols = stage.output.shape[2]
        functions = [spec.function for spec in self.config.activation_specs]
        base = (target.origin + out_row * target.row_stride
                + target.channel_offsets[first_channel])
        return self._add(
            Opcode.VECTOR, acc_base=self._acc_base,
            rows=out_rows, row_stride=row_stride * width if out_rows > 1 else 0,
            cols=cols, col_stride=col_stride if cols > 1 else 0,
            win_rows=win_rows, win_row_stride=width if win_rows > 1 else 0,
            win_cols=win_cols, win_col_stride=1 if win_cols > 1 else 0,
            param_base=param_base, groups=groups, out_base=base // lanes,
            out_row_stride=target.row_stride // lanes if out_rows > 1 else 0,
            out_col_stride=target.col_stride // lanes if cols > 1 else 0,
            activation=functions.index(stage.activation) + 1 if stage.activation else 0,
            zero_point=stage.conv.output.zero_point)

    def _add(self, opcode: Opcode, **fields: int) -> int:
        self.instructions.append(Instruction(opcode, fields))
        return len(self.instructions) - 1

    def _order(self, gemm: int, vector: int, halves: tuple[int, ...]) -> None:
        """Note what must wait for what; `_tokens` turns it into flags."""
        self.pairs.append((gemm, vector))
        needed = [self.acc_reader[half] for half in halves if half in self.acc_reader]
        if self.stage_end is not None:
            needed.append(self.stage_end)
        if needed:
            self.waits[gemm] = max(needed)
        self.acc_reader.update(dict.fromkeys(halves, vector))

    def _tokens(self) -> dict[int, set[str]]:
        """Token flags per instruction.

        Units finish in order, so one token from an instruction vouches for all before it: a wait
        that an earlier one already covers costs nothing.
        """
        flags: dict[int, set[str]] = {}
        for gemm, vector in self.pairs:
            flags.setdefault(gemm, set()).add("push_next")
            flags.setdefault(vector, set()).add("pop_prev")
        covered = -1
        for gemm, vector in self.waits.items():
            if vector > covered:
                flags.setdefault(vector, set()).add("push_prev")
                flags[gemm].add("pop_next")
                covered = vector
        return flags

    def _pack_weights(self, conv: Conv2d, first_channel: int, source: Layout) -> tuple[int, int]:
        """Tiles of ``cols`` output channels: index of the first, and how many."""
        rows, cols, cell = self.config.rows, self.config.cols, self.config.cell_spec
        offsets = [source.channel_offsets[c] + y * source.row_stride + x * source.col_stride
                   for c, y, x in np.ndindex(*conv.weight.shape[1:])]
        columns = [[cell.encode(int(w), Operation.PRODUCT) for w in channel.reshape(-1)]
                   for channel in conv.weight[first_channel:first_channel + cols]]
        first = len(self.tiles)
        for k in range(0, len(offsets), rows):
            words = []
            for row in range(k, k + rows):
                # rows beyond the last tap read the window's first activation, which does not count
                taps = [column[row] for column in columns] if row < len(offsets) else [OFF]
                word = sum(code << (self.config.weight_bits * i) for i, code in enumerate(taps))
                offset = offsets[row] if row < len(offsets) else 0
                words.append(word | offset << (self.config.weight_bits * cols))
            self.tiles.append(tuple(words))
        return first, len(self.tiles) - first

    def _pack_params(self, conv: Conv2d, first_channel: int) -> tuple[int, int]:
        """Bias and scale words of ``cols`` output channels: index of the first, and groups."""
        acc_bits, lanes = self.config.acc_bits, self.config.vector_lanes
        entry_bits = acc_bits + MULTIPLIER_BITS + SHIFT_BITS
        channels = range(first_channel,
                         min(first_channel + self.config.cols, conv.weight.shape[0]))
        first = len(self.params)
        for start in range(0, len(channels), lanes):
            word = 0
            for lane, channel in enumerate(channels[start:start + lanes]):
                entry = (int(conv.bias[channel]) % (1 << acc_bits)
                         | int(conv.multiplier[channel]) << acc_bits
                         | int(conv.shift[channel]) << (acc_bits + MULTIPLIER_BITS))
                word |= entry << (lane * entry_bits)
            self.params.append(word)
        return first, len(self.params) - first

    def images(self) -> tuple[Image, ...]:
        """Memory images; `CompileError` lists each memory that is too small."""
        isa, flags = Isa(self.config), self._tokens()
        self._add(Opcode.FINISH)
        needs = {"instruction_depth": len(self.instructions), "weight_depth": len(self.tiles),
                 "param_depth": len(self.params)}
        if faults := [f"{name} must be at least {need}, not {getattr(self.config, name)}"
                      for name, need in needs.items() if need > getattr(self.config, name)]:
            raise CompileError(f"the network does not fit config {self.config.name!r}: "
                               + "; ".join(faults))
        words = tuple(isa.encode(Instruction(i.opcode, i.fields, frozenset(flags.get(n, ()))))
                      for n, i in enumerate(self.instructions))
        return (Image(Space.INSTRUCTION, 0, words), Image(Space.PARAM, 0, tuple(self.params)),
                *(Image(Space.WEIGHT, index * self.config.row_slots, tile)
                  for index, tile in enumerate(self.tiles)))
