"""Float layers to integer nodes, once the formats of their tensors are known."""
from collections.abc import Callable, Sequence

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
    FloatDistance,
    Layer,
)
from accel.spec.cells import Operation
from accel.spec.config import AccelConfig
from accel.spec.numerics import limits
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
    if isinstance(layer, FloatDistance):
        return _distance(layer, source, target, config)
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
                     legal: Callable[[FloatArray], FloatArray] = lambda scale: scale,
                     ) -> tuple[IntArray, FloatArray]:
    """Weights (out, terms) as multiples of one scale per channel: (codes, scales (out,)).

    Each code is the nearest of ``members`` (ascending), 0 for a weight far below the others of its
    channel; each scale, about not below ``smallest`` (out,), is the one of `RATIOS`, made
    ``legal``, with the least squared error.
    """
    middles = (members[1:] + members[:-1]) / 2
    start = np.abs(weight).max(axis=1) / members[-1]
    best_error, best_scale = np.full(len(weight), np.inf), smallest
    best_codes = np.zeros_like(weight)
    for ratio in RATIOS:
        scale = legal(np.maximum(start * ratio, smallest))
        codes = members[np.searchsorted(middles, weight / scale[:, None])]
        error = ((codes * scale[:, None] - weight) ** 2).sum(axis=1)
        better = error < best_error
        best_error = np.where(better, error, best_error)
        best_scale = np.where(better, scale, best_scale)
        best_codes = np.where(better[:, None], codes, best_codes)
    return best_codes.astype(np.int64), best_scale


def _conv(layer: FloatConv, source: Tensor, target: Tensor, config: AccelConfig) -> graph.Conv2d:
    weight, offset = layer.weight.flatten(1).numpy(), layer.bias.numpy()
    unit = source.scale / target.scale
    known = set(config.cell_spec.weights_of(Operation.PRODUCT))
    members = sorted(member for member in known if -member in known)
    # Weights so small that they do not count must not make the bias overflow, nor vanish.
    smallest = _smallest(offset, source, target, config)
    codes, scale = quantize_weights(weight, np.array(members, dtype=np.float64), smallest,
                                    lambda scale: config.scales.rounded(scale * unit) / unit)
    bias = np.rint(offset / (source.scale * scale)).astype(np.int64)
    multiplier, shift = _factors(layer.name, unit * scale, config)
    return graph.Conv2d(layer.name, source, target, codes.reshape(layer.weight.shape),
                        bias - source.zero_point * codes.sum(axis=1), multiplier, shift,
                        layer.stride, layer.padding, layer.dilation, layer.groups)


def _distance(layer: FloatDistance, source: Tensor, target: Tensor, config: AccelConfig,
              ) -> graph.Conv2d:
    """The weights share the format of what they are compared with.

    A weight beyond its range is as far from every code as the last code is, and a constant more:
    that becomes part of the bias, and nothing is lost. (Lossless clipping, after Y. Nie et al.,
    "Redistribution of weights and activations for AdderNet quantization", NeurIPS 2022.) A weight
    within, beyond what the cell holds, is nearer to some codes and has to be refused.
    """
    weight, factor = layer.weight.numpy() / source.scale + source.zero_point, layer.scale.numpy()
    cell, unit = config.cell_spec, source.scale / target.scale
    inside = np.clip(weight, *limits(config.act_bits))
    codes = np.rint(inside).astype(np.int64)
    low, *_, high = cell.weights_of(Operation.DISTANCE)
    if codes.min() < low or codes.max() > high:
        raise QuantizeError(
            f"{layer.name}: distances of {config.act_bits}-bit activations take weight_bits of at "
            f"least {config.act_bits + 1}, not {cell.weight_bits}, whose {low}..{high} do not hold "
            f"its weights' codes {codes.min()}..{codes.max()}")
    beyond = abs(weight - inside).sum(axis=(1, 2, 3)) * source.scale
    offset = layer.bias.numpy() - beyond * factor
    smallest = _smallest(offset, source, target, config)
    factor = np.copysign(np.maximum(np.abs(factor), smallest), factor)
    # The factor is rounded here, and the bias not made for what it becomes: sum and bias nearly
    # cancel each other, and their difference is to be off by as little as the factor.
    multiplier, shift = _factors(layer.name, factor * unit, config)
    return graph.Conv2d(layer.name, source, target, codes,
                        np.rint(offset / (source.scale * factor)).astype(np.int64), multiplier,
                        shift, layer.stride, layer.padding, layer.dilation,
                        operation=Operation.DISTANCE)


def _smallest(offset: FloatArray, source: Tensor, target: Tensor, config: AccelConfig,
              ) -> FloatArray:
    """Least scale of each channel's sums, with which its bias does not overflow."""
    return np.maximum(abs(offset) / source.scale * 2.0 ** (2 - config.acc_bits),
                      target.scale / source.scale * 2.0 ** -24)


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
        factors = config.scales.add_factors((sources[0].scale, sources[1].scale), target.scale)
    except ValueError as error:
        raise QuantizeError(f"{layer.name}: {error}") from None
    return graph.Add(layer.name, sources, target, *factors)


def _factors(name: str, factors: FloatArray, config: AccelConfig) -> tuple[IntArray, IntArray]:
    """Multiplier and shift of each output channel."""
    found = []
    for channel, factor in enumerate(factors):
        try:
            found.append(config.scales.nearest(float(factor)))
        except ValueError as error:
            raise QuantizeError(f"{name}, output channel {channel}: {error}; its weights do "
                                "not suit the format of its output") from None
    multiplier, shift = np.array(found, dtype=np.int64).T
    return multiplier, shift
