"""A shift layer and an add layer behind it, in the place of one layer that multiplies.

Source: H. You, X. Chen, Y. Zhang, C. Li, S. Li, Z. Liu, Z. Wang, Y. Lin, "ShiftAddNet: A Hardware-
Inspired Deep Network", NeurIPS 2020, arXiv 2010.12785.
"""
from torch import Tensor, nn

from accel.nn.add import ETA, AddConv2d, AddLinear
from accel.nn.shift import Mode, ShiftConv2d, ShiftLinear
from accel.nn.window import Size, pair


class ShiftAddConv2d(nn.Module):
    """`ShiftConv2d` to ``out_channels``, then `AddConv2d` among those of the same height and width.

    Parameters
    ----------
    stride, padding, dilation
        Of the shift layer, which has no bias.
    bias
        Of the add layer. Off, since a batch norm follows.
    add_kernel
        Of the add layer, odd; else that of the shift layer.
    bits, mode, fixed
        Of the shift layer's weights.
    eta
        Of the add layer.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1,
                 padding: str | Size = 0, dilation: Size = 1, groups: int = 1, bias: bool = False,
                 *, add_kernel: Size | None = None, bits: int = 4, mode: Mode = "ps",
                 fixed: bool = False, eta: float = ETA) -> None:
        super().__init__()
        height, width = (pair(kernel_size, "kernel_size", 1) if add_kernel is None
                         else pair(add_kernel, "add_kernel", 1))
        if height % 2 == 0 or width % 2 == 0:
            raise ValueError("an add layer keeps height and width with an odd kernel, not "
                             f"{(height, width)}: give another add_kernel")
        self.shift = ShiftConv2d(in_channels, out_channels, kernel_size, stride, padding, dilation,
                                 groups, bias=False, bits=bits, mode=mode, fixed=fixed)
        self.add = AddConv2d(out_channels, out_channels, (height, width),
                             padding=(height // 2, width // 2), bias=bias, eta=eta)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to ``x`` (n, in, h, w)."""
        y: Tensor = self.add(self.shift(x))
        return y


class ShiftAddLinear(nn.Module):
    """`ShiftLinear` to ``out_features``, then `AddLinear` among those.

    Parameters as in `ShiftAddConv2d`.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = False, *, bits: int = 4,
                 mode: Mode = "ps", fixed: bool = False, eta: float = ETA) -> None:
        super().__init__()
        self.shift = ShiftLinear(in_features, out_features, bias=False, bits=bits, mode=mode,
                                 fixed=fixed)
        self.add = AddLinear(out_features, out_features, bias, eta=eta)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to ``x`` (..., in)."""
        y: Tensor = self.add(self.shift(x))
        return y
