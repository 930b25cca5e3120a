"""Where tensors live: layouts in memory, and geometry in the activation scratchpad."""
from collections.abc import Sequence
from dataclasses import dataclass, replace

from accel.compile.stages import CompileError, Joined, Stage
from accel.graph import Graph, Tensor
from accel.program import Layout
from accel.spec.config import AccelConfig


@dataclass(frozen=True)
class Window:
    """The source of a stage, with its padding, in the activation scratchpad.

    Members
    -------
    pitch
        Words per row.
    left, right
        Words of padding in each row that memory does not hold.
    start
        Elements from the begin of a row to the first position of a window.
    rows
        Rows, padding included.
    """

    pitch: int
    left: int
    right: int
    start: int
    col_stride: int
    channel_offsets: tuple[int, ...]
    rows: int

    @property
    def words(self) -> int:
        """Size of the whole tensor."""
        return self.pitch * self.rows


def words_per_position(tensor: Tensor, config: AccelConfig) -> int:
    """Words that the channels of one position take."""
    return -(-tensor.shape[0] // config.cols)


def channel_offsets(tensor: Tensor, config: AccelConfig) -> tuple[int, ...]:
    """Elements from a position's first word to each channel: a word holds `cols` of them."""
    return tuple(channel // config.cols * config.word_lanes + channel % config.cols
                 for channel in range(tensor.shape[0]))


def window_of(stage: Stage, layout: Layout | None, config: AccelConfig) -> Window:
    """How the source of ``stage`` lies in the scratchpad; without a layout, by position."""
    (top, left, bottom, right), lanes = stage.conv.padding, config.word_lanes
    _, height, width = stage.conv.input.shape
    rows = height + top + bottom
    if layout and layout.planar:    # memory holds the padding's columns
        return Window(layout.row_stride // lanes, 0, 0, layout.origin - layout.start - left, 1,
                      layout.channel_offsets, rows)
    words = layout.col_stride // lanes if layout else words_per_position(stage.conv.input, config)
    offsets = layout.channel_offsets if layout else channel_offsets(stage.conv.input, config)
    return Window((left + width + right) * words, left * words, right * words, 0, words * lanes,
                  offsets, rows)


class Memory:
    """First-fit allocation of memory words with lifetimes in stages."""

    def __init__(self, config: AccelConfig) -> None:
        self.config = config
        self.held: list[tuple[int, int, int]] = []      # first word, words, last use

    def take(self, name: str, words: int, now: int, last_use: int) -> int:
        """First of ``words`` free words; `CompileError` names what does not fit."""
        self.held = [place for place in self.held if place[2] >= now]
        base = 0
        for first, count, _ in sorted(self.held):
            if base + words <= first:
                break
            base = max(base, first + count)
        if base + words > self.config.mem_depth:
            raise CompileError(f"{name} needs {words} words of memory, but mem_depth = "
                               f"{self.config.mem_depth} leaves no such gap; at least "
                               f"{base + words} would do")
        self.held.append((base, words, last_use))
        return base


def layouts_of(graph: Graph, stages: Sequence[Stage], joined: Joined, memory: Memory,
               near: frozenset[str], in_blocks: frozenset[str], config: AccelConfig, *,
               keep: bool) -> dict[str, Layout]:
    """Layout of every tensor that memory holds, by name; those in ``near`` never go there.

    Of these, the ones ``in_blocks`` are read while their stage still computes, and reads itself.
    The parts of a tensor in ``joined`` lie inside it.
    """
    tensors = [graph.input, *(stage.output for stage in stages)]
    whole_of = {part.name: name for name, parts in joined.items() for part in parts}
    last_use: dict[str, int] = {}
    for index, tensor in enumerate(tensors):
        last_use[whole_of.get(tensor.name, tensor.name)] = index
    for index, stage in enumerate(stages, start=1):
        for source in stage.sources:
            last_use[whole_of.get(source.name, source.name)] = (
                index + (stage.output.name in in_blocks))
    last_use[graph.output.name] = len(stages) + 1
    layouts: dict[str, Layout] = {}
    for index, tensor in enumerate(tensors):
        if tensor.name in near or tensor.name in layouts:
            continue
        name = whole_of.get(tensor.name, tensor.name)
        made = (_joined_layouts(name, joined[name], config) if name in joined else
                {name: _input_layout(tensor, stages, config) if index == 0
                 else _by_position(tensor, config)})
        size = made[name].size // config.word_lanes
        base = memory.take(f"tensor {name!r} {made[name].shape}", size, index,
                           len(stages) + 1 if keep else last_use[name])
        layouts |= {part: _moved(layout, base * config.word_lanes)
                    for part, layout in made.items()}
    return layouts


def _joined_layouts(name: str, parts: Sequence[Tensor], config: AccelConfig) -> dict[str, Layout]:
    """A concatenated tensor and its parts, each in words of its own of every position."""
    (_, height, width), lanes = parts[0].shape, config.word_lanes
    first, offsets = 0, {}
    for part in parts:
        offsets[part.name] = tuple(first + offset for offset in channel_offsets(part, config))
        first += words_per_position(part, config) * lanes
    whole = tuple(offset for part in parts for offset in offsets[part.name])

    def layout(channels: tuple[int, ...], tensor: Tensor) -> Layout:
        return Layout((len(channels), height, width), 0, height * width * first, 0, channels,
                      width * first, first, False, tensor.scale, tensor.zero_point)

    return {name: layout(whole, parts[0]),
            **{part.name: layout(offsets[part.name], part) for part in parts}}


def _moved(layout: Layout, start: int) -> Layout:
    return replace(layout, start=start, origin=layout.origin + start)


def _by_position(tensor: Tensor, config: AccelConfig) -> Layout:
    """The vector unit's order: the channels of a position side by side."""
    _, height, width = tensor.shape
    col = words_per_position(tensor, config) * config.word_lanes
    return Layout(tensor.shape, 0, height * width * col, 0, channel_offsets(tensor, config),
                  width * col, col, False, tensor.scale, tensor.zero_point)


def _input_layout(tensor: Tensor, stages: Sequence[Stage], config: AccelConfig) -> Layout:
    """By position, or with a row's channels one after the other where that is smaller.

    Then the columns of the halo lie in memory, as words hold several columns.
    """
    plain = _by_position(tensor, config)
    readers = [stage for stage in stages if tensor.name in [s.name for s in stage.sources]]
    if any(stage.conv.groups > 1 or tensor == stage.other
           or stage.pad_value != tensor.zero_point for stage in readers):
        return plain
    channels, height, width = tensor.shape
    left = max(stage.conv.padding[1] for stage in readers)
    right = max(stage.conv.padding[3] for stage in readers)
    lanes = config.word_lanes
    plane = -(-(left + width + right) // lanes) * lanes
    if width == 1 or height * channels * plane >= plain.size:
        return plain
    return Layout(tensor.shape, 0, height * channels * plane, left,
                  tuple(channel * plane for channel in range(channels)), channels * plane, 1,
                  True, tensor.scale, tensor.zero_point)
