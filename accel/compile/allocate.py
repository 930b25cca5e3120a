"""Scratchpad addresses and lifetimes of the activation tensors."""
from math import prod

from accel.compile.stages import CompileError, Stage
from accel.graph import Tensor
from accel.program import Layout
from accel.spec.config import AccelConfig


def allocate(input_tensor: Tensor, stages: list[Stage], config: AccelConfig, *, keep: bool,
             ) -> dict[str, Layout]:
    """Layout of each stored tensor, by name.

    Two tensors share addresses only if no stage needs both; with ``keep`` none do. Raises
    `CompileError` naming the tensor that does not fit.
    """
    tensors = [input_tensor, *(stage.output for stage in stages)]
    last_use = {tensor.name: index for index, tensor in enumerate(tensors)}
    padding = {tensor.name: (0, 0) for tensor in tensors}
    for index, stage in enumerate(stages, start=1):
        name = stage.conv.input.name
        last_use[name] = index
        (rows, cols), (top, left, bottom, right) = padding[name], stage.conv.padding
        padding[name] = (max(rows, top, bottom), max(cols, left, right))
    if keep:
        last_use = dict.fromkeys(last_use, len(stages))

    layouts: dict[str, Layout] = {}
    held: list[tuple[int, int, int]] = []       # first word, words, last use
    for index, tensor in enumerate(tensors):
        held = [place for place in held if place[2] >= index]
        make = _planar if index == 0 else _channels_last
        words = _words(tensor, padding[tensor.name], config, planar=index == 0)
        base = _first_fit(held, words)
        if base + words > config.act_depth:
            raise CompileError(
                f"tensor {tensor.name!r} {tensor.shape} needs {words} words of the activation "
                f"scratchpad, but act_depth = {config.act_depth} leaves no such gap; at least "
                f"{base + words} would do")
        held.append((base, words, last_use[tensor.name]))
        layouts[tensor.name] = make(tensor, padding[tensor.name], base, config)
    return layouts


def halo_words(layout: Layout, config: AccelConfig) -> tuple[int, int]:
    """First word and count of words of a tensor with its halo."""
    _, height, width = layout.shape
    rows, cols = height + 2 * layout.padding[0], width + 2 * layout.padding[1]
    size = (rows - 1) * layout.row_stride + cols * layout.col_stride
    return layout.start // config.word_lanes, size // config.word_lanes


def _words(tensor: Tensor, padding: tuple[int, int], config: AccelConfig, *, planar: bool) -> int:
    channels, *size = tensor.shape
    positions = prod(n + 2 * p for n, p in zip(size, padding, strict=True))
    if planar:
        return -(-channels * positions // config.word_lanes)
    return positions * -(-channels // config.cols)


def _planar(tensor: Tensor, padding: tuple[int, int], base: int, config: AccelConfig) -> Layout:
    """The host's order, ``(c, y, x)``: no lane is wasted on images of few channels."""
    channels, height, width = tensor.shape
    row = width + 2 * padding[1]
    plane = (height + 2 * padding[0]) * row
    return Layout(tensor.shape, base * config.word_lanes + padding[0] * row + padding[1],
                  tuple(plane * channel for channel in range(channels)), row, 1, padding,
                  tensor.scale, tensor.zero_point)


def _channels_last(tensor: Tensor, padding: tuple[int, int], base: int, config: AccelConfig,
                   ) -> Layout:
    """The vector unit's order: a word holds the `cols` channels of one array pass."""
    channels, _, width = tensor.shape
    lanes = config.word_lanes
    col = -(-channels // config.cols) * lanes
    row = (width + 2 * padding[1]) * col
    offsets = tuple(channel // config.cols * lanes + channel % config.cols
                    for channel in range(channels))
    return Layout(tensor.shape, base * lanes + padding[0] * row + padding[1] * col, offsets,
                  row, col, padding, tensor.scale, tensor.zero_point)


def _first_fit(held: list[tuple[int, int, int]], words: int) -> int:
    base = 0
    for first, count, _ in sorted(held):
        if base + words <= first:
            break
        base = max(base, first + count)
    return base
