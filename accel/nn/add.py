"""Layers that measure a distance where others multiply: the adder layers of AdderNet.

``y = -sum |x - w|`` over a window; padding is 0 and counts as ``-|w|``. No output is above 0, so
that a batch norm (or a bias) has to follow before a ReLU. The gradients are AdderNet's:

- of a weight ``sum (x - w) * dy``, with the whole difference for its sign, scaled to the length
  ``eta * sqrt(k)`` in a layer of ``k`` weights: in early layers it would else be tiny;
- of an input ``sum clip(w - x, -1, 1) * dy``.

Source: H. Chen, Y. Wang, C. Xu, B. Shi, C. Xu, Q. Tian, C. Xu, "AdderNet: Do We Really Need
Multiplications in Deep Learning?", CVPR 2020, arXiv 1912.13200.
"""
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from accel.nn import kernel
from accel.nn.window import Size, pair, symmetric

#: Length of a weight gradient, as root mean square of its elements.
ETA = 0.2
#: Elements of the largest tensor that the loops in torch make beside their result.
CHUNK = 1 << 20

SCHEMA = ("(Tensor x, Tensor weight, int[2] stride, int[2] padding, int[2] dilation, float eta)"
          " -> Tensor")


@torch.library.custom_op("systolith::add_conv2d", mutates_args=(), schema=SCHEMA)
def add_conv2d(x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int],
               dilation: Sequence[int], eta: float) -> Tensor:
    """``-sum |x - w|``: (n, out, h, w) of ``x`` (n, in, h, w), ``weight`` (out, in, kh, kw).

    ``eta`` matters to the gradient alone. float64, and whatever is not on a CPU, is computed by
    torch, all else in float32.
    """
    shape = _out_shape(x, weight, stride, padding, dilation)
    if not _compiled(x):
        return _distance(x, weight, shape, stride, padding, dilation)
    y = kernel.distance(_padded(x.float(), padding), weight.float(), shape, stride, dilation)
    return y.to(x.dtype)


@add_conv2d.register_fake
def _(x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int],
      dilation: Sequence[int], eta: float) -> Tensor:
    return x.new_empty(_out_shape(x, weight, stride, padding, dilation))


@torch.library.custom_op("systolith::add_conv2d_grad_input", mutates_args=(), schema=(
    "(Tensor x, Tensor weight, Tensor grad, int[2] stride, int[2] padding, int[2] dilation)"
    " -> Tensor"))
def add_conv2d_grad_input(x: Tensor, weight: Tensor, grad: Tensor, stride: Sequence[int],
                          padding: Sequence[int], dilation: Sequence[int]) -> Tensor:
    """``sum clip(w - x, -1, 1) * grad``, the gradient of `add_conv2d` for ``x``."""
    if not _compiled(x):
        return _pull(x, weight, grad, stride, padding, dilation)
    slope = kernel.pull(_padded(x.float(), padding), weight.float(), grad.float(), stride,
                        dilation)
    (top, left), (height, width) = padding, x.shape[2:]
    return slope[:, :, top:top + height, left:left + width].to(x.dtype).contiguous()


@add_conv2d_grad_input.register_fake
def _(x: Tensor, weight: Tensor, grad: Tensor, stride: Sequence[int], padding: Sequence[int],
      dilation: Sequence[int]) -> Tensor:
    return x.new_empty(x.shape)


def _grad_weight(x: Tensor, weight: Tensor, grad: Tensor, stride: Sequence[int],
                 padding: Sequence[int], dilation: Sequence[int]) -> Tensor:
    """``sum (x - w) * grad``: a convolution's gradient but for its last part.

    float32 of half types, whose range the sums and their length leave.
    """
    wide = torch.promote_types(weight.dtype, torch.float32)
    x, weight, grad = x.to(wide), weight.to(wide), grad.to(wide)
    products = torch.ops.aten.convolution_backward(
        grad, x, weight, None, stride, padding, dilation, False, [0, 0], 1, [False, True, False])
    sums = grad.sum(dim=(0, 2, 3))
    difference: Tensor = products[1] - weight * sums[:, None, None, None]
    return difference


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, ctx.stride, ctx.padding, ctx.dilation, ctx.eta = inputs
    ctx.save_for_backward(x, weight)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, weight = ctx.saved_tensors
    window = ctx.stride, ctx.padding, ctx.dilation
    grad_x = grad_weight = None
    if ctx.needs_input_grad[0]:
        grad_x = add_conv2d_grad_input(x, weight, grad, *window)
    if ctx.needs_input_grad[1]:
        grad_weight = _grad_weight(x, weight, grad, *window)
        length = grad_weight.norm().clamp(min=1e-12)
        grad_weight = grad_weight * (ctx.eta * math.sqrt(weight.numel()) / length)
        grad_weight = grad_weight.to(weight.dtype)
    return grad_x, grad_weight, None, None, None, None


add_conv2d.register_autograd(_backward, setup_context=_remember)


class AddConv2d(nn.Module):
    """``-sum |x - w|`` over windows of ``x`` (n, in, h, w), with the parameters of `nn.Conv2d`.

    Parameters
    ----------
    bias
        Of each output channel, added behind. Off, since a batch norm follows.
    padding
        Zeros, as many on both sides; so ``same`` needs a kernel that allows it.
    groups
        1 alone.
    eta
        Root mean square of the weights' gradient.

    Members:
        weight: (out, in, kernel_h, kernel_w), at first standard normal as AdderNet has it: weights
            are compared with the output of a batch norm, and are to be spread like it.

    Raises:
        ValueError: a parameter is out of its range; or ``x`` does not fit, is too small, or is
            not of floating point.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1,
                 padding: str | Size = 0, dilation: Size = 1, groups: int = 1, bias: bool = False,
                 *, eta: float = ETA) -> None:
        super().__init__()
        if groups != 1:
            raise ValueError(f"an add layer has 1 group, not {groups}")
        self.in_channels, self.out_channels, self.eta = in_channels, out_channels, _checked(eta)
        self.kernel_size = pair(kernel_size, "kernel_size", 1)
        self.stride, self.dilation = pair(stride, "stride", 1), pair(dilation, "dilation", 1)
        self.padding = symmetric(padding, self.kernel_size, self.stride, self.dilation)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, *self.kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Apply to ``x`` (n, in, h, w)."""
        y: Tensor = add_conv2d(x, self.weight, self.stride, self.padding, self.dilation, self.eta)
        return y if self.bias is None else y + self.bias[:, None, None]

    def extra_repr(self) -> str:
        """Its parameters, as `nn.Conv2d` shows them."""
        return (f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
                f"stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
                f"bias={self.bias is not None}")


class AddLinear(nn.Module):
    """``-sum |x - w|`` over the last dimension of ``x``; ``weight`` is (out, in).

    Parameters as in `AddConv2d`, which it is with a single position.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = False, *,
                 eta: float = ETA) -> None:
        super().__init__()
        self.in_features, self.out_features, self.eta = in_features, out_features, _checked(eta)
        self.weight = nn.Parameter(torch.randn(out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Apply to ``x`` (..., in)."""
        if x.shape[-1:] != (self.in_features,):
            raise ValueError(f"an add layer for {self.in_features} features reads "
                             f"(..., {self.in_features}), not {tuple(x.shape)}")
        y: Tensor = add_conv2d(x.reshape(-1, self.in_features, 1, 1),
                               self.weight[:, :, None, None], (1, 1), (0, 0), (1, 1), self.eta)
        y = y.reshape(*x.shape[:-1], self.out_features)
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """Its parameters, as `nn.Linear` shows them."""
        return (f"in_features={self.in_features}, out_features={self.out_features}, "
                f"bias={self.bias is not None}")


def _checked(eta: float) -> float:
    if not isinstance(eta, int | float) or not 0 <= eta < math.inf:
        raise ValueError(f"eta must be a finite number of at least 0, not {eta!r}")
    return eta


def _compiled(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype != torch.float64 and kernel.library() is not None


def _padded(x: Tensor, padding: Sequence[int]) -> Tensor:
    top, left = padding
    return functional.pad(x, (left, left, top, top)) if top or left else x


def _out_shape(x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int],
               dilation: Sequence[int]) -> tuple[int, ...]:
    """Shape of the output; a ValueError where ``x`` does not fit."""
    outputs, channels, *kernel_size = weight.shape
    if not x.is_floating_point() or not weight.is_floating_point():
        raise ValueError("an add layer reads and holds floating-point numbers, not "
                         f"{x.dtype} and {weight.dtype}")
    if x.dim() != 4 or x.shape[1] != channels:
        raise ValueError(f"an add layer for {channels} channels reads (n, {channels}, h, w), "
                         f"not {tuple(x.shape)}")
    sizes = [(size + 2 * around - spread * (taps - 1) - 1) // step + 1
             for size, around, spread, taps, step in zip(
                 x.shape[2:], padding, dilation, kernel_size, stride, strict=True)]
    if min(sizes) < 1:
        raise ValueError(f"an input of {tuple(x.shape[2:])} with padding {tuple(padding)} is "
                         f"smaller than the kernel {tuple(kernel_size)} with dilation "
                         f"{tuple(dilation)}")
    return x.shape[0], outputs, *sizes


def _distance(x: Tensor, weight: Tensor, shape: Sequence[int], stride: Sequence[int],
              padding: Sequence[int], dilation: Sequence[int]) -> Tensor:
    """`add_conv2d` in torch, a few images and one output channel at a time."""
    y = x.new_empty(tuple(shape)).flatten(2)
    rows, window = weight.flatten(1), _window(weight, stride, padding, dilation)
    for images in _chunks(x, weight, y):
        columns = functional.unfold(x[images], *window)
        for o, row in enumerate(rows):
            y[images, o] = -(columns - row[:, None]).abs().sum(1)
    return y.reshape(tuple(shape))


def _pull(x: Tensor, weight: Tensor, grad: Tensor, stride: Sequence[int], padding: Sequence[int],
          dilation: Sequence[int]) -> Tensor:
    """`add_conv2d_grad_input` in torch, a few images and one output channel at a time."""
    slopes, rows, grad = x.new_empty(x.shape), weight.flatten(1), grad.flatten(2)
    window = _window(weight, stride, padding, dilation)
    for images in _chunks(x, weight, grad):
        columns = functional.unfold(x[images], *window)
        pulls = torch.zeros_like(columns)
        for o, row in enumerate(rows):
            pulls += (row[:, None] - columns).clamp(-1, 1) * grad[images, o, None]
        slopes[images] = functional.fold(pulls, tuple(x.shape[2:]), *window)
    return slopes


def _window(weight: Tensor, *sizes: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Kernel size, dilation, padding and stride: the order of torch's unfold."""
    stride, padding, dilation = map(tuple, sizes)
    return tuple(weight.shape[2:]), dilation, padding, stride


def _chunks(x: Tensor, weight: Tensor, y: Tensor) -> list[slice]:
    """Images that are unfolded at a time."""
    step = max(1, CHUNK // max(1, weight[0].numel() * y.shape[-1]))
    return [slice(start, start + step) for start in range(0, len(x), step)]
