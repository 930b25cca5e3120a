"""Weights, row offsets and scales as words of the memories."""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accel.compile.stages import CompileError
from accel.graph import Conv2d, IntArray
from accel.spec.cells import OFF, Operation
from accel.spec.config import AccelConfig
from accel.spec.link import offset_bits, param_bits, param_code
from accel.verify import sum_fault

#: Marks what is no weight; none is as small.
ABSENT = np.iinfo(np.int64).min


@dataclass(frozen=True, eq=False)
class Taps:
    """A convolution as sums over rows of the array.

    Members
    -------
    places
        Per tap: channel, row and column of its activation, seen from the window's first element;
        channels are those of a group's first.
    codes
        ``(groups, taps, cols)``: weight code of each column for each tap.
    by_lane
        Columns take the lane of their own (depthwise mode).
    per_group
        A group reads the channels that it computes, and not all of them.
    """

    places: tuple[tuple[int, int, int], ...]
    codes: IntArray
    by_lane: bool
    per_group: bool

    @property
    def groups(self) -> int:
        """Passes of `cols` output channels."""
        return len(self.codes)


def taps_of(conv: Conv2d, config: AccelConfig) -> Taps:
    """How the array computes ``conv``; elements without a tap are `OFF`."""
    codes = _codes(conv, config)
    cols, out = config.cols, len(conv.weight)
    groups = -(-out // cols)
    _, depth, height, width = codes.shape
    window = [(y * conv.dilation[0], x * conv.dilation[1])
              for y in range(height) for x in range(width)]
    if conv.groups == conv.input.shape[0] == out and depth == 1 and conv.groups > 1:
        flat = np.full((groups * cols, len(window)), OFF)
        flat[:out] = codes.reshape(out, -1)
        own = flat.reshape(groups, cols, len(window))
        if config.depthwise:
            return Taps(tuple((0, y, x) for y, x in window), own.transpose(0, 2, 1), True, True)
        few = min(cols, out)
        apart = np.full((groups, few, len(window), cols), OFF)
        for channel in range(few):
            apart[:, channel, :, channel] = own[:, channel]
        return Taps(tuple((c, y, x) for c in range(few) for y, x in window),
                    apart.reshape(groups, few * len(window), cols), False, True)
    whole = np.full((groups * cols, conv.input.shape[0], height, width), OFF)
    for channel, kernel in enumerate(codes):
        first = channel // (out // conv.groups) * depth
        whole[channel, first:first + depth] = kernel
    return Taps(tuple((c, y, x) for c in range(conv.input.shape[0]) for y, x in window),
                whole.reshape(groups, cols, -1).transpose(0, 2, 1), False, False)


def tile_rows(taps: Taps, config: AccelConfig, order: Sequence[tuple[int, int]]) -> list[int]:
    """Words of the weight tiles ``(group, tile)`` in ``order``, `rows` words each."""
    rows, words = config.rows, []
    for group, tile in order:
        for tap in range(tile * rows, (tile + 1) * rows):
            columns = taps.codes[group, tap].tolist() if tap < len(taps.places) else ()
            words.append(sum(code << (config.weight_bits * col)
                             for col, code in enumerate(columns)) if columns else OFF)
    return words


def _codes(conv: Conv2d, config: AccelConfig) -> IntArray:
    """Code of each of ``conv``'s weights."""
    cell, operation = config.cell_spec, conv.operation
    weight = conv.weight
    if _sums_distances(conv, config):
        if fault := sum_fault(config):      # of a copy; the graph's own are verified
            raise CompileError(f"{conv.name}: {fault}")
        operation = Operation.DISTANCE
        weight = np.where(weight == 1, cell.weights_of(operation)[0], ABSENT)
    members, places = np.unique(weight, return_inverse=True)
    codes = np.array([OFF if member == ABSENT else cell.encode(int(member), operation)
                      for member in members])
    return codes[places.reshape(weight.shape)]


def _sums_distances(conv: Conv2d, config: AccelConfig) -> bool:
    """Whether activations are to be added up, with weights 0 and 1, by cells that cannot multiply.

    No activation is below the lowest weight, hence a distance from it is a difference:
    ``-sum |x - low| == count * low - sum x``. A negative multiplier makes the sum of it.
    """
    return conv.operation not in config.cell_spec.operations


def offset_words(offsets: Sequence[int], config: AccelConfig) -> tuple[int, ...]:
    """Words of the offset memory for taps that lie ``offsets`` elements from their window.

    Rows beyond the last tap read the window's first activation, which does not count.
    """
    bits, rows = offset_bits(config), config.rows
    filled = [*offsets, *[0] * (-len(offsets) % rows)]
    return tuple(sum(offset % config.act_elements << (bits * row)
                     for row, offset in enumerate(filled[first:first + rows]))
                 for first in range(0, len(filled), rows))


def param_words(conv: Conv2d, group: int, config: AccelConfig) -> list[int]:
    """Bias and scale words of a group of `cols` channels, whole lane groups."""
    bits = param_bits(config)
    first = group * config.cols
    last = min(first + config.cols, len(conv.weight))
    lanes = -(-(last - first) // config.vector_lanes) * config.vector_lanes
    entries = [_entry(conv, channel, config) if channel < last else 0
               for channel in range(first, first + lanes)]
    size = config.param_lanes
    return [sum(entry << (bits * lane) for lane, entry in enumerate(entries[at:at + size]))
            for at in range(0, lanes, size)]


def _entry(conv: Conv2d, channel: int, config: AccelConfig) -> int:
    bias, multiplier, shift = (int(values[channel]) for values in (
        conv.bias, conv.multiplier, conv.shift))
    if _sums_distances(conv, config):
        low = config.cell_spec.weights_of(Operation.DISTANCE)[0]
        bias, multiplier = -int(conv.weight[channel].sum()) * low - bias, -multiplier
    return param_code(config, bias, multiplier, shift)
