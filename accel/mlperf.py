"""The four networks of the MLPerf Tiny suite, from the definitions of its reference models.

All answer logits: softmax, where the definition ends with it, is the host's. Padding is that of
TensorFlow's SAME, which for a stride of 2 puts the odd row below and the odd column to the right.

Source: C. Banbury et al., "MLPerf Tiny Benchmark", NeurIPS 2021, and its reference training code
(github.com/mlcommons/tiny); DS-CNN after Y. Zhang et al., "Hello Edge: Keyword Spotting on
Microcontrollers", arXiv 1711.07128; MobileNetV1 after A. Howard et al., arXiv 1704.04861.
"""
from itertools import pairwise

import torch
from torch import nn

Pair = tuple[int, int]


def same(size: Pair, kernel: Pair, stride: int) -> nn.ZeroPad2d:
    """TensorFlow's SAME padding for an input of ``size`` (height, width)."""
    (top, bottom), (left, right) = (_split((-(-n // stride) - 1) * stride + k - n)
                                    for n, k in zip(size, kernel, strict=True))
    return nn.ZeroPad2d((left, right, top, bottom))


def _split(total: int) -> Pair:
    total = max(total, 0)
    return total // 2, total - total // 2


def _conv(channels: int, out: int, size: Pair, kernel: Pair, stride: int = 1, groups: int = 1,
          ) -> nn.Sequential:
    """Convolution with SAME padding, then batch norm and relu."""
    return nn.Sequential(same(size, kernel, stride),
                         nn.Conv2d(channels, out, kernel, stride, groups=groups),
                         nn.BatchNorm2d(out), nn.ReLU())


class ResidualBlock(nn.Module):
    """Two convolutions around which the input goes, by a 1 x 1 convolution where it shrinks."""

    def __init__(self, channels: int, out: int, size: int, stride: int) -> None:
        super().__init__()
        inner = -(-size // stride)
        self.first = _conv(channels, out, (size, size), (3, 3), stride)
        self.second = nn.Sequential(same((inner, inner), (3, 3), 1), nn.Conv2d(out, out, 3),
                                    nn.BatchNorm2d(out))
        self.shortcut = nn.Conv2d(channels, out, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to (n, channels, size, size)."""
        return torch.relu(self.second(self.first(x)) + self.shortcut(x))


def resnet8() -> nn.Sequential:
    """ResNet-8 for CIFAR-10 (3, 32, 32), 10 classes: 12,501,632 multiplications an image."""
    return nn.Sequential(
        _conv(3, 16, (32, 32), (3, 3)),
        ResidualBlock(16, 16, 32, 1), ResidualBlock(16, 32, 32, 2), ResidualBlock(32, 64, 16, 2),
        nn.AvgPool2d(8), nn.Flatten(), nn.Linear(64, 10))


def ds_cnn() -> nn.Sequential:
    """DS-CNN for keywords in spectra (1, 49, 10), 12 classes: 2,656,768 multiplications."""
    blocks = [layer for _ in range(4) for layer in (
        _conv(64, 64, (25, 5), (3, 3), groups=64), _conv(64, 64, (25, 5), (1, 1)))]
    return nn.Sequential(_conv(1, 64, (49, 10), (10, 4), 2), nn.Dropout(0.2), *blocks,
                         nn.Dropout(0.4), nn.AvgPool2d((25, 5)), nn.Flatten(), nn.Linear(64, 12))


def mobilenet() -> nn.Sequential:
    """MobileNetV1, a quarter wide, for persons in (3, 96, 96): 7,489,664 multiplications."""
    widths = (8, 16, 32, 32, 64, 64, *[128] * 6, 256, 256)
    strides = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
    layers, size = [_conv(3, 8, (96, 96), (3, 3), 2)], 48
    for (channels, out), stride in zip(pairwise(widths), strides, strict=True):
        layers.append(_conv(channels, channels, (size, size), (3, 3), stride, channels))
        size //= stride
        layers.append(_conv(channels, out, (size, size), (1, 1)))
    return nn.Sequential(*layers, nn.AvgPool2d(size), nn.Flatten(), nn.Linear(256, 2))


def autoencoder() -> nn.Sequential:
    """Autoencoder of the sounds of machines, 640 features: 264,192 multiplications."""
    widths = (640, 128, 128, 128, 128, 8, 128, 128, 128, 128)
    hidden = [layer for features, out in pairwise(widths) for layer in (
        nn.Linear(features, out), nn.BatchNorm1d(out), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(128, 640))
