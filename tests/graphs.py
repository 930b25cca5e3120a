"""Small integer graphs for tests: random numbers, but every shape and range chosen to hurt."""
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.graph import (
    NO_PADDING,
    Activation,
    Add,
    Clamp,
    Concat,
    Conv2d,
    Graph,
    IntArray,
    MaxPool2d,
    Node,
    Padding,
    Tensor,
)
from accel.spec.cells import Operation
from accel.spec.config import AccelConfig
from accel.spec.numerics import limits
from accel.spec.tables import ActivationSpec

Pair = tuple[int, int]


@dataclass(frozen=True)
class Layer:
    """One convolution and what follows it."""

    channels: int
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    activation: str | None = None
    pool: tuple[Pair, Pair] | None = None


def build(config: AccelConfig, shape: tuple[int, int, int], layers: Sequence[Layer], seed: int,
          ) -> Graph:
    """A graph with full-range weights, uneven zero points and scales that use the output range."""
    rng = np.random.default_rng(seed)
    low, high = limits(config.act_bits)
    source = Tensor("input", shape, 0.5, int(rng.integers(low, high + 1)))
    nodes: list[Node] = []
    tensor = source
    for index, layer in enumerate(layers):
        conv = _conv(config, tensor, layer, f"conv{index}", rng)
        nodes.append(conv)
        tensor = conv.output
        if layer.activation:
            tensor = _activated(config, tensor, layer.activation, f"act{index}")
            nodes.append(Activation(f"act{index}", conv.output, tensor, layer.activation))
        if layer.pool:
            kernel, stride = layer.pool
            size = [(n - k) // s + 1 for n, k, s in zip(tensor.shape[1:], kernel, stride,
                                                        strict=True)]
            pooled = Tensor(f"pool{index}", (tensor.shape[0], size[0], size[1]), tensor.scale,
                            tensor.zero_point)
            nodes.append(MaxPool2d(f"pool{index}", tensor, pooled, kernel, stride))
            tensor = pooled
    return Graph(f"random{seed}", source, tuple(nodes))


def images(config: AccelConfig, shape: tuple[int, int, int], count: int, seed: int) -> IntArray:
    """Codes ``(count, c, h, w)``: all lowest, all highest, alternating, then random."""
    low, high = limits(config.act_bits)
    rng = np.random.default_rng(seed)
    codes = rng.integers(low, high + 1, (count, *shape))
    extremes = (np.full(shape, low), np.full(shape, high),
                np.where(np.indices(shape).sum(axis=0) % 2, low, high))
    for image, extreme in zip(codes, extremes, strict=False):
        image[:] = extreme
    return codes


def _conv(config: AccelConfig, source: Tensor, layer: Layer, name: str,
          rng: np.random.Generator) -> Conv2d:
    operation = _any_operation(config, rng)
    weight, bias, multiplier, shift = _numbers(
        config, rng, (layer.channels, source.shape[0], *layer.kernel), operation)
    size = [(n + 2 * p - k) // s + 1 for n, k, s, p in zip(
        source.shape[1:], layer.kernel, layer.stride, layer.padding, strict=True)]
    spec = next((s for s in config.activation_specs if s.function == layer.activation), None)
    tabled = spec is not None and spec.function != "relu"
    low, high = limits(config.act_bits)
    output = Tensor(f"{name}_out", (layer.channels, size[0], size[1]),
                    2.0 ** -spec.in_frac if tabled and spec else 0.25,
                    0 if tabled else int(rng.integers(low, high + 1)))
    return Conv2d(name, source, output, weight, bias, multiplier, shift, layer.stride,
                  (*layer.padding, *layer.padding), operation=operation)


def _any_operation(config: AccelConfig, rng: np.random.Generator) -> Operation:
    operations = config.cell_spec.operations
    return operations[int(rng.integers(len(operations)))] if len(operations) > 1 else operations[0]


def _numbers(config: AccelConfig, rng: np.random.Generator, shape: tuple[int, ...],
             operation: Operation) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Weights of ``shape``, biases, multipliers and shifts that use the output's range."""
    half, channels, taps = 1 << (config.act_bits - 1), shape[0], math.prod(shape[1:])
    members = np.array(config.cell_spec.weights_of(operation))
    weight = rng.choice(members, shape).astype(np.int64)
    spread = np.sqrt((weight ** 2).sum(axis=(1, 2, 3))) * half + 1
    bias = rng.integers(-spread.astype(np.int64), spread.astype(np.int64) + 1)
    if operation is Operation.DISTANCE:     # centred on a sum of distances, less spread than one
        bias = rng.integers(taps * half // 2, taps * half, channels)
        spread = np.sqrt(taps) * half * rng.uniform(0.5, 1, channels) + 1
    factors = half / spread * rng.uniform(0.2, 3, channels)
    if config.scales.signed:
        factors *= rng.choice([-1, 1], channels)
    multiplier, shift = factors_of(config, factors)
    return weight, bias, multiplier, shift


def factors_of(config: AccelConfig, factors: npt.NDArray[np.float64]) -> tuple[IntArray, IntArray]:
    """Multiplier and shift of each factor; none is above what every configuration has."""
    pairs = [config.scales.nearest(float(f)) for f in np.clip(factors, -16, 16)]
    multiplier, shift = np.array(pairs, np.int64).T
    return multiplier, shift


def _activated(config: AccelConfig, tensor: Tensor, function: str, name: str) -> Tensor:
    spec = next(s for s in config.activation_specs if s.function == function)
    if function == "relu":
        return Tensor(f"{name}_out", tensor.shape, tensor.scale, tensor.zero_point)
    return Tensor(f"{name}_out", tensor.shape, 2.0 ** -spec.out_frac, 0)


class Builder:
    """A graph under construction, of any shape; a method adds a node and returns its output.

    Numbers are random, with full-range weights, uneven zero points and scales that use the
    output range.
    """

    def __init__(self, config: AccelConfig, shape: tuple[int, int, int], seed: int = 1) -> None:
        self.config, self.rng = config, np.random.default_rng(seed)
        self.low, self.high = limits(config.act_bits)
        self.input = Tensor("input", shape, 0.5, self._code())
        self.nodes: list[Node] = []

    def graph(self, name: str = "built") -> Graph:
        """What has been built so far."""
        return Graph(name, self.input, tuple(self.nodes))

    def conv(self, x: Tensor, channels: int, kernel: Pair = (1, 1), *, stride: Pair = (1, 1),
             padding: Padding = NO_PADDING, dilation: Pair = (1, 1), groups: int = 1,
             into: str | None = None, like: Tensor | None = None) -> Tensor:
        """A convolution; ``into`` a table activation's input format, or quantized ``like`` it."""
        operation = _any_operation(self.config, self.rng)
        weight, bias, multiplier, shift = _numbers(
            self.config, self.rng, (channels, x.shape[0] // groups, *kernel), operation)
        extent = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
        shape = channels, *self._size(x, extent, stride, padding)
        form = ((like.scale, like.zero_point) if like else
                (0.25, self._code()) if into is None else (2.0 ** -self._spec(into).in_frac, 0))
        output = self._tensor("conv", shape, *form)
        return self._add(Conv2d(output.name, x, output, weight, bias, multiplier, shift, stride,
                                padding, dilation, groups, operation=operation))

    def depthwise(self, x: Tensor, kernel: Pair, **options: Any) -> Tensor:
        """A convolution of each channel by itself."""
        return self.conv(x, x.shape[0], kernel, groups=x.shape[0], **options)

    def mean(self, x: Tensor, kernel: Pair | None = None) -> Tensor:
        """The mean over windows, over the whole image unless they are given."""
        kernel = kernel or x.shape[1:]
        count, channels = kernel[0] * kernel[1], x.shape[0]
        shape = channels, *self._size(x, kernel, kernel, NO_PADDING)
        smaller = 0.5 if self.config.scale_terms else 0.6
        output = self._tensor("mean", shape, x.scale * smaller, self._code())
        multiplier, shift = factors_of(self.config, np.full(channels, 1 / smaller / count))
        return self._add(Conv2d(
            output.name, x, output, np.ones((channels, 1, *kernel), np.int64),
            np.full(channels, -x.zero_point * count, np.int64), multiplier, shift, kernel,
            groups=channels))

    def add(self, one: Tensor, two: Tensor) -> Tensor:
        """A sum."""
        larger = 2 if self.config.scale_terms else 1.3
        output = self._tensor("add", one.shape, larger * max(one.scale, two.scale), self._code())
        return self._add(Add(output.name, (one, two), output, *self.config.scales.add_factors(
            (one.scale, two.scale), output.scale)))

    def concat(self, *parts: Tensor) -> Tensor:
        """Channels one after the other; all must have the first part's quantization."""
        channels = sum(part.shape[0] for part in parts)
        output = self._tensor("concat", (channels, *parts[0].shape[1:]), parts[0].scale,
                              parts[0].zero_point)
        return self._add(Concat(output.name, parts, output))

    def clamp(self, x: Tensor, low: int | None = None, high: int | None = None) -> Tensor:
        """Limits, half of the range unless they are given."""
        output = self._tensor("clamp", x.shape, x.scale, x.zero_point)
        return self._add(Clamp(output.name, x, output, self.low // 2 if low is None else low,
                               self.high // 2 if high is None else high))

    def activation(self, x: Tensor, function: str) -> Tensor:
        """``relu``, or a table whose input format ``x`` has."""
        scale, zero = ((x.scale, x.zero_point) if function == "relu" else
                       (2.0 ** -self._spec(function).out_frac, 0))
        return self._add(Activation(f"{function}{len(self.nodes)}", x, self._tensor(
            function, x.shape, scale, zero), function))

    def pool(self, x: Tensor, kernel: Pair, stride: Pair, padding: Padding = NO_PADDING) -> Tensor:
        """A maximum over windows."""
        shape = x.shape[0], *self._size(x, kernel, stride, padding)
        output = self._tensor("pool", shape, x.scale, x.zero_point)
        return self._add(MaxPool2d(output.name, x, output, kernel, stride, padding))

    def _add(self, node: Node) -> Tensor:
        self.nodes.append(node)
        return node.output

    def _tensor(self, kind: str, shape: tuple[int, ...], scale: float, zero_point: int) -> Tensor:
        channels, height, width = shape
        return Tensor(f"{kind}{len(self.nodes)}", (channels, height, width), scale, zero_point)

    def _code(self) -> int:
        return int(self.rng.integers(self.low, self.high + 1))

    def _spec(self, function: str) -> ActivationSpec:
        return next(s for s in self.config.activation_specs if s.function == function)

    @staticmethod
    def _size(x: Tensor, extent: Sequence[int], stride: Pair, padding: Padding) -> Iterator[int]:
        for n, k, s, before, behind in zip(x.shape[1:], extent, stride, padding[:2], padding[2:],
                                           strict=True):
            yield (n + before + behind - k) // s + 1
