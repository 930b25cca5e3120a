"""What the tensors of an ONNX model are while it is read, and the integer nodes they become.

A tensor is a `Constant`, the stored `Codes` of a tensor of the integer graph, or a `Real` value,
which some operation gives and which becomes codes where QuantizeLinear says in what format.
Operators that only move elements (Reshape, Transpose, ...) cost nothing: ``index`` says for each
element, in the shape that ONNX sees without the batch, where it stands in the graph's tensor.
"""
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from accel.graph import (
    NO_PADDING,
    Activation,
    Add,
    Clamp,
    Concat,
    Conv2d,
    IntArray,
    MaxPool2d,
    Node,
    Padding,
    Tensor,
)
from accel.spec.cells import Operation as CellOperation
from accel.spec.config import AccelConfig
from accel.spec.errors import InputError
from accel.spec.numerics import limits

FloatArray = npt.NDArray[np.float64]
#: Scale and zero point of signed codes.
Format = tuple[float, int]
Pair = tuple[int, int]
Shape = tuple[int, int, int]


class OnnxError(InputError):
    """A model that has no integer graph; the message lists every fault."""


@dataclass(frozen=True, eq=False)
class Constant:
    """An array that the file holds; with a scale, quantized: real = scale * (data - zero)."""

    data: npt.NDArray[Any]
    scale: FloatArray | None = None
    zero: IntArray | None = None
    axis: int = 0       # of several scales

    @property
    def real(self) -> FloatArray:
        """Its values."""
        if self.scale is None:
            return self.data.astype(np.float64)
        return np.asarray(self._along(self.scale) * self.codes, dtype=np.float64)

    @property
    def codes(self) -> IntArray:
        """Integers in proportion to its values: the zero point is taken off."""
        zero = 0 if self.zero is None else self._along(self.zero)
        return np.asarray(self.data.astype(np.int64) - zero, dtype=np.int64)

    def _along(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if array.size == 1:
            return array.reshape(())
        shape = [1] * self.data.ndim
        shape[self.axis] = -1
        return array.reshape(shape)


@dataclass(frozen=True, eq=False)
class Codes:
    """Stored codes: a tensor of the graph, with a border of zeros that it has not."""

    tensor: Tensor
    index: IntArray
    border: Padding = NO_PADDING


@dataclass(frozen=True, eq=False)
class Raw:
    """The network's input, before an operator says what its codes mean.

    Members
    -------
    zero
        Zero point, as a signed code, where an operator does not name any.
    """

    name: str
    shape: Shape
    index: IntArray
    zero: int


@dataclass(frozen=True, eq=False)
class Real:
    """What ``operation`` gives, limited to ``low..high``, in a border of zeros."""

    operation: "Operation"
    index: IntArray
    low: float = -math.inf
    high: float = math.inf
    border: Padding = NO_PADDING

    def quantized(self, name: str, form: Format, config: AccelConfig) -> tuple[Tensor, list[Node]]:
        """The tensor ``name`` in format ``form``, and the nodes that compute it.

        Rounding and limits rise with their argument, so that a limit on values is one on codes.
        """
        target = Tensor(name, self.operation.shape, *form)
        lowest, highest = limits(config.act_bits)
        low, high = (_code(target, value, config.act_bits) for value in (self.low, self.high))
        if (low, high) == (lowest, highest):
            return self._plain(target, config)
        inner, nodes = self._plain(replace(target, name=f"{name}.unlimited"), config)
        return target, [*nodes, Clamp(name, inner, target, low, high)]

    def _plain(self, target: Tensor, config: AccelConfig) -> tuple[Tensor, list[Node]]:
        """The same without limits: ``target``, or a stored tensor that has its format."""
        operation, form = self.operation, (target.scale, target.zero_point)
        if isinstance(operation, Same):
            kept, nodes = operation.source, []
        else:
            fixed = operation.format or form
            kept = target if fixed == form else Tensor(f"{target.name}.kept", target.shape, *fixed)
            nodes = operation.nodes(kept, config)
        if (kept.scale, kept.zero_point) == form:
            return kept, nodes
        return target, [*nodes, requantization(kept, target, config)]


@dataclass(frozen=True, eq=False)
class Host:
    """What the host computes from ``source``, the network's output, by ``operators``."""

    index: IntArray
    source: Tensor
    operators: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Unknown:
    """The output of an operator that is at fault."""


Value = Constant | Codes | Raw | Real | Host | Unknown


class Operation(Protocol):
    """An operator between DequantizeLinear and QuantizeLinear."""

    @property
    def shape(self) -> Shape:
        """Of its output."""

    @property
    def format(self) -> Format | None:
        """Of its output, where it can have no other."""

    def nodes(self, target: Tensor, config: AccelConfig) -> list[Node]:
        """Nodes that compute its output in the format of ``target``."""


@dataclass(frozen=True, eq=False)
class Same:
    """The values of a stored tensor."""

    source: Tensor

    @property
    def shape(self) -> Shape:
        """Of its output."""
        return self.source.shape

    @property
    def format(self) -> Format | None:
        """The tensor's."""
        return self.source.scale, self.source.zero_point

    def nodes(self, target: Tensor, config: AccelConfig) -> list[Node]:
        """None: `Real.quantized` gives the tensor itself."""
        return []


@dataclass(frozen=True, eq=False)
class Linear:
    """A convolution; ``scale`` (out,) is that of its accumulators, in which ``bias`` is given."""

    source: Tensor
    shape: Shape
    weight: IntArray
    scale: FloatArray
    bias: FloatArray
    stride: Pair = (1, 1)
    padding: Padding = NO_PADDING
    dilation: Pair = (1, 1)
    groups: int = 1
    format: Format | None = None

    def nodes(self, target: Tensor, config: AccelConfig) -> list[Node]:
        """One convolution."""
        folded = self.source.zero_point * self.weight.sum(axis=(1, 2, 3))
        bias = np.rint(self.bias).astype(np.int64) - folded
        multiplier, shift = _factors(self.scale / target.scale, config)
        return [Conv2d(target.name, self.source, target, self.weight, bias, multiplier, shift,
                       self.stride, self.padding, self.dilation, self.groups)]


@dataclass(frozen=True, eq=False)
class Mean:
    """Mean over windows; padding counts as zeros."""

    source: Tensor
    shape: Shape
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Padding = NO_PADDING
    format: Format | None = None

    def nodes(self, target: Tensor, config: AccelConfig) -> list[Node]:
        """A depthwise convolution of ones; exact where the format stays."""
        channels, count = self.shape[0], self.kernel[0] * self.kernel[1]
        ones = np.ones((channels, 1, *self.kernel), np.int64)
        same = (self.source.scale, self.source.zero_point) == (target.scale, target.zero_point)
        if same:
            pair = config.scales.mean(count)
            multiplier, shift = (np.full(channels, value) for value in pair)
        else:
            factor = self.source.scale / target.scale / count
            multiplier, shift = _factors(np.full(channels, factor), config)
        # TensorFlow Lite rounds the mean of the codes themselves, without their zero point.
        raw = same and config.rounding == "tflite"
        bias = np.full(channels, 0 if raw else -self.source.zero_point * count)
        return [Conv2d(target.name, self.source, target, ones, bias, multiplier, shift,
                       self.stride, self.padding, groups=channels, offset=0 if raw else None)]


@dataclass(frozen=True, eq=False)
class Pool:
    """Maximum over windows."""

    source: Tensor
    shape: Shape
    kernel: Pair
    stride: Pair
    padding: Padding

    @property
    def format(self) -> Format | None:
        """The input's."""
        return self.source.scale, self.source.zero_point

    def nodes(self, target: Tensor, config: AccelConfig) -> list[Node]:
        """One node."""
        return [MaxPool2d(target.name, self.source, target, self.kernel, self.stride,
                          self.padding)]


@dataclass(frozen=True, eq=False)
class Sum:
    """Sum of two tensors of one shape."""

    sources: tuple[Tensor, Tensor]
    format: Format | None = None

    @property
    def shape(self) -> Shape:
        """Of its output."""
        return self.sources[0].shape

    def nodes(self, target: Tensor, config: AccelConfig) -> list[Node]:
        """One addition; raises `OnnxError` for scales out of range."""
        one, two = self.sources
        try:
            factors = config.scales.add_factors((one.scale, two.scale), target.scale)
        except ValueError as error:
            raise OnnxError(str(error)) from None
        return [Add(target.name, self.sources, target, *factors)]


@dataclass(frozen=True, eq=False)
class Join:
    """Channels of several values one after the other."""

    parts: Sequence[Real]
    shape: Shape
    format: Format | None = None

    def nodes(self, target: Tensor, config: AccelConfig) -> list[Node]:
        """One concatenation, behind an identity for each part of another format."""
        tensors, nodes = [], []
        for number, part in enumerate(self.parts):
            tensor, before = part.quantized(f"{target.name}.{number}",
                                            (target.scale, target.zero_point), config)
            tensors.append(tensor)
            nodes += before
        return [*nodes, Concat(target.name, tuple(tensors), target)]


@dataclass(frozen=True, eq=False)
class Table:
    """A function of one argument, by the truth table of the configuration."""

    source: Tensor
    function: str
    format: Format | None = None

    @property
    def shape(self) -> Shape:
        """Of its output."""
        return self.source.shape

    def nodes(self, target: Tensor, config: AccelConfig) -> list[Node]:
        """One activation; raises `OnnxError` where the formats are not the table's."""
        spec = next(s for s in config.activation_specs if s.function == self.function)
        forms = [(tensor.scale, tensor.zero_point) for tensor in (self.source, target)]
        wanted = [(2.0 ** -spec.in_frac, 0), (2.0 ** -spec.out_frac, 0)]
        if forms != wanted:
            raise OnnxError(f"scale and zero point of its input and output are {forms[0]} and "
                            f"{forms[1]}; {self.function} of config {config.name!r} has "
                            f"{wanted[0]} and {wanted[1]}")
        return [Activation(target.name, self.source, target, self.function)]


def requantization(source: Tensor, target: Tensor, config: AccelConfig) -> Conv2d:
    """An identity that changes the format: a depthwise convolution by 1."""
    mean = Mean(source, source.shape, (1, 1)).nodes(target, config)[0]
    assert isinstance(mean, Conv2d)
    return mean


def shifted(source: Tensor, constant: FloatArray, config: AccelConfig) -> Linear:
    """Sum of a tensor and a constant of each channel.

    The weight is the largest power of two that a cell holds, so that the bias has its bits of
    fraction.
    """
    known = set(config.cell_spec.weights_of(CellOperation.PRODUCT))
    weight = max(power for power in (1 << n for n in range(16)) if power in known)
    channels, scale = source.shape[0], source.scale / weight
    return Linear(source, source.shape, np.full((channels, 1, 1, 1), weight),
                  np.full(channels, scale), constant / scale, groups=channels)


def _factors(factors: FloatArray, config: AccelConfig) -> tuple[IntArray, IntArray]:
    """Multiplier and shift of each channel; raises `OnnxError` for a scale out of range."""
    try:
        pairs = [config.scales.nearest(float(factor)) for factor in factors]
    except ValueError as error:
        raise OnnxError(f"scale of input and weights over the output's: {error}") from None
    multiplier, shift = np.array(pairs, dtype=np.int64).T
    return multiplier, shift


def _code(tensor: Tensor, value: float, bits: int) -> int:
    low, high = limits(bits)
    if math.isinf(value):
        return low if value < 0 else high
    return int(min(max(np.rint(value / tensor.scale) + tensor.zero_point, low), high))
