"""Small integer graphs for tests: random numbers, but every shape and range chosen to hurt."""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accel.graph import Activation, Conv2d, Graph, IntArray, MaxPool2d, Node, Tensor
from accel.spec.config import AccelConfig
from accel.spec.numerics import fixed_multiplier, limits

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
