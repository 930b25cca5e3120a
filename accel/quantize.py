"""Post-training quantization: float graph and calibration batches to the integer graph.

Activations are affine per tensor (`accel.tensor_formats`), weights scaled per output channel
(`accel.integer_nodes`). A mean over windows becomes a convolution.
"""
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from accel import graph
from accel.graph import IntArray
from accel.integer_nodes import FloatArray, integer_node
from accel.layers import INPUT, FloatConv, FloatDistance, FloatGraph, Layer, Shape
from accel.model import import_torch
from accel.spec.cells import Operation, cells_for
from accel.spec.config import AccelConfig
from accel.spec.numerics import limits
from accel.tensor_formats import QuantizeError, Range, formats, separate
from accel.verify import verify

__all__ = ["QuantizeError", "dequantize", "quantize", "quantize_input", "quantize_values"]

#: Images traced at once; bounds the memory of their tensors.
CHUNK = 32


def quantize(model: nn.Module, batches: Iterable[torch.Tensor], config: AccelConfig,
             name: str = "network") -> graph.Graph:
    """Integer graph of ``model`` for ``config``.

    ``batches`` are float tensors (n, channels, height, width) or (n, features) like those that
    the network will see; some 256 images are enough. Weights that are small beside the largest of
    their output channel become 0: of a shift layer those below some 2**-8 of it where a cell's
    weight has 3 exponent bits, as in every preset. Raises `QuantizeError` for unusable data, an
    activation that is missing, a scale out of range or a distance's weight that the cells do not
    hold, `ModelError` for what `import_torch` cannot express and `GraphError` for what the
    configuration cannot hold.
    """
    if not isinstance(config, AccelConfig):
        raise TypeError(f"config must be an AccelConfig, not {config!r}")
    images = _calibration_images(batches)
    return quantize_float(import_torch(model, tuple(images.shape[1:])), images, config, name)


def quantize_float(imported: FloatGraph, images: torch.Tensor, config: AccelConfig, name: str,
                   ) -> graph.Graph:
    """The same for a float graph and one tensor of calibration images."""
    if faults := [f"{layer.name} needs {' or '.join(cells_for(operation))} cells, not {config.cell}"
                  for layer in imported.layers if (operation := _operation(layer)) is not None
                  and operation not in config.cell_spec.operations]:
        raise QuantizeError(f"config {config.name!r}: " + "; ".join(faults))
    network = separate(imported, config)
    ranges, shapes = _observe(network, images)
    tensors = {label: graph.Tensor(label, shapes[label], *form)
               for label, form in formats(network, ranges, config).items()}
    nodes = [integer_node(layer, [tensors[label] for label in layer.inputs], tensors[layer.name],
                          config) for layer in network.layers]
    integer = graph.Graph(name, tensors[INPUT], tuple(nodes), imported.host)
    verify(integer, config)
    return integer


def quantize_input(network: graph.Graph, images: torch.Tensor, config: AccelConfig) -> IntArray:
    """Input codes, int64 (n, channels, height, width), of float ``images``.

    These are (n, channels, height, width) or, where the network reads features, (n, features).
    """
    if not isinstance(images, torch.Tensor):
        raise TypeError(f"images must be a torch tensor, not {type(images).__name__}")
    shape = network.input.shape
    if tuple(images.shape[1:]) not in (shape, _without_position(shape)):
        raise QuantizeError(f"images must be n of shape {shape}, not {tuple(images.shape)}")
    if not bool(images.isfinite().all()):
        raise QuantizeError(f"images must be finite, but {int((~images.isfinite()).sum())} values "
                            "are NaN or infinite")
    values = images.detach().cpu().double().reshape(len(images), *shape).numpy()
    return quantize_values(network.input, values, config.act_bits)


def quantize_values(tensor: graph.Tensor, values: FloatArray, bits: int) -> IntArray:
    """Nearest codes of real ``values`` in the tensor's format, saturated to ``bits`` bits."""
    codes = np.clip(np.rint(values / tensor.scale) + tensor.zero_point, *limits(bits))
    return np.asarray(codes, dtype=np.int64)


def dequantize(tensor: graph.Tensor, codes: npt.ArrayLike) -> FloatArray:
    """Real values of ``codes``, in the unit of the float network."""
    return tensor.scale * (np.asarray(codes, dtype=np.float64) - tensor.zero_point)


def _operation(layer: Layer) -> Operation | None:
    """What the cells of an array must compute for ``layer``, if it matters."""
    if isinstance(layer, FloatConv):
        return Operation.PRODUCT
    return Operation.DISTANCE if isinstance(layer, FloatDistance) else None


def _without_position(shape: Shape) -> tuple[int, ...]:
    """``(features,)`` where height and width are 1."""
    return shape[:1] if shape[1:] == (1, 1) else shape


def _observe(network: FloatGraph, images: torch.Tensor,
             ) -> tuple[dict[str, Range], dict[str, Shape]]:
    """Range of every tensor over ``images``, and its shape."""
    ranges: dict[str, Range] = {}
    shapes: dict[str, Shape] = {}
    for chunk in torch.split(images, CHUNK):
        for name, values in network.trace(chunk).items():
            low, high = float(values.min()), float(values.max())
            if not np.isfinite([low, high]).all():
                raise QuantizeError(f"{name}: the calibration images give NaN or infinity")
            seen = ranges.get(name, (low, high))
            ranges[name] = min(seen[0], low), max(seen[1], high)
            shapes[name] = values.shape[1], values.shape[2], values.shape[3]
    return ranges, shapes


def _calibration_images(batches: Iterable[torch.Tensor]) -> torch.Tensor:
    """All batches as one float64 tensor (n, channels, height, width) or (n, features)."""
    images = list(batches)
    for batch in images:
        if not isinstance(batch, torch.Tensor) or not batch.is_floating_point():
            kind = batch.dtype if isinstance(batch, torch.Tensor) else type(batch).__name__
            raise QuantizeError(f"calibration batches must be float tensors, not {kind}")
        if batch.dim() not in (2, 4) or batch.shape[1:] != images[0].shape[1:]:
            raise QuantizeError("calibration batches must have one shape (n, channels, height, "
                                "width) or (n, features), not "
                                f"{sorted({tuple(b.shape) for b in images})}")
        if not bool(batch.isfinite().all()):
            raise QuantizeError("the calibration images hold NaN or infinity")
    if not sum(map(len, images)):
        raise QuantizeError("there are no calibration images; some 256 are enough")
    return torch.cat(images).detach().cpu().double()
