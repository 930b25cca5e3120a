"""Float layers to integer nodes, once the formats of their tensors are known."""
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from accel import graph
from accel.graph import IntArray, Tensor
from accel.layers import (
    FloatActivation,
    FloatAdd,
    FloatAvgPool,
    FloatClamp,
    FloatConcat,
    FloatConv,
    Layer,
)
from accel.spec.cells import Operation
from accel.spec.config import AccelConfig
from accel.spec.numerics import add_factors, fixed_multiplier, limits
from accel.tensor_formats import QuantizeError

FloatArray = npt.NDArray[np.float64]

#: Weight scales tried, relative to the one that maps the largest weight to the largest member:
#: 32 an octave (sets of powers of two look alike an octave apart), two octaves down (clipping
#: outliers) and half an octave up.
RATIOS = 2.0 ** (np.arange(-64, 17) / 32)


def integer_node(layer: Layer, sources: Sequence[Tensor], target: Tensor, config: AccelConfig,
                 ) -> graph.Node:
    """What computes ``layer`` on codes; raises `QuantizeError` for a scale out of range."""
    if isinstance(layer, FloatAdd):
        return _add(layer, (sources[0], sources[1]), target, config)
    if isinstance(layer, FloatConcat):
        return graph.Concat(layer.name, tuple(sources), target)
    (source,) = sources
    if isinstance(layer, FloatConv):
        return _conv(layer, source, target, config)
    if isinstance(layer, FloatAvgPool):
        return _mean(layer, source, target, config)
    if isinstance(layer, FloatClamp):
        low, high = (code_of(target, value, config.act_bits) for value in (layer.low, layer.high))
        return graph.Clamp(layer.name, source, target, low, high)
    if isinstance(layer, FloatActivation):
        return graph.Activation(layer.name, source, target, layer.function)
    return graph.MaxPool2d(layer.name, source, target, layer.kernel, layer.stride, layer.padding)


def code_of(tensor: Tensor, value: float, bits: int) -> int:
    """Nearest code of a real ``value``, which may be infinite."""
    low, high = limits(bits)
    return int(min(max(np.rint(value / tensor.scale) + tensor.zero_point, low), high))


def quantize_weights(weight: FloatArray, members: FloatArray, smallest: FloatArray,
                     ) -> tuple[IntArray, FloatArray]:
    """Weights (out, terms) as multiples of one scale per channel: (codes, scales (out,)).

    Each code is the nearest of ``members`` (ascending); each scale, not below ``smallest``
    (out,), is the one of `RATIOS` with the least squared error.
    """
    middles = (members[1:] + members[:-1]) / 2
    start = np.abs(weight).max(axis=1) / members[-1]
    best_error, best_scale = np.full(len(weight), np.inf), smallest
    best_codes = np.zeros_like(weight)
    for ratio in RATIOS:
        scale = np.maximum(start * ratio, smallest)
        codes = members[np.searchsorted(middles, weight / scale[:, None])]
        error = ((codes * scale[:, None] - weight) ** 2).sum(axis=1)
        better = error < best_error
        best_error = np.where(better, error, best_error)
        best_scale = np.where(better, scale, best_scale)
        best_codes = np.where(better[:, None], codes, best_codes)
    return best_codes.astype(np.int64), best_scale


def _conv(layer: FloatConv, source: Tensor, target: Tensor, config: AccelConfig) -> graph.Conv2d:
    weight, offset = layer.weight.flatten(1).numpy(), layer.bias.numpy()
    known = set(config.cell_spec.weights_of(Operation.PRODUCT))
    members = sorted(member for member in known if -member in known)
    # Weights so small that they do not count must not make the bias overflow, nor vanish.
    smallest = np.maximum(abs(offset) / source.scale * 2.0 ** (2 - config.acc_bits),
                          target.scale / source.scale * 2.0 ** -24)
    codes, scale = quantize_weights(weight, np.array(members, dtype=np.float64), smallest)
    bias = np.rint(offset / (source.scale * scale)).astype(np.int64)
    multiplier, shift = _factors(layer.name, source.scale * scale / target.scale, config)
    return graph.Conv2d(layer.name, source, target, codes.reshape(layer.weight.shape),
                        bias - source.zero_point * codes.sum(axis=1), multiplier, shift,
                        layer.stride, layer.padding, layer.dilation, layer.groups)


def _mean(layer: FloatAvgPool, source: Tensor, target: Tensor, config: AccelConfig,
          ) -> graph.Conv2d:
    """A depthwise convolution of weights 1; the multiplier divides."""
    channels, count = source.shape[0], layer.kernel[0] * layer.kernel[1]
    factor = np.full(channels, source.scale / target.scale / count)
    multiplier, shift = _factors(layer.name, factor, config)
    return graph.Conv2d(layer.name, source, target,
                        np.ones((channels, 1, *layer.kernel), dtype=np.int64),
                        np.full(channels, -source.zero_point * count, dtype=np.int64),
                        multiplier, shift, layer.stride, layer.padding, groups=channels)


def _add(layer: FloatAdd, sources: tuple[Tensor, Tensor], target: Tensor, config: AccelConfig,
         ) -> graph.Add:
    try:
        factors = add_factors((sources[0].scale, sources[1].scale), target.scale, config.rounding)
    except ValueError as error:
        raise QuantizeError(f"{layer.name}: {error}") from None
    return graph.Add(layer.name, sources, target, *factors)


def _factors(name: str, factors: FloatArray, config: AccelConfig) -> tuple[IntArray, IntArray]:
    """Multiplier and shift of each output channel."""
    found = []
    for channel, factor in enumerate(factors):
        try:
            found.append(fixed_multiplier(float(factor), config.multiplier_bits))
        except ValueError as error:
            raise QuantizeError(f"{name}, output channel {channel}: {error}; its weights do "
                                "not suit the format of its output") from None
    multiplier, shift = np.array(found, dtype=np.int64).T
    return multiplier, shift
