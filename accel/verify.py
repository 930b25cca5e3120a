"""What must hold before a graph is run or compiled: one error with everything that does not."""
from collections.abc import Iterator
from math import prod

import numpy as np

from accel.graph import (
    Activation,
    Add,
    Clamp,
    Concat,
    Conv2d,
    Graph,
    GraphError,
    IntArray,
    MaxPool2d,
    Node,
    Padding,
    Tensor,
)
from accel.spec.cells import Operation, cells_for
from accel.spec.config import AccelConfig
from accel.spec.numerics import (
    ADD_MAX_SHIFT,
    ADD_MULTIPLIER_BITS,
    SHIFT_BITS,
    TFLITE_MULTIPLIER_BITS,
    limits,
)

Pair = tuple[int, int]
Faults = Iterator[str]


def verify(network: Graph, config: AccelConfig) -> None:
    """Check shapes, ranges and formats; `GraphError` lists every fault."""
    faults = [] if network.nodes else ["the graph has no nodes"]
    faults += [f"input {fault}" for fault in _tensor_faults(network.input, config)]
    known = {network.input.name: network.input}
    for node in network.nodes:
        problems = [f"reads {source.name!r}, which no earlier node computes"
                    for source in node.inputs if known.get(source.name) != source]
        if node.output.name in known:
            problems.append(f"computes {node.output.name!r} a second time")
        problems += [f"output {fault}" for fault in _tensor_faults(node.output, config)]
        problems += _node_faults(node, config)
        known[node.output.name] = node.output
        faults += [f"{node.name}: {problem}" for problem in problems]
    if faults:
        raise GraphError(f"graph {network.name!r}: " + "; ".join(faults))


def _tensor_faults(tensor: Tensor, config: AccelConfig) -> Faults:
    low, high = limits(config.act_bits)
    if not low <= tensor.zero_point <= high:
        yield f"{tensor.name!r}: zero point must be in {low}..{high}, not {tensor.zero_point}"
    if not 0 < tensor.scale < float("inf"):
        yield f"{tensor.name!r}: scale must be positive and finite, not {tensor.scale!r}"
    if len(tensor.shape) != 3 or min(tensor.shape) < 1:
        yield (f"{tensor.name!r}: shape must be (channels, height, width), each at least 1, not "
               f"{tensor.shape}")


def _node_faults(node: Node, config: AccelConfig) -> Faults:
    if isinstance(node, Conv2d):
        yield from _conv_faults(node, config)
    elif isinstance(node, Add):
        yield from _add_faults(node, config)
    elif isinstance(node, Activation):
        yield from _activation_faults(node, config)
    else:
        yield from _quantization_faults(node)
        if isinstance(node, Clamp):
            yield from _shape_faults(node, node.input.shape)
            yield from _clamp_faults(node, config)
        elif isinstance(node, Concat):
            yield from _concat_faults(node)
        else:
            yield from _pool_faults(node)


def _shape_faults(node: Node, expected: tuple[int, ...]) -> Faults:
    if node.output.shape != expected:
        yield f"output shape must be {expected}, not {node.output.shape}"


def _quantization_faults(node: Clamp | Concat | MaxPool2d) -> Faults:
    """Of nodes that only choose among codes."""
    form = node.output.scale, node.output.zero_point
    yield from (f"input {source.name!r} has scale {source.scale!r} and zero point "
                f"{source.zero_point}, the output {form[0]!r} and {form[1]}; a "
                f"{type(node).__name__} cannot change them" for source in node.inputs
                if (source.scale, source.zero_point) != form)


def _clamp_faults(node: Clamp, config: AccelConfig) -> Faults:
    low, high = limits(config.act_bits)
    if not low <= node.low <= node.high <= high:
        yield f"limits must rise within {low}..{high}, not {node.low}..{node.high}"


def _concat_faults(node: Concat) -> Faults:
    shapes = [source.shape for source in node.inputs]
    if not shapes or len({shape[1:] for shape in shapes}) > 1:
        yield f"inputs must have one height and width, not {shapes}"
    else:
        yield from _shape_faults(node, (sum(shape[0] for shape in shapes), *shapes[0][1:]))


def _pool_faults(node: MaxPool2d) -> Faults:
    if faults := list(_window_faults(node.kernel, node.stride, (1, 1), node.padding)):
        yield from faults
        return
    top, left, bottom, right = node.padding
    if max(top, bottom) >= node.kernel[0] or max(left, right) >= node.kernel[1]:
        yield f"padding {node.padding} must be smaller than the kernel {node.kernel}"
    yield from _size_faults(node, node.input.shape[0], node.kernel, node.stride, node.padding)


def _window_faults(kernel: Pair, stride: Pair, dilation: Pair, padding: Padding) -> Faults:
    for name, values, count, least in (("kernel", kernel, 2, 1), ("stride", stride, 2, 1),
                                       ("dilation", dilation, 2, 1), ("padding", padding, 4, 0)):
        if len(values) != count or min(values) < least:
            yield f"{name} must be {count} numbers of at least {least}, not {values}"


def _size_faults(node: Conv2d | MaxPool2d, channels: int, extent: Pair, stride: Pair,
                 padding: Padding) -> Faults:
    """Of the output's shape, or of an input that the window is too large for."""
    top, left, bottom, right = padding
    _, height, width = node.input.shape
    size = height + top + bottom, width + left + right
    if extent[0] > size[0] or extent[1] > size[1]:
        yield f"a window of {extent} does not fit the padded input of {size}"
    else:
        yield from _shape_faults(node, (channels, *(
            (n - k) // s + 1 for n, k, s in zip(size, extent, stride, strict=True))))


def _activation_faults(node: Activation, config: AccelConfig) -> Faults:
    yield from _shape_faults(node, node.input.shape)
    specs = {spec.function: spec for spec in config.activation_specs}
    if node.function not in specs:
        yield (f"activation {node.function!r} is not in config {config.name!r}, which has "
               f"{', '.join(specs) or 'none'}")
    elif node.function != "relu":
        spec = specs[node.function]
        yield from (f"{side} of {node.function} must have scale 2**-{frac} and zero point 0, not "
                    f"{tensor.scale!r} and {tensor.zero_point}"
                    for side, tensor, frac in (("input", node.input, spec.in_frac),
                                               ("output", node.output, spec.out_frac))
                    if (tensor.scale, tensor.zero_point) != (2.0 ** -frac, 0))


def _add_faults(node: Add, config: AccelConfig) -> Faults:
    for source in node.inputs:
        yield from _shape_faults(node, source.shape)
    single = config.rounding == "single"
    bits = ADD_MULTIPLIER_BITS if single else TFLITE_MULTIPLIER_BITS
    most = (1 << bits) - 1
    low, high = (1, ADD_MAX_SHIFT) if single else (TFLITE_MULTIPLIER_BITS, (1 << SHIFT_BITS) - 2)
    if config.scale_terms:
        yield from (fault for multiplier in node.multipliers
                    if (fault := config.scales.summand_fault(multiplier)))
    else:
        yield from _range_faults("multipliers", np.array(node.multipliers), 0, most)
    yield from _range_faults("shifts", np.array(node.shifts), *((0, 0) if single else (low, high)))
    yield from _range_faults("multiplier", np.array(node.multiplier),
                             *((1, 1) if single else (0, most)))
    yield from _range_faults("shift", np.array(node.shift), low, high)


def _conv_faults(node: Conv2d, config: AccelConfig) -> Faults:
    faults = list(_structure_faults(node))
    yield from faults
    yield from _weight_faults(node, config)
    low, high = limits(config.act_bits)
    if node.offset is not None and not low <= node.offset <= high:
        yield f"offset must be in {low}..{high}, not {node.offset}"
    if not faults:
        yield from _size_faults(node, len(node.weight), node.extent, node.stride, node.padding)
        tflite = config.rounding == "tflite"
        yield from (fault for multiplier in np.unique(node.multiplier)
                    if (fault := config.scales.fault(int(multiplier))))
        yield from _range_faults("shift", node.shift, 1, (1 << SHIFT_BITS) - 1 - tflite)
        yield from _sum_faults(node, config)


def _structure_faults(node: Conv2d) -> Faults:
    """Of the parameters' shapes; without any, the node can be computed with."""
    if node.weight.ndim != 4 or not prod(node.weight.shape):
        yield (f"weight must have shape (out, in / groups, height, width), each at least 1, not "
               f"{node.weight.shape}")
        return
    out, channels, *kernel = node.weight.shape
    if node.groups < 1 or out % node.groups or node.input.shape[0] % node.groups:
        yield (f"groups must divide the {node.input.shape[0]} input and {out} output channels, "
               f"not be {node.groups}")
    elif channels * node.groups != node.input.shape[0]:
        yield (f"weights for {channels * node.groups} input channels, but the input has "
               f"{node.input.shape[0]}")
    yield from _window_faults((kernel[0], kernel[1]), node.stride, node.dilation, node.padding)
    for name, array in (("bias", node.bias), ("multiplier", node.multiplier),
                        ("shift", node.shift)):
        if array.shape != (out,):
            yield f"{name} must have shape {(out,)}, not {array.shape}"
    for name, array in (("weight", node.weight), ("bias", node.bias),
                        ("multiplier", node.multiplier), ("shift", node.shift)):
        if array.dtype != np.int64:
            yield f"{name} must be int64, not {array.dtype}"


def _weight_faults(node: Conv2d, config: AccelConfig) -> Faults:
    cell = config.cell_spec
    if node.operation in cell.operations:
        codable = set(cell.weights_of(node.operation))
    elif node.operation is Operation.PRODUCT and not set(np.unique(node.weight)) - {0, 1}:
        codable = {0, 1}        # sums, which distances give too (`compile.pack`)
        if fault := sum_fault(config):
            yield fault
    else:
        yield f"needs {' or '.join(cells_for(node.operation))} cells, not {cell.kind}"
        return
    if strange := sorted(set(np.unique(node.weight).tolist()) - codable):
        yield (f"weights {strange[:4]} have no code in a {cell.kind} cell of "
               f"{cell.weight_bits} bits")


def sum_fault(config: AccelConfig) -> str:
    """Why distances cannot add up activations, with any below their lowest weight; or empty."""
    need, have = config.act_bits + 1, config.weight_bits
    return (f"adds up activations of {config.act_bits} bits, which takes weight_bits >= {need} in "
            f"an add cell, not {have}" if have < need else "")


def _sum_faults(node: Conv2d, config: AccelConfig) -> Faults:
    """Of accumulators that may overflow; worst codes at every tap, whatever their order."""
    operations = config.cell_spec.operations
    low, high = limits(config.act_bits)
    largest = (np.maximum(abs(low - node.weight), abs(high - node.weight))
               if node.operation is Operation.DISTANCE else abs(node.weight) * -low)
    worst = largest.sum(axis=(1, 2, 3)) + abs(node.bias) + (node.multiplier < 0)
    if node.operation not in operations and Operation.DISTANCE in operations:
        first = config.cell_spec.weights_of(Operation.DISTANCE)[0]
        count = node.weight.sum(axis=(1, 2, 3))
        worst = count * (high - first) + abs(count * first + node.bias) + 1
    most = int(worst.max())
    if most > limits(config.acc_bits)[1]:
        yield (f"an accumulator may reach {most}, which needs acc_bits >= "
               f"{most.bit_length() + 1}, not {config.acc_bits}")
    elif config.rounding == "tflite":
        left = np.clip(TFLITE_MULTIPLIER_BITS - node.shift, 0, TFLITE_MULTIPLIER_BITS)
        if (most := int((worst << left).max())) >= 1 << 31:
            yield (f"an accumulator may reach {most} after the left shift that a shift below "
                   f"{TFLITE_MULTIPLIER_BITS} means; tflite rounding has 32 bits for it")


def _range_faults(name: str, values: IntArray, low: int, high: int) -> Faults:
    if values.min() < low or values.max() > high:
        given = f"{values.min()}..{values.max()}" if values.size > 1 else str(values.min())
        yield f"{name} must be in {low}..{high}, not {given}"
