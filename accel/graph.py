"""The integer graph: what the network computes, before any thought of hardware.

Every tensor holds signed activation codes; ``real = scale * (code - zero_point)``. A fully
connected layer is a convolution whose kernel covers its input. Arrays are numpy ``int64``.
"""
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from accel.spec.cells import CellSpec, Operation
from accel.spec.config import AccelConfig
from accel.spec.errors import InputError
from accel.spec.numerics import MULTIPLIER_BITS, SHIFT_BITS, limits

IntArray = npt.NDArray[np.int64]
#: Rows above, columns to the left, rows below, columns to the right.
Padding = tuple[int, int, int, int]
NO_PADDING: Padding = (0, 0, 0, 0)


class GraphError(InputError):
    """A graph that has no meaning or that the configuration cannot express."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of shape ``(channels, height, width)`` per image."""

    name: str
    shape: tuple[int, int, int]
    scale: float
    zero_point: int


@dataclass(frozen=True, eq=False)
class Conv2d:
    """Convolution, bias and per-channel requantization (`numerics.requantize`).

    ``weight`` is ``(out, in / groups, kernel_h, kernel_w)``; ``bias`` (input zero point folded
    in), ``multiplier`` and ``shift`` are ``(out,)``. Padding reads the input's zero point. A mean
    over windows is a depthwise convolution whose weights are all 1.

    Members
    -------
    offset
        Added after scaling; None: the output's zero point.
    """

    name: str
    input: Tensor
    output: Tensor
    weight: IntArray
    bias: IntArray
    multiplier: IntArray
    shift: IntArray
    stride: tuple[int, int] = (1, 1)
    padding: Padding = NO_PADDING
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    offset: int | None = None

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The tensors it reads."""
        return (self.input,)

    @property
    def extent(self) -> tuple[int, int]:
        """Rows and columns that a dilated kernel spans."""
        _, _, *kernel = self.weight.shape
        rows, cols = ((k - 1) * d + 1 for k, d in zip(kernel, self.dilation, strict=True))
        return rows, cols


@dataclass(frozen=True)
class Add:
    """Sum of two tensors of one shape, each with its own scale: `numerics.add`.

    ``multipliers`` and ``shifts`` scale the two inputs, less their zero points; ``multiplier`` and
    ``shift`` the sum.
    """

    name: str
    inputs: tuple[Tensor, Tensor]
    output: Tensor
    multipliers: tuple[int, int]
    shifts: tuple[int, int]
    multiplier: int
    shift: int


@dataclass(frozen=True)
class Activation:
    """A function on codes: ``relu``, or a truth table of the configuration (`spec.tables`)."""

    name: str
    input: Tensor
    output: Tensor
    function: str

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The tensors it reads."""
        return (self.input,)


@dataclass(frozen=True)
class Clamp:
    """Codes limited to ``low..high``; input and output share one quantization."""

    name: str
    input: Tensor
    output: Tensor
    low: int
    high: int

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The tensors it reads."""
        return (self.input,)


@dataclass(frozen=True)
class MaxPool2d:
    """Maximum over windows; padding never wins. Input and output share one quantization."""

    name: str
    input: Tensor
    output: Tensor
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding = NO_PADDING

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The tensors it reads."""
        return (self.input,)


@dataclass(frozen=True)
class Concat:
    """Channels of several tensors one after the other; all share one quantization."""

    name: str
    inputs: tuple[Tensor, ...]
    output: Tensor


Node = Conv2d | Add | Activation | Clamp | MaxPool2d | Concat


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in execution order; each reads ``input`` or the output of an earlier node."""

    name: str
    input: Tensor
    nodes: tuple[Node, ...]

    @property
    def output(self) -> Tensor:
        """The last node's output."""
        return self.nodes[-1].output

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates per image, padding included."""
        return sum(node.weight.size * node.output.shape[1] * node.output.shape[2]
                   for node in self.nodes if isinstance(node, Conv2d))

    def verify(self, config: AccelConfig) -> None:
        """Check shapes, ranges and formats; `GraphError` lists every fault."""
        faults: list[str] = []
        known = {self.input.name: self.input}
        if not self.nodes:
            faults.append("the graph has no nodes")
        for node in self.nodes:
            problems = list(_node_faults(node, config))
            if known.get(node.input.name) != node.input:
                problems.insert(0, f"reads {node.input.name!r}, which no earlier node computes")
            if node.output.name in known:
                problems.append(f"computes {node.output.name!r} a second time")
            known[node.output.name] = node.output
            faults += [f"{node.name}: {problem}" for problem in problems]
        if faults:
            raise GraphError(f"graph {self.name!r}: " + "; ".join(faults))


def _node_faults(node: Node, config: AccelConfig) -> list[str]:
    low, high = limits(config.act_bits)
    faults = [f"zero point of {tensor.name!r} must be in {low}..{high}, not {tensor.zero_point}"
              for tensor in (node.input, node.output) if not low <= tensor.zero_point <= high]
    if isinstance(node, Conv2d):
        return faults + _conv_faults(node, config)
    if isinstance(node, MaxPool2d):
        _, h, w = node.input.shape
        size = [(n - k) // s + 1 for n, k, s in zip((h, w), node.kernel, node.stride, strict=True)]
        expected = (node.input.shape[0], *size)
        same = (node.input.scale, node.input.zero_point) == (node.output.scale,
                                                             node.output.zero_point)
        if not same:
            faults.append("a pooling layer cannot change scale or zero point")
    else:
        expected = node.input.shape
        functions = [spec.function for spec in config.activation_specs]
        if node.function not in functions:
            faults.append(f"activation {node.function!r} is not in config {config.name!r}, "
                          f"which has {', '.join(functions) or 'none'}")
        elif node.function != "relu":
            faults += _format_faults(node, config)
    if node.output.shape != expected:
        faults.append(f"output shape must be {expected}, not {node.output.shape}")
    return faults


def _format_faults(node: Activation, config: AccelConfig) -> list[str]:
    spec = next(s for s in config.activation_specs if s.function == node.function)
    return [f"{side} of {node.function} must have scale 2**-{frac} and zero point 0, not "
            f"{tensor.scale!r} and {tensor.zero_point}"
            for side, tensor, frac in (("input", node.input, spec.in_frac),
                                       ("output", node.output, spec.out_frac))
            if (tensor.scale, tensor.zero_point) != (2.0 ** -frac, 0)]


def _conv_faults(node: Conv2d, config: AccelConfig) -> list[str]:
    faults = []
    out, channels, *kernel = node.weight.shape
    size = [(n + 2 * p - k) // s + 1 for n, k, s, p in zip(
        node.input.shape[1:], kernel, node.stride, node.padding, strict=True)]
    if channels != node.input.shape[0]:
        faults.append(f"weights for {channels} input channels, but the input has "
                      f"{node.input.shape[0]}")
    if node.output.shape != (out, *size):
        faults.append(f"output shape must be {(out, *size)}, not {node.output.shape}")
    for name, array in (("bias", node.bias), ("multiplier", node.multiplier),
                        ("shift", node.shift)):
        if array.shape != (out,):
            faults.append(f"{name} must have shape {(out,)}, not {array.shape}")
    cell: CellSpec = config.cell_spec
    if Operation.PRODUCT not in cell.operations:
        return [f"a convolution needs a cell that multiplies, not {cell.kind}"]
    codable = set(cell.weights_of(Operation.PRODUCT))
    if strange := sorted(set(np.unique(node.weight).tolist()) - codable):
        faults.append(f"weights {strange[:4]} have no code in a {cell.kind} cell of "
                      f"{cell.weight_bits} bits")
    if not faults:
        worst = int((abs(node.weight).sum(axis=(1, 2, 3)) * (1 << (config.act_bits - 1))
                     + abs(node.bias)).max())
        if worst > limits(config.acc_bits)[1]:
            faults.append(f"an accumulator may reach {worst}, which needs acc_bits >= "
                          f"{worst.bit_length() + 1}, not {config.acc_bits}")
        for name, array, low, high in (
                ("multiplier", node.multiplier, 0, (1 << MULTIPLIER_BITS) - 1),
                ("shift", node.shift, 1, (1 << SHIFT_BITS) - 1)):
            if array.min() < low or array.max() > high:
                faults.append(f"{name} must be in {low}..{high}, not "
                              f"{array.min()}..{array.max()}")
    return faults
