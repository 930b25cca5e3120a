"""Layers whose weights are powers of two, so that hardware shifts where others multiply: DeepShift.

Two ways to train them, with ``bits`` of 3, 4 or 5 for a weight:

- ``ps`` trains signs and exponents: ``sign(round(sign)) * 2 ** round(exponent)``, where a sign may
  be 0 and exponents go from ``-(2 ** (bits - 1) - 2)`` to 0. Rounding and signs pass a gradient
  straight through, so that ``dsign = dW`` and ``dexponent = dW * W * ln 2``.
- ``q`` trains real weights, and rounds them to ``+-2 ** round(log2 |w|)`` with exponents from
  ``-(2 ** (bits - 1) - 1)`` to 0. The gradient of the power is that of the real weight.

What lies outside of its range counts as the range's end. It keeps the part of its gradient that
leads back inside and loses the other: with none it could never return, with all it would drift off.

Source: M. Elhoushi, Z. Chen, F. Shafiq, Y. H. Tian, J. Y. Li, "DeepShift: Towards Multiplication-
Less Neural Networks", CVPR Workshops 2021, arXiv 1905.13298. A frozen layer is the fixed shift of
H. You et al., "ShiftAddNet", NeurIPS 2020, arXiv 2010.12785.
"""
import math
from collections.abc import Callable
from typing import Any, Literal, Self, TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from accel.nn.window import Size, pair

Mode = Literal["ps", "q"]

BITS = (3, 4, 5)
#: By mode: how many of the ``2 ** (bits - 1)`` codes of an exponent are no exponent below 0.
MODES: dict[str, int] = {"ps": 2, "q": 1}


class ShiftOptions(TypedDict):
    """Keyword arguments of every shift layer."""

    bits: int
    mode: Mode
    fixed: bool


def lowest_exponent(bits: int, mode: str) -> int:
    """The smallest power's exponent. Raises a ValueError for other bits or modes than there are."""
    # a list: what cannot be hashed is no mode either
    if not isinstance(bits, int) or bits not in BITS or mode not in list(MODES):
        raise ValueError(f"a shift layer has 3, 4 or 5 bits and mode 'ps' or 'q', not {bits!r} "
                         f"and {mode!r}")
    return MODES[mode] - (1 << bits - 1)


def ternary(sign: Tensor) -> Tensor:
    """The nearest of -1, 0 and 1. NaN stays, so that it is seen; of `torch.sign` it would be 0."""
    return sign.round().clamp(-1, 1) + 0.0      # which makes +0 of -0


class ShiftLayer(nn.Module):
    """What the two layers share: weights that are powers of two, at first those next to real ones.

    In mode ``ps`` a weight starts as 0 if it is below half of a unit: the smallest power, or the
    layer's mean magnitude where that is less. The first alone would be rounding; the second keeps
    a layer alive whose weights are all small, as they are behind many inputs.

    Members:
        sign, exponent: trained in mode ``ps``, of the weight's shape.
        weight: trained in mode ``q``.
        bias: (out,) or None; it stays real.
        low: the smallest power's exponent; the largest is 0.
    """

    def __init__(self, like: nn.Conv2d | nn.Linear, bits: int, mode: Mode, fixed: bool) -> None:
        super().__init__()
        self.low = lowest_exponent(bits, mode)
        self.bits, self.mode, self.fixed = bits, mode, fixed
        self.bias = None if like.bias is None else nn.Parameter(like.bias.detach())
        self._start(like)

    def take(self, layer: nn.Conv2d | nn.Linear) -> Self:
        """Start from the weights of ``layer``, in its type and on its device, and from its bias.

        It stays without a bias if it has none, and has one of 0 if ``layer`` has none. Raises a
        ValueError if the weights are of another shape or not finite.
        """
        weight, shape = layer.weight, (self.weight if self.mode == "q" else self.sign).shape
        if weight.shape != shape:
            raise ValueError(f"weights must be of shape {tuple(shape)}, not {tuple(weight.shape)}")
        if not weight.is_floating_point():
            raise ValueError(f"weights must be floating-point numbers, not {weight.dtype}")
        if not (weight.is_meta or bool(weight.isfinite().all())):
            raise ValueError(f"weights must be finite, but {int((~weight.isfinite()).sum())} of "
                             f"{weight.numel()} are not")
        return self._start(layer)

    def _start(self, layer: nn.Conv2d | nn.Linear) -> Self:
        weight = layer.weight.detach()
        if self.mode == "q":
            self.weight = nn.Parameter(weight.clone())
        else:
            size = weight.abs()
            unit = size.mean().clamp(torch.finfo(size.dtype).tiny, 2.0 ** self.low)
            self.sign = nn.Parameter((weight / unit).clamp(-1, 1))
            self.exponent = nn.Parameter(size.clamp(2.0 ** self.low, 1).log2())
        if self.bias is not None:
            self.bias = nn.Parameter(weight.new_zeros(len(weight)) if layer.bias is None
                                     else layer.bias.detach().clone())
        return self.freeze() if self.fixed else self

    def freeze(self) -> Self:
        """Train the weights no more; a bias is trained all the same."""
        self.fixed = True
        for name, parameter in self.named_parameters(recurse=False):
            parameter.requires_grad_(name == "bias")
        return self

    def effective_weight(self) -> Tensor:
        """The powers of two, and zeros in mode ``ps``; with the gradients of above."""
        if self.mode == "q":
            return _nearest(self.weight, self.low)
        return _sign_exponent(self.sign, self.exponent, self.low)

    def _kind(self) -> str:
        return (f"bias={self.bias is not None}, bits={self.bits}, mode={self.mode}"
                + ", fixed" * self.fixed)


class ShiftConv2d(ShiftLayer):
    """`nn.Conv2d` by powers of two; the first weights are those next to what that starts with.

    Parameters
    ----------
    bits, mode
        Of a weight; see the module.
    fixed
        Never train the weights: they stay random.

    Raises:
        ValueError: a parameter is out of its range.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1,
                 padding: str | Size = 0, dilation: Size = 1, groups: int = 1, bias: bool = True,
                 *, bits: int = 4, mode: Mode = "ps", fixed: bool = False) -> None:
        around = padding if isinstance(padding, str) else pair(padding, "padding", 0)
        window = pair(kernel_size, "kernel_size", 1), pair(stride, "stride", 1)
        spread = pair(dilation, "dilation", 1)
        like = nn.Conv2d(in_channels, out_channels, *window, around, spread, groups, bias)
        super().__init__(like, bits, mode, fixed)
        self.in_channels, self.out_channels = in_channels, out_channels
        (self.kernel_size, self.stride), self.padding = window, around
        self.dilation, self.groups = spread, groups

    def forward(self, x: Tensor) -> Tensor:
        """Apply to ``x`` (n, in, h, w)."""
        return functional.conv2d(x, self.effective_weight(), self.bias, self.stride, self.padding,
                                 self.dilation, self.groups)

    def extra_repr(self) -> str:
        """Its parameters, as `nn.Conv2d` shows them."""
        return (f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
                f"stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
                f"groups={self.groups}, {self._kind()}")


class ShiftLinear(ShiftLayer):
    """`nn.Linear` by powers of two. Parameters as in `ShiftConv2d`."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, bits: int = 4,
                 mode: Mode = "ps", fixed: bool = False) -> None:
        super().__init__(nn.Linear(in_features, out_features, bias), bits, mode, fixed)
        self.in_features, self.out_features = in_features, out_features

    def forward(self, x: Tensor) -> Tensor:
        """Apply to ``x`` (..., in)."""
        return functional.linear(x, self.effective_weight(), self.bias)

    def extra_repr(self) -> str:
        """Its parameters, as `nn.Linear` shows them."""
        return (f"in_features={self.in_features}, out_features={self.out_features}, "
                f"{self._kind()}")


class _SignExponent(torch.autograd.Function):
    """Powers of two by sign and exponent. ``dsign`` is not scaled by the power, as in DeepShift.

    It would else take a small weight very long to change its sign.
    """

    @staticmethod
    def forward(ctx: Any, sign: Tensor, exponent: Tensor, low: int) -> Tensor:
        weight = ternary(sign) * exponent.clamp(low, 0).round().exp2()
        ctx.save_for_backward(exponent, weight)
        ctx.low = low
        return weight

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        exponent, weight = ctx.saved_tensors
        return grad, _inward(grad * weight * math.log(2), exponent, ctx.low, 0), None


class _Nearest(torch.autograd.Function):
    """The power of two that is next to a real weight on a scale of logarithms; never 0."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, low: int) -> Tensor:
        ctx.save_for_backward(weight)
        return weight.abs().clamp(2.0 ** low, 1).log2().round().exp2().copysign(weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        weight, = ctx.saved_tensors
        return _inward(grad, weight, -1, 1), None


#: torch leaves these untyped.
_sign_exponent: Callable[..., Tensor] = _SignExponent.apply
_nearest: Callable[..., Tensor] = _Nearest.apply


def _inward(grad: Tensor, value: Tensor, low: int, high: int) -> Tensor:
    """``grad`` but where a step against it leads out of ``low..high``, which is 0."""
    outward = (value <= low) & (grad > 0) | (value >= high) & (grad < 0)
    return grad.masked_fill(outward, 0)
