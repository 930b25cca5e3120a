"""Networks without multiplications, each beside the one that it stands for.

`cnn` reads digits: three convolutions with batch norm, as LeNet-5 has pooling between them, then a
mean and a linear layer. Its relatives have other layers (`accel.nn`) in the same places. Networks
for (3, 32, 32) follow `mlperf.resnet8` and ResNet-20.

Sources: M. Elhoushi et al., "DeepShift", arXiv 1905.13298; H. Chen et al., "AdderNet", arXiv
1912.13200; H. You et al., "ShiftAddNet", NeurIPS 2020, arXiv 2010.12785, whose last layer, a plain
one there, is a shift layer here, as nothing multiplies; K. He et al., "Deep Residual Learning for
Image Recognition", arXiv 1512.03385.
"""
from collections.abc import Callable
from typing import Any

from torch import nn

from accel import mlperf
from accel.nn import convert

Build = Callable[[], nn.Sequential]

#: Channels of the convolutions of `cnn`.
WIDTHS = (8, 16, 32)


def cnn() -> nn.Sequential:
    """Of digits (1, 28, 28), 10 classes: 608,704 multiplications an image."""
    one, two, three = WIDTHS
    return nn.Sequential(
        nn.Conv2d(1, one, 5, padding=2, bias=False), nn.BatchNorm2d(one), nn.ReLU(),
        nn.MaxPool2d(2),  # (8, 14, 14)
        nn.Conv2d(one, two, 3, padding=1, bias=False), nn.BatchNorm2d(two), nn.ReLU(),
        nn.MaxPool2d(2),  # (16, 7, 7)
        nn.Conv2d(two, three, 3, padding=1, bias=False), nn.BatchNorm2d(three), nn.ReLU(),
        nn.AvgPool2d(7), nn.Flatten(), nn.Linear(three, 10))


def resnet20() -> nn.Sequential:
    """ResNet-20 for CIFAR-10 (3, 32, 32), 10 classes, with 1 x 1 convolutions where it shrinks."""
    blocks = [mlperf.ResidualBlock(before, width, size, stride) for before, width, size, stride in (
        (16, 16, 32, 1), (16, 16, 32, 1), (16, 16, 32, 1),
        (16, 32, 32, 2), (32, 32, 16, 1), (32, 32, 16, 1),
        (32, 64, 16, 2), (64, 64, 8, 1), (64, 64, 8, 1))]
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), *blocks,
                         nn.AvgPool2d(8), nn.Flatten(), nn.Linear(64, 10))


def shift(build: Build) -> nn.Sequential:
    """DeepShift-PS of 4 bits in place of every layer."""
    return _converted(build(), "shift")


def add(build: Build) -> nn.Sequential:
    """AdderNet in place of every layer, the first and the last one too."""
    return _converted(build(), "add")


def shiftadd(build: Build, *, fixed: bool = False, add_kernel: int | None = None) -> nn.Sequential:
    """ShiftAddNet: convolutions by a shift and an add layer, linear layers by a shift layer.

    The add layers have the convolutions' kernels, if not ``add_kernel``. ``fixed``: the
    convolutions' shift weights are random and stay as they are.
    """
    network = build()
    linear = [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear)]
    return _converted(_converted(network, "shiftadd", fixed=fixed, add_kernel=add_kernel,
                                 keep=linear), "shift")


def shiftadd_cnn(add_kernel: int, *, fixed: bool = False) -> nn.Sequential:
    """`cnn` as a ShiftAddNet; the authors' network for sensors has add layers of 1 x 1."""
    return shiftadd(cnn, fixed=fixed, add_kernel=add_kernel)


def _converted(network: nn.Sequential, kind: str, **options: Any) -> nn.Sequential:
    result = convert(network, kind, **options)
    assert isinstance(result, nn.Sequential)
    return result
