"""How a stage is cut into blocks that fit the scratchpads."""
from collections.abc import Iterator
from dataclasses import dataclass

from accel.compile.pack import Taps
from accel.compile.place import Window
from accel.compile.stages import CompileError, Stage
from accel.spec.config import AccelConfig

#: Strips of rows, or else blocks of groups, that a stage is cut into at least if the blocks do not
#: become too short: the vector unit and the stage behind need not wait for the whole stage.
LEAST_BLOCKS = 4
#: Steps of a block that are enough to fetch the instructions of the next.
SHORT = 40
#: Steps after which an accumulator may be used again at full speed; fewer cost a pause.
REUSE_STEPS = 4


@dataclass(frozen=True)
class Block:
    """What one GEMM and the VECTOR behind it compute: output rows, and groups of channels."""

    row: int
    rows: int
    group: int
    groups: int


@dataclass(frozen=True)
class Plan:
    """Blocks of a stage.

    Members
    -------
    stage, taps, window
        What is computed from what.
    ring
        The source streams through the activation scratchpad, and cannot be read twice.
    stored
        The output goes through the output scratchpad.
    streamed
        Weights come from memory.
    """

    config: AccelConfig
    stage: Stage
    taps: Taps
    window: Window
    ring: bool
    stored: bool
    streamed: bool

    @property
    def tiles(self) -> int:
        """Weight tiles of one group."""
        return -(-len(self.taps.places) // self.config.rows)

    def conv_rows(self, rows: int) -> int:
        """Rows of the convolution that ``rows`` output rows need."""
        (kernel, _), (stride, _) = self.stage.window
        return (rows - 1) * stride + kernel

    def source_rows(self, row: int, rows: int) -> range:
        """Rows of the source, padding included, that output rows need."""
        (_, _), (stride, _) = self.stage.window
        step, extent = self.stage.conv.stride[0], self.stage.conv.extent[0]
        first = row * stride * step
        return range(first, first + (self.conv_rows(rows) - 1) * step + extent)

    def positions(self, rows: int) -> int:
        """Accumulators per group of a block of ``rows`` output rows."""
        return self.conv_rows(rows) * self.stage.conv.output.shape[2]

    @property
    def weights_stay(self) -> bool:
        """All of a streamed stage's weights fit beside those of another."""
        return self.streamed and self.tiles * self.taps.groups <= self.config.weight_depth // 2

    def blocks(self) -> list[Block]:
        """In the order in which they are computed."""
        height, groups = self.stage.output.shape[1], self.taps.groups
        count = max(-(-height // self._rows()), self._wanted_strips())
        strips = [(row, min(-(-height // count), height - row))
                  for row in range(0, height, -(-height // count))]
        size = self._groups(strips[0][1], len(strips))
        chunks = [(group, min(size, groups - group)) for group in range(0, groups, size)]
        if self.streamed and not self.weights_stay and not self.ring:
            return [Block(*strip, *chunk) for chunk in chunks for strip in strips]
        return [Block(*strip, *chunk) for strip in strips for chunk in chunks]

    def _wanted_strips(self) -> int:
        """Enough strips of which none is too short, or one."""
        height, work = self.stage.output.shape[1], self.tiles * self.taps.groups
        for count in range(min(LEAST_BLOCKS, height), 1, -1):
            rows = -(-height // count)
            shortest = self.positions(height - (count - 1) * rows) if (
                height > (count - 1) * rows) else 0
            if shortest >= REUSE_STEPS and work * shortest >= SHORT:
                return count
        return 1

    def _rows(self) -> int:
        """Most output rows of a block."""
        height = self.stage.output.shape[1]
        for share in (2, 1):    # half of each scratchpad, or all of it where half is too little
            for rows in range(height, 0, -1):
                if self._fits(rows, share):
                    return rows
        self._refuse()

    def _fits(self, rows: int, share: int) -> bool:
        c = self.config
        source = self.source_rows(0, rows)
        if self.ring:           # the next block's rows are loaded meanwhile
            following = self.source_rows(rows, rows) if share > 1 else source
            if (following.stop - source.start) * self.window.pitch > c.act_depth:
                return False
        out = rows * self.stage.output.shape[2] if self.uses_output else 0
        return (self.positions(rows) <= c.acc_depth // share and out <= c.out_depth // share)

    @property
    def uses_output(self) -> bool:
        return self.stored or self.stage.add is not None

    def _groups(self, rows: int, strips: int) -> int:
        """Groups of a block of ``rows`` output rows."""
        c, groups = self.config, self.taps.groups
        work = self.tiles * self.positions(rows)
        blocks = -(-LEAST_BLOCKS // strips)
        most = max(1, -(-groups // blocks), -(-SHORT // work))
        rooms = [(c.acc_depth // 2, self.positions(rows))]
        if self.uses_output:
            rooms.append((c.out_depth // 2, rows * self.stage.output.shape[2]))
        if self.streamed and not self.weights_stay:
            rooms.append((c.weight_depth // 2, self.tiles))
        return max(1, min(most, *(room // need for room, need in rooms)))

    def _refuse(self) -> None:
        c, stage = self.config, self.stage
        needs = [("acc_depth", c.acc_depth, self.positions(1)),
                 ("out_depth", c.out_depth, stage.output.shape[2] if self.uses_output else 0),
                 ("act_depth", c.act_depth,
                  len(self.source_rows(0, 1)) * self.window.pitch if self.ring else 0)]
        raise CompileError(f"layer {stage.conv.name!r}: one output row needs " + ", ".join(
            f"{name} >= {need}, not {has}" for name, has, need in needs if need > has))

    def tiles_outer(self, block: Block) -> bool:
        """A tile of every group before the next tile: where a group has too few positions."""
        positions = self.positions(block.rows)
        return (1 < positions < REUSE_STEPS <= positions * block.groups
                and block.rows == self.stage.output.shape[1])

    def tile_order(self, block: Block) -> Iterator[tuple[int, int]]:
        """Weight tiles ``(group, tile)`` of a block as they are used."""
        groups = range(block.group, block.group + block.groups)
        if self.tiles_outer(block):
            yield from ((group, tile) for tile in range(self.tiles) for group in groups)
        else:
            yield from ((group, tile) for group in groups for tile in range(self.tiles))
