"""The integer graph: what the network computes, before any thought of hardware.

Every tensor holds signed activation codes; ``real = scale * (code - zero_point)``. A fully
connected layer is a convolution whose kernel covers its input. Arrays are numpy ``int64``.
"""
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from accel.spec.cells import Operation
from accel.spec.config import AccelConfig
from accel.spec.errors import InputError

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
    operation
        What each tap adds. The weights of a `Operation.DISTANCE` are codes of the input, whose
        scale and zero point they share, so that padding adds minus the size of the weight.
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
    operation: Operation = Operation.PRODUCT

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The tensors it reads."""
        return (self.input,)

    @property
    def macs(self) -> int:
        """Terms that are summed per image, padding included; a mean or a copy has none."""
        if (self.groups == len(self.weight) > 1 and self.operation is Operation.PRODUCT
                and (self.weight == 1).all()):
            return 0
        return self.weight.size * self.output.shape[1] * self.output.shape[2]

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
    """Nodes in execution order; each reads ``input`` or the output of an earlier node.

    ``host`` names what the host computes from the output, in order (`classes.OPERATORS`).
    """

    name: str
    input: Tensor
    nodes: tuple[Node, ...]
    host: tuple[str, ...] = ()

    @property
    def output(self) -> Tensor:
        """The last node's output."""
        return self.nodes[-1].output

    @cached_property
    def macs(self) -> int:
        """Terms that are summed per image, padding included: products or distances."""
        return sum(node.macs for node in self.nodes if isinstance(node, Conv2d))

    def verify(self, config: AccelConfig) -> None:
        """`accel.verify.verify`: `GraphError` lists every fault."""
        from accel.verify import verify  # which builds on this module
        verify(self, config)
