"""Post-training quantization: float graph and calibration batches to the integer graph.

Activations are affine per tensor, weights scaled per output channel. Relu and pooling commute
with every rising function, hence with rounding and saturation: they keep the format of what they
read. Such a *run* of tensors has the format of the table activation that it leads to, or else the
range that the calibration images show at its end, where the values are used.
"""
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from accel import graph
from accel.graph import IntArray
from accel.model import FloatActivation, FloatConv, FloatMaxPool, Layer, import_torch
from accel.spec.cells import Operation
from accel.spec.config import AccelConfig
from accel.spec.errors import InputError
from accel.spec.numerics import fixed_multiplier, limits
from accel.spec.tables import PLAIN, ActivationSpec

FloatArray = npt.NDArray[np.float64]
#: Scale and zero point of a tensor.
Format = tuple[float, int]

#: Weight scales tried, relative to the one that maps the largest weight to the largest member:
#: 32 an octave (sets of powers of two look alike an octave apart), two octaves down (clipping
#: outliers) and half an octave up.
RATIOS = 2.0 ** (np.arange(-64, 17) / 32)


class QuantizeError(InputError):
    """A network or calibration data that cannot be quantized."""


def quantize(model: nn.Module, batches: Iterable[torch.Tensor], config: AccelConfig,
             name: str = "network") -> graph.Graph:
    """Integer graph of ``model`` for ``config``.

    ``batches`` are float tensors (n, channels, height, width) like those that the network will
    see; some 256 images are enough. Raises `QuantizeError` for unusable data, an activation that
    is missing or a scale out of range, `ModelError` for what `import_torch` cannot express and
    `GraphError` for what the configuration cannot hold.
    """
    if Operation.PRODUCT not in config.cell_spec.operations:
        raise QuantizeError(f"config {config.name!r} has {config.cell} cells, which do not "
                            "multiply; a convolution needs mac, shift or shiftadd")
    images = _calibration_images(batches)
    chain = import_torch(model, _shape(images))
    traced = chain.trace(images)
    formats = _formats(chain.layers, traced, config)
    labels = ["input", *(layer.name for layer in chain.layers)]
    tensors = [graph.Tensor(label, _shape(values), *form)
               for label, values, form in zip(labels, traced, formats, strict=True)]
    nodes = [_node(layer, source, target, config)
             for layer, (source, target) in zip(chain.layers, pairwise(tensors), strict=True)]
    network = graph.Graph(name, tensors[0], tuple(nodes))
    network.verify(config)
    return network


def quantize_input(network: graph.Graph, images: torch.Tensor, config: AccelConfig) -> IntArray:
    """Input codes, int64 (n, channels, height, width), of float ``images`` of that shape."""
    if images.dim() != 4 or _shape(images) != network.input.shape:
        raise QuantizeError(f"images must be n of shape {network.input.shape}, not "
                            f"{tuple(images.shape)}")
    return quantize_values(network.input, images.detach().cpu().double().numpy(), config.act_bits)


def quantize_values(tensor: graph.Tensor, values: FloatArray, bits: int) -> IntArray:
    """Nearest codes of real ``values`` in the tensor's format, saturated to ``bits`` bits."""
    codes = np.clip(np.rint(values / tensor.scale) + tensor.zero_point, *limits(bits))
    return np.asarray(codes, dtype=np.int64)


def dequantize(tensor: graph.Tensor, codes: npt.ArrayLike) -> FloatArray:
    """Real values of ``codes``, in the unit of the float network."""
    return tensor.scale * (np.asarray(codes, dtype=np.float64) - tensor.zero_point)


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


def _shape(values: torch.Tensor) -> tuple[int, int, int]:
    return values.shape[1], values.shape[2], values.shape[3]


def _calibration_images(batches: Iterable[torch.Tensor]) -> torch.Tensor:
    """All batches as one float64 tensor (n, channels, height, width)."""
    images = list(batches)
    for batch in images:
        if not isinstance(batch, torch.Tensor) or not batch.is_floating_point():
            kind = batch.dtype if isinstance(batch, torch.Tensor) else type(batch).__name__
            raise QuantizeError(f"calibration batches must be float tensors, not {kind}")
        if batch.dim() != 4 or batch.shape[1:] != images[0].shape[1:]:
            raise QuantizeError("calibration batches must have one shape (n, channels, height, "
                                f"width), not {sorted({tuple(b.shape) for b in images})}")
        if not bool(batch.isfinite().all()):
            raise QuantizeError("the calibration images hold NaN or infinity")
    if not sum(map(len, images)):
        raise QuantizeError("there are no calibration images; some 256 are enough")
    return torch.cat(images).detach().cpu().double()


def _formats(layers: Sequence[Layer], traced: Sequence[torch.Tensor], config: AccelConfig,
             ) -> list[Format]:
    """Formats of the input and of each layer's output."""
    specs = {spec.function: spec for spec in config.activation_specs}
    if faults := [f"{layer.name}: activation {layer.function!r} is not in config {config.name!r}, "
                  f"which has {', '.join(specs) or 'none'}" for layer in layers
                  if isinstance(layer, FloatActivation) and layer.function not in specs]:
        raise QuantizeError("; ".join(faults))
    formats: list[Format] = []
    for start, producer in enumerate((None, *layers)):
        if producer and _keeps_format(producer):
            formats.append(formats[-1])
            continue
        end = next((i for i in range(start, len(layers)) if not _keeps_format(layers[i])),
                   len(layers))
        reader = layers[end] if end < len(layers) else None
        made, wanted = (_table(layer, specs) for layer in (producer, reader))
        if made and wanted and made.out_frac != wanted.in_frac:
            raise QuantizeError(f"{wanted.function} needs a Conv2d or Linear layer between it and "
                                f"{made.function}: their formats differ")
        formats.append((2.0 ** -made.out_frac, 0) if made else
                       (2.0 ** -wanted.in_frac, 0) if wanted else
                       _calibrated(traced[end], config.act_bits))
    return formats


def _keeps_format(layer: Layer) -> bool:
    return isinstance(layer, FloatMaxPool) or (
        isinstance(layer, FloatActivation) and layer.function in PLAIN)


def _table(layer: Layer | None, specs: Mapping[str, ActivationSpec]) -> ActivationSpec | None:
    if isinstance(layer, FloatActivation) and not _keeps_format(layer):
        return specs[layer.function]
    return None


def _calibrated(values: torch.Tensor, bits: int) -> Format:
    """Format over the range of ``values`` and zero, which it represents exactly."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    scale = (high - low) / ((1 << bits) - 1) or 1.0
    smallest, largest = limits(bits)
    return scale, max(smallest, min(largest, smallest - round(low / scale)))


def _node(layer: Layer, source: graph.Tensor, target: graph.Tensor, config: AccelConfig,
          ) -> graph.Node:
    if isinstance(layer, FloatConv):
        return _conv(layer, source, target, config)
    if isinstance(layer, FloatMaxPool):
        return graph.MaxPool2d(layer.name, source, target, layer.kernel, layer.stride)
    return graph.Activation(layer.name, source, target, layer.function)


def _conv(layer: FloatConv, source: graph.Tensor, target: graph.Tensor, config: AccelConfig,
          ) -> graph.Conv2d:
    weight, offset = layer.weight.flatten(1).numpy(), layer.bias.numpy()
    known = config.cell_spec.weights_of(Operation.PRODUCT)
    members = [member for member in known if -member in set(known)]
    # Weights so small that they do not count must not make the bias overflow, nor vanish.
    smallest = np.maximum(abs(offset) / source.scale * 2.0 ** (2 - config.acc_bits),
                          target.scale / source.scale * 2.0 ** -24)
    codes, scale = quantize_weights(weight, np.array(members, dtype=np.float64), smallest)
    bias = np.rint(offset / (source.scale * scale)).astype(np.int64)
    factors = []
    for channel, factor in enumerate(source.scale * scale / target.scale):
        try:
            factors.append(fixed_multiplier(float(factor)))
        except ValueError as error:
            raise QuantizeError(f"{layer.name}, output channel {channel}: {error}; its weights do "
                                "not suit the format of its output") from None
    multiplier, shift = np.array(factors, dtype=np.int64).T
    return graph.Conv2d(layer.name, source, target, codes.reshape(layer.weight.shape),
                        bias - source.zero_point * codes.sum(axis=1), multiplier, shift,
                        layer.stride, layer.padding)
