"""Small integer graphs for tests: random numbers, but every shape and range chosen to hurt."""
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
from accel.spec.numerics import add_factors, fixed_multiplier, limits
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
    shape = (layer.channels, source.shape[0], *layer.kernel)
    weight = rng.choice(np.array(config.cell_spec.weights), shape)
    spread = np.sqrt((weight ** 2).sum(axis=(1, 2, 3))) * (1 << (config.act_bits - 1)) + 1
    bias = rng.integers(-(spread.astype(np.int64)), spread.astype(np.int64) + 1)
    scales = (1 << (config.act_bits - 1)) / spread * rng.uniform(0.2, 3, layer.channels)
    multiplier, shift = zip(*(fixed_multiplier(float(scale), config.multiplier_bits)
                              for scale in scales), strict=True)
    size = [(n + 2 * p - k) // s + 1 for n, k, s, p in zip(
        source.shape[1:], layer.kernel, layer.stride, layer.padding, strict=True)]
    spec = next((s for s in config.activation_specs if s.function == layer.activation), None)
    tabled = spec is not None and spec.function != "relu"
    low, high = limits(config.act_bits)
    output = Tensor(f"{name}_out", (layer.channels, size[0], size[1]),
                    2.0 ** -spec.in_frac if tabled and spec else 0.25,
                    0 if tabled else int(rng.integers(low, high + 1)))
    return Conv2d(name, source, output, weight.astype(np.int64), bias,
                  np.array(multiplier, np.int64), np.array(shift, np.int64), layer.stride,
                  (*layer.padding, *layer.padding))


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
        cell, bits = self.config.cell_spec, self.config.act_bits
        weight = self.rng.choice(np.array(cell.weights_of(Operation.PRODUCT)),
                                 (channels, x.shape[0] // groups, *kernel)).astype(np.int64)
        spread = np.sqrt((weight ** 2).sum(axis=(1, 2, 3))) * (1 << (bits - 1)) + 1
        bias = self.rng.integers(-spread.astype(np.int64), spread.astype(np.int64) + 1)
        factors = (1 << (bits - 1)) / spread * self.rng.uniform(0.2, 3, channels)
        extent = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
        shape = channels, *self._size(x, extent, stride, padding)
        form = ((like.scale, like.zero_point) if like else
                (0.25, self._code()) if into is None else (2.0 ** -self._spec(into).in_frac, 0))
        output = self._tensor("conv", shape, *form)
        multiplier, shift = self._factors(factors)
        return self._add(Conv2d(output.name, x, output, weight, bias, multiplier, shift, stride,
                                padding, dilation, groups))

    def depthwise(self, x: Tensor, kernel: Pair, **options: Any) -> Tensor:
        """A convolution of each channel by itself."""
        return self.conv(x, x.shape[0], kernel, groups=x.shape[0], **options)

    def mean(self, x: Tensor, kernel: Pair | None = None) -> Tensor:
        """The mean over windows, over the whole image unless they are given."""
        kernel = kernel or x.shape[1:]
        count, channels = kernel[0] * kernel[1], x.shape[0]
        shape = channels, *self._size(x, kernel, kernel, NO_PADDING)
        output = self._tensor("mean", shape, x.scale * 0.6, self._code())
        multiplier, shift = self._factors(np.full(channels, 1 / 0.6 / count))
        return self._add(Conv2d(
            output.name, x, output, np.ones((channels, 1, *kernel), np.int64),
            np.full(channels, -x.zero_point * count, np.int64), multiplier, shift, kernel,
            groups=channels))

    def add(self, one: Tensor, two: Tensor) -> Tensor:
        """A sum."""
        output = self._tensor("add", one.shape, 1.3 * max(one.scale, two.scale), self._code())
        return self._add(Add(output.name, (one, two), output, *add_factors(
            (one.scale, two.scale), output.scale, self.config.rounding)))

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

    def _factors(self, factors: npt.NDArray[np.float64]) -> tuple[IntArray, IntArray]:
        pairs = [fixed_multiplier(float(f), self.config.multiplier_bits) for f in factors]
        multiplier, shift = np.array(pairs, np.int64).T
        return multiplier, shift

    @staticmethod
    def _size(x: Tensor, extent: Sequence[int], stride: Pair, padding: Padding) -> Iterator[int]:
        for n, k, s, before, behind in zip(x.shape[1:], extent, stride, padding[:2], padding[2:],
                                           strict=True):
            yield (n + before + behind - k) // s + 1
