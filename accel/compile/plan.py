"""How a stage is cut into blocks that fit the scratchpads."""
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NoReturn

from accel.compile.pack import Taps
from accel.compile.place import Window
from accel.compile.stages import CompileError, Stage
from accel.cost.cycles import REUSE
from accel.spec.config import AccelConfig

#: Blocks that a stage is cut into at least, if they do not become too short: the vector unit and
#: the stage behind need not wait for the whole stage.
LEAST_BLOCKS = 4
#: Steps of a block that are enough to fetch the instructions of the next.
SHORT = 40


@dataclass(frozen=True)
class Block:
    """What one GEMM computes: output rows, groups of channels, and weight tiles of each group.

    The first tile begins sums. The last one completes them, and a VECTOR follows.
    """

    row: int
    rows: int
    group: int
    groups: int
    tiles: range


@dataclass(frozen=True)
class Cut:
    """Output rows of a strip and groups of a block; the last ones may have fewer."""

    rows: int
    groups: int


#: Rows and groups of a stage that is not cut.
WHOLE = Cut(1 << 30, 1 << 30)


@dataclass(frozen=True)
class Slicing:
    """Where the sums of an output row are interrupted, so that they can begin with a part of it.

    Members
    -------
    ends
        Tiles up to which one slice after the other takes the sums of all groups.
    groups
        How many groups' sums are then completed together, block by block.
    """

    ends: tuple[int, ...]
    groups: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """Blocks of a stage.

    Members
    -------
    stage, taps, window
        What is computed from what.
    stored
        The output goes to memory.
    streamed
        Weights come from memory.
    streams
        The source is larger than its half of the scratchpad: it is loaded row by row, once.
    whole_strips
        A block has all channels of its rows: it is passed on block by block.
    paired
        So is this stage's source or its output: the two stages have the same strips.
    cut
        Strips and blocks, once they are chosen (`compile.search`).
    overlap
        Slices that let it run while its neighbours do, if they are given (`compile.overlap`).
    """

    config: AccelConfig
    stage: Stage
    taps: Taps
    window: Window
    stored: bool
    streamed: bool
    streams: bool = False
    whole_strips: bool = False
    paired: bool = False
    cut: Cut = WHOLE
    overlap: Slicing | None = None

    @property
    def tiles(self) -> int:
        """Weight tiles of one group."""
        return -(-len(self.taps.places) // self.config.rows)

    def conv_rows(self, rows: int) -> int:
        """Rows of the convolution that ``rows`` output rows need."""
        (kernel, _), (stride, _) = self.stage.window
        return (rows - 1) * stride + kernel

    def source_rows(self, row: int, rows: int, tiles: range | None = None) -> range:
        """Rows of the source, padding included, that output rows need, for all tiles or some."""
        _, (stride, _) = self.stage.window
        step, extent = self.stage.conv.stride[0], self.stage.conv.extent[0]
        first = row * stride * step
        within = range(extent)
        if tiles is not None:
            read = [y for _, y, _ in self.taps.places[self._taps(tiles)]]
            within = range(min(read), max(read) + 1)
        return range(first + within.start,
                     first + (self.conv_rows(rows) - 1) * step + within.stop)

    def _taps(self, tiles: range) -> slice:
        """Taps of some tiles."""
        return slice(tiles.start * self.config.rows, tiles.stop * self.config.rows)

    @cached_property
    def offsets(self) -> list[int]:
        """Elements from a window's first activation to that of each tap."""
        window, lanes = self.window, self.config.word_lanes
        return [window.channel_offsets[channel] + y * window.pitch * lanes + x * window.col_stride
                for channel, y, x in self.taps.places]

    def offsets_of(self, tiles: range) -> list[int]:
        """The same for the taps of some tiles."""
        return self.offsets[self._taps(tiles)]

    def positions(self, rows: int) -> int:
        """Accumulators per group of a block of ``rows`` output rows."""
        return self.conv_rows(rows) * self.stage.conv.output.shape[2]

    def words_of(self, tiles: range) -> set[int]:
        """Words of the source, from the first one of a row on, that a window of tiles reads."""
        return {(self.window.start + offset) // self.config.word_lanes
                for offset in self.offsets_of(tiles)}

    @property
    def in_one_row(self) -> bool:
        """There is one output position, its source is one row without padding and is all there.

        So are the weights.
        """
        window = self.window
        return (self.positions(1) == 1 and window.rows == 1 and not window.left + window.right
                and not (self.taps.per_group or self.streams or self.streamed))

    @cached_property
    def narrow(self) -> Slicing | None:
        """Slices with rows that fit, where a single window is larger than its half.

        It must be a depthwise convolution with one row of output.
        """
        half, ends, first = self.config.act_depth // 2, [], 0
        window = len(self.source_rows(0, 1)) * self.window.pitch
        if (not self.streams or window <= half or self.stage.output.shape[1] > 1
                or {channel for channel, _, _ in self.taps.places} != {0}):
            return None
        for tile in range(1, self.tiles):
            rows = self.source_rows(0, 1, range(first, tile + 1))
            if len(rows) * self.window.pitch > half // 2:
                ends.append(tile)
                first = tile
        return Slicing(tuple(ends), (self.taps.groups,)) if ends else None

    @property
    def weights_stay(self) -> bool:
        """All of a streamed stage's weights fit beside those of another."""
        return self.streamed and self.tiles * self.taps.groups <= self.config.weight_depth // 2

    def blocks(self) -> list[Block]:
        """In the order in which they are computed."""
        if slicing := self.overlap or self.narrow:
            return self._sliced(slicing)
        strips, chunks = (
            [(first, min(size, count - first)) for first in range(0, count, size)]
            for count, size in ((self.stage.output.shape[1], self.cut.rows),
                                (self.taps.groups, self.cut.groups)))
        tiles = range(self.tiles)
        if self.streamed and not (self.weights_stay or self.streams or self.paired):
            return [Block(*strip, *chunk, tiles) for chunk in chunks for strip in strips]
        return [Block(*strip, *chunk, tiles) for strip in strips for chunk in chunks]

    def _sliced(self, slicing: Slicing) -> list[Block]:
        """Blocks of the only output row."""
        begun = (0, *slicing.ends)
        blocks = [Block(0, 1, 0, self.taps.groups, range(*tiles)) for tiles in pairwise(begun)]
        group = 0
        for groups in slicing.groups:
            blocks.append(Block(0, 1, group, groups, range(begun[-1], self.tiles)))
            group += groups
        return blocks

    @property
    def least_groups(self) -> int:
        """Groups that a block must have."""
        # what is read slice by slice cannot be read again for other groups
        return self.taps.groups if self.whole_strips or self.narrow else 1

    def guess(self, other: "Plan | None" = None) -> Cut:
        """Where the search begins: with few blocks that fit and are under way side by side.

        The strips do for ``other``, too.
        """
        plans, height = [self, *([other] if other else [])], self.stage.output.shape[1]
        count = max(-(-height // min(plan._most_rows() for plan in plans)),
                    *(plan._wanted_strips() for plan in plans), 1)
        rows = -(-height // count)
        return Cut(rows, max(self.least_groups, self._groups(rows, -(-height // rows))))

    def _wanted_strips(self) -> int:
        """Enough strips of which none is too short, or one."""
        height, work = self.stage.output.shape[1], self.tiles * self.taps.groups
        for count in range(min(LEAST_BLOCKS, height), 1, -1):
            last = height - (count - 1) * -(-height // count)
            shortest = self.positions(last) if last > 0 else 0
            if shortest >= REUSE and work * shortest >= SHORT:
                return count
        return 1

    def _most_rows(self) -> int:
        """Most output rows of a block."""
        height = self.stage.output.shape[1]
        # a quarter of each scratchpad, so that blocks are under way; more where that is too little
        for share in (4, 2, 1):
            for rows in range(height, 0, -1):
                if self.fits(Cut(rows, self.least_groups), share):
                    return rows
        self._refuse()

    def fits(self, cut: Cut, share: int = 1) -> bool:
        """Blocks fit that take no more than their share of each scratchpad."""
        c, rows, groups = self.config, cut.rows, cut.groups
        half = c.act_depth // 2
        if self.streamed and self.tiles * groups > c.weight_depth:
            return False
        if self.narrow:
            if self._least_source() > half:
                return False
        elif self.streams:      # the next block's rows are loaded meanwhile
            source = self.source_rows(0, rows)
            following = self.source_rows(rows, rows) if share > 1 else source
            if (following.stop - source.start) * self.window.pitch > half:
                return False
        _, height, width = self.stage.output.shape
        # a strip is passed on before the one in front of it has been read
        return (self.positions(rows) * groups <= c.acc_depth // share
                and (not self.uses_output or rows * width * groups <= c.out_depth // share)
                and (not self.whole_strips or min(2 * rows, height) * width * groups <= half))

    @property
    def uses_output(self) -> bool:
        """The output scratchpad takes part."""
        return self.stored or self.stage.add is not None

    def _groups(self, rows: int, strips: int) -> int:
        """Groups of a block of ``rows`` output rows."""
        c, groups = self.config, self.taps.groups
        work, blocks = self.tiles * self.positions(rows), -(-LEAST_BLOCKS // strips)
        most = max(1, -(-groups // blocks), -(-SHORT // work))
        rooms = [(c.acc_depth // 2, self.positions(rows))]
        if self.uses_output:
            rooms.append((c.out_depth // 2, rows * self.stage.output.shape[2]))
        if self.streamed and not self.weights_stay:
            rooms.append((c.weight_depth // 2, self.tiles))
        return max(1, min(most, *(room // need for room, need in rooms)))

    def _least_source(self) -> int:
        """Words of the source that one GEMM for one output row reads."""
        slices = pairwise((0, *(self.narrow.ends if self.narrow else ()), self.tiles))
        return self.window.pitch * max(len(self.source_rows(0, 1, range(*tiles)))
                                       for tiles in slices)

    def _refuse(self) -> NoReturn:
        c, stage, groups = self.config, self.stage, self.least_groups
        needs = [("acc_depth", c.acc_depth, self.positions(1) * groups),
                 ("out_depth", c.out_depth,
                  stage.output.shape[2] * groups if self.uses_output else 0),
                 ("weight_depth", c.weight_depth, self.tiles * groups if self.streamed else 0),
                 ("act_depth", c.act_depth, 2 * max(
                     self._least_source() if self.streams else 0,
                     min(2, stage.output.shape[1]) * stage.output.shape[2] * groups
                     if self.whole_strips else 0))]
        raise CompileError(f"layer {stage.conv.name!r}: one output row needs " + ", ".join(
            f"{name} >= {need}, not {has}" for name, has, need in needs if need > has))

    def tiles_outer(self, block: Block) -> bool:
        """A tile of every group before the next tile: where a group has too few positions."""
        positions = self.positions(block.rows)
        return (len(block.tiles) == self.tiles
                and 1 < positions < REUSE <= positions * block.groups
                and block.rows == self.stage.output.shape[1])

    def tile_order(self, block: Block) -> Iterator[tuple[int, int]]:
        """Weight tiles ``(group, tile)`` of a block as they are used."""
        groups = range(block.group, block.group + block.groups)
        if self.tiles_outer(block):
            yield from ((group, tile) for tile in block.tiles for group in groups)
        else:
            yield from ((group, tile) for group in groups for tile in block.tiles)

    def tiles_before(self, block: Block) -> int:
        """Weight tiles of the stage that lie in front of a block's."""
        return self.taps.groups * block.tiles.start + block.group * len(block.tiles)
