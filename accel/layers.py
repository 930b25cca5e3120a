"""The float graph: the layers of a network before quantization, and what each computes.

A tensor goes by the name of the layer that computes it, or ``input``, and is (n, channels,
height, width) in float64: features without a position have height and width 1, and a fully
connected layer is a convolution whose kernel covers its input.
"""
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

from accel.graph import NO_PADDING, Padding

Pair = tuple[int, int]
Shape = tuple[int, int, int]

#: Name of the tensor that the network reads.
INPUT = "input"
ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": torch.relu, "selu": torch.selu, "tanh": torch.tanh, "elu": functional.elu,
    "sigmoid": torch.sigmoid, "gelu": functional.gelu, "silu": functional.silu,
    "softplus": functional.softplus, "hardsigmoid": functional.hardsigmoid,
    "hardswish": functional.hardswish}


@dataclass(frozen=True, eq=False)
class FloatConv:
    """Convolution of ``weight`` (out, in / groups, kernel_h, kernel_w) with ``bias`` (out,)."""

    name: str
    inputs: tuple[str]
    weight: torch.Tensor
    bias: torch.Tensor
    stride: Pair = (1, 1)
    padding: Padding = NO_PADDING
    dilation: Pair = (1, 1)
    groups: int = 1

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to ``x``; padding is zero."""
        return functional.conv2d(pad(x, self.padding), self.weight, self.bias, self.stride,
                                 0, self.dilation, self.groups)


@dataclass(frozen=True, eq=False)
class FloatDistance:
    """Minus the sums of distances ``|x - weight|``, times ``scale`` (out,), plus ``bias`` (out,).

    ``weight`` is (out, in, kernel_h, kernel_w). The add layer of AdderNet (Chen et al., CVPR 2020,
    equation 2) and the batch norm behind it.
    """

    name: str
    inputs: tuple[str]
    weight: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor
    stride: Pair = (1, 1)
    padding: Padding = NO_PADDING
    dilation: Pair = (1, 1)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to ``x``; padding is zero, and as far from a weight as that is large."""
        _, _, height, width = self.weight.shape
        padded = pad(x, self.padding)
        rows, cols = ((size - (kernel - 1) * dilation - 1) // stride + 1 for (
            size, kernel, dilation, stride) in zip(padded.shape[2:], (height, width),
                                                   self.dilation, self.stride, strict=True))
        windows = functional.unfold(padded, (height, width), self.dilation, 0, self.stride)
        far = torch.cdist(windows.transpose(1, 2), self.weight.flatten(1), p=1)
        sums = far.transpose(1, 2).reshape(len(x), -1, rows, cols)
        return self.bias.view(-1, 1, 1) - sums * self.scale.view(-1, 1, 1)


@dataclass(frozen=True)
class FloatActivation:
    """An elementwise function, one of `ACTIVATIONS`."""

    name: str
    inputs: tuple[str]
    function: str

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to ``x``."""
        return ACTIVATIONS[self.function](x)


@dataclass(frozen=True)
class FloatClamp:
    """Values limited to ``low..high``, either of which may be infinite."""

    name: str
    inputs: tuple[str]
    low: float
    high: float

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to ``x``."""
        return x.clamp(self.low, self.high)


@dataclass(frozen=True)
class FloatMaxPool:
    """Maximum over windows; padding never wins."""

    name: str
    inputs: tuple[str]
    kernel: Pair
    stride: Pair
    padding: Padding = NO_PADDING

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to ``x``."""
        return functional.max_pool2d(pad(x, self.padding, -math.inf), self.kernel, self.stride)


@dataclass(frozen=True)
class FloatAvgPool:
    """Mean over windows; padding is zero and counts. A 1 x 1 kernel is the identity."""

    name: str
    inputs: tuple[str]
    kernel: Pair
    stride: Pair
    padding: Padding = NO_PADDING

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to ``x``."""
        return functional.avg_pool2d(pad(x, self.padding), self.kernel, self.stride)


@dataclass(frozen=True)
class FloatAdd:
    """Sum of two tensors of one shape."""

    name: str
    inputs: tuple[str, str]

    def __call__(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Apply to ``x`` and ``y``."""
        return x + y


@dataclass(frozen=True)
class FloatConcat:
    """Channels of several tensors one after the other."""

    name: str
    inputs: tuple[str, ...]

    def __call__(self, *tensors: torch.Tensor) -> torch.Tensor:
        """Apply to ``tensors``, which differ in their channels alone."""
        return torch.cat(tensors, dim=1)


Layer = (FloatConv | FloatDistance | FloatActivation | FloatClamp | FloatMaxPool | FloatAvgPool
         | FloatAdd | FloatConcat)


@dataclass(frozen=True, eq=False)
class FloatGraph:
    """Layers in execution order; each reads ``input`` or earlier layers, the last is the output.

    Members
    -------
    host
        Operators that the host applies to the output, in order: softmax, log_softmax, argmax.
    """

    input_shape: Shape
    layers: tuple[Layer, ...]
    host: tuple[str, ...] = ()

    def trace(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Every tensor by name, in order; ``images`` are n of the input's shape or features."""
        tensors = {INPUT: images.double().reshape(len(images), *self.input_shape)}
        for layer in self.layers:
            tensors[layer.name] = layer(*(tensors[name] for name in layer.inputs))
        return tensors

    def run(self, images: torch.Tensor) -> torch.Tensor:
        """The output for ``images``, (n, channels, height, width), before the host's part."""
        return self.trace(images)[self.layers[-1].name]

    @property
    def macs(self) -> int:
        """Products or distances per image in convolutions and fully connected layers."""
        tensors = self.trace(torch.zeros(1, *self.input_shape))
        return sum(layer.weight[0].numel() * tensors[layer.name].numel()
                   for layer in self.layers if isinstance(layer, FloatConv | FloatDistance))


def pad(x: torch.Tensor, padding: Padding, value: float = 0.0) -> torch.Tensor:
    """``x`` with ``value`` around its rows and columns."""
    top, left, bottom, right = padding
    return functional.pad(x, (left, right, top, bottom), value=value)
