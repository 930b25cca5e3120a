"""Golden with ``tflite`` rounding equals TensorFlow Lite Micro's reference kernels, bit for bit.

Every case runs all-lowest, all-highest, alternating and random images through a one-operator int8
model and through the graph of the same meaning.
"""
from dataclasses import dataclass

import numpy as np
import pytest

from accel import golden
from accel.graph import Add, Clamp, Conv2d, Graph, IntArray, MaxPool2d, Node, Padding, Tensor
from accel.spec.numerics import (
    TFLITE_MULTIPLIER_BITS,
    add_factors,
    fixed_multiplier,
    mean_multiplier,
)
from accel.verify import verify
from tests import configs, graphs, tflite
from tests.tflite import Quantized

CONFIG = configs.config("tflite", rounding="tflite", acc_bits=32)
IMAGES = 24
Pair = tuple[int, int]


@dataclass(frozen=True)
class Case:
    """A convolution; ``ratio`` is the typical scale of an accumulator to the output's codes."""

    shape: tuple[int, int, int]
    channels: int
    kernel: Pair
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    same: bool = False
    ratio: float = 0.002
    depthwise: bool = False
    activation: int = 0     # 1: RELU, 3: RELU6


CASES = [
    Case((3, 7, 6), 5, (3, 3)), Case((3, 7, 6), 5, (3, 2), (2, 1), same=True),
    Case((2, 9, 9), 4, (3, 3), dilation=(2, 3), same=True), Case((8, 5, 5), 6, (1, 1), (2, 2)),
    Case((16, 8, 8), 8, (3, 3), (2, 2), same=True, activation=1),
    Case((4, 5, 5), 8, (3, 3), same=True, ratio=0.01, activation=3),
    Case((1, 4, 4), 3, (1, 1), ratio=1.7), Case((1, 4, 4), 3, (1, 1), ratio=30.0),
    Case((4, 5, 5), 9, (3, 3), ratio=1e-6), Case((64, 3, 3), 4, (3, 3), ratio=2e-4),
    Case((6, 8, 7), 6, (3, 3), same=True, depthwise=True, ratio=0.01),
    Case((6, 8, 7), 6, (3, 3), (2, 2), same=True, depthwise=True, ratio=0.01, activation=1),
    Case((4, 11, 9), 8, (3, 3), dilation=(3, 2), same=True, depthwise=True, ratio=0.01),
    Case((1, 49, 10), 8, (10, 4), (2, 2), same=True, depthwise=True, activation=1),
    Case((3, 5, 5), 3, (2, 3), depthwise=True, ratio=0.3),
    Case((3, 4, 4), 3, (1, 1), depthwise=True, ratio=2.9),
]


def paddings(case: Case) -> Padding:
    """TensorFlow's SAME: as many outputs as strides, the odd row below, the odd column right."""
    if not case.same:
        return 0, 0, 0, 0
    total = [max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0) for n, s, k, d in zip(
        case.shape[1:], case.stride, case.kernel, case.dilation, strict=True)]
    return total[0] // 2, total[1] // 2, -(-total[0] // 2), -(-total[1] // 2)


def f32(value: float) -> float:
    """As the file stores it."""
    return float(np.float32(value))


def nhwc(codes: IntArray) -> IntArray:
    """Codes (n, c, h, w) as TensorFlow lays them out."""
    return codes.transpose(0, 2, 3, 1)


def compare(nodes: tuple[Node, ...], sources: tuple[Tensor, ...], content: bytes,
            *images: IntArray) -> IntArray:
    """Golden outputs (n, c, h, w) of the last node, after comparing them with the kernels'."""
    network = Graph("unit", sources[0], nodes)
    verify(network, CONFIG)
    got = golden.run(network, images[0], CONFIG)[network.output.name].numpy()
    wanted = tflite.run(content, *(nhwc(image) for image in images))
    assert np.array_equal(nhwc(got), wanted.reshape(nhwc(got).shape))
    assert len(np.unique(got)) > 2      # neither stuck nor saturated
    result: IntArray = got
    return result


def factors(scales: list[float], output: float) -> tuple[IntArray, IntArray]:
    """Multipliers and shifts of the channels."""
    pairs = [fixed_multiplier(scale / output, TFLITE_MULTIPLIER_BITS) for scale in scales]
    multiplier, shift = np.array(pairs, np.int64).T
    return multiplier, shift


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_convolutions(case: Case, seed: int) -> None:
    rng, groups = np.random.default_rng(seed), case.shape[0] if case.depthwise else 1
    most = 127 if case.ratio < 1 else 2
    weight = rng.integers(-most, most + 1, (case.channels, case.shape[0] // groups, *case.kernel))
    x_scale, y_scale = f32(rng.uniform(0.001, 0.1)), f32(rng.uniform(0.01, 1))
    scales = [f32(case.ratio * y_scale / x_scale * rng.uniform(0.4, 1.6))
              for _ in range(case.channels)]
    large = min(int(60 / case.ratio), 1 << 27)
    bias = rng.integers(-large, large + 1, case.channels)
    zeros = [(3, -7), (-128, -128)][seed - 1]
    multiplier, shift = factors([x_scale * scale for scale in scales], y_scale)
    top, left, bottom, right = padding = paddings(case)
    size = [(n + p - (k - 1) * d - 1) // s + 1 for n, p, k, d, s in zip(
        case.shape[1:], (top + bottom, left + right), case.kernel, case.dilation, case.stride,
        strict=True)]
    x = Tensor("x", case.shape, x_scale, zeros[0])
    y = Tensor("y", (case.channels, size[0], size[1]), y_scale, zeros[1])
    conv = Conv2d("conv", x, y, weight, bias - zeros[0] * weight.sum(axis=(1, 2, 3)), multiplier,
                  shift, case.stride, padding, case.dilation, groups)
    nodes: tuple[Node, ...] = (conv,)
    if case.activation:
        high = 127 if case.activation == 1 else min(127, zeros[1] + int(np.rint(6 / y_scale)))
        nodes += (Clamp("clamp", y, Tensor("z", y.shape, y_scale, zeros[1]), zeros[1], high),)
    content = _conv_model(case, conv, scales, bias)
    compare(nodes, (x,), content, graphs.images(CONFIG, case.shape, IMAGES, seed))


@pytest.mark.parametrize("power", [0, 1, 2, 3, 6])
def test_ties(power: int) -> None:
    case = Case((1, 16, 16), 3, (1, 1))
    weight, bias = np.array([1, -1, 3])[:, None, None, None], np.array([0, 1, -2])
    x, y = Tensor("x", case.shape, 1.0, 0), Tensor("y", (3, 16, 16), 2.0 ** power, -1)
    multiplier, shift = factors([1.0] * 3, y.scale)
    conv = Conv2d("conv", x, y, weight, bias, multiplier, shift)
    content = _conv_model(case, conv, [1.0] * 3, bias)
    compare((conv,), (x,), content, np.arange(-128, 128).reshape(1, 1, 16, 16))


def _conv_model(case: Case, conv: Conv2d, scales: list[float], bias: IntArray) -> bytes:
    options = {"padding": 0 if case.same else 1, "strideH": case.stride[0],
               "strideW": case.stride[1], "dilationHFactor": case.dilation[0],
               "dilationWFactor": case.dilation[1], "fusedActivationFunction": case.activation}
    weight, operator = conv.weight.transpose(0, 2, 3, 1), "CONV_2D"
    if case.depthwise:
        weight, operator = conv.weight.transpose(1, 2, 3, 0), "DEPTHWISE_CONV_2D"
        options["depthMultiplier"] = case.channels // case.shape[0]
    return tflite.model(operator, options, [
        _tensor(conv.input),
        Quantized(weight.shape, tuple(scales), axis=3 if case.depthwise else 0,
                  data=weight.astype(np.int8)),
        Quantized(bias.shape, tuple(conv.input.scale * scale for scale in scales),
                  data=bias.astype(np.int32))], _tensor(conv.output))


def _tensor(tensor: Tensor) -> Quantized:
    channels, height, width = tensor.shape
    return Quantized((1, height, width, channels), (tensor.scale,), tensor.zero_point)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize(("terms", "channels", "ratio"), [
    (64, 10, 0.002), (640, 128, 3e-4), (1, 4, 0.9), (1, 3, 5.0)])
def test_fully_connected(terms: int, channels: int, ratio: float, per_channel: bool) -> None:
    rng = np.random.default_rng(terms)
    weight = rng.integers(-127, 128, (channels, terms))
    bias = rng.integers(-3000, 3000, channels) if terms > 1 else np.zeros(channels, np.int64)
    x, y = Tensor("x", (terms, 1, 1), f32(0.037), 5), Tensor("y", (channels, 1, 1), f32(0.41), -9)
    scales = [f32(ratio * y.scale / x.scale * (rng.uniform(0.5, 1.0) if per_channel else 1.0))
              for _ in range(channels)]
    products = [x.scale * scale for scale in scales]
    multiplier, shift = factors(products, y.scale)
    dense = Conv2d("dense", x, y, weight[:, :, None, None], bias - 5 * weight.sum(axis=1),
                   multiplier, shift)
    count = channels if per_channel else 1
    content = tflite.model("FULLY_CONNECTED", {}, [
        Quantized((1, terms), (x.scale,), 5),
        Quantized(weight.shape, tuple(scales[:count]), data=weight.astype(np.int8)),
        Quantized(bias.shape, tuple(products[:count]), data=bias.astype(np.int32))],
        Quantized((1, channels), (y.scale,), -9))
    compare((dense,), (x,), content, graphs.images(CONFIG, x.shape, IMAGES, 3))


@pytest.mark.parametrize("zeros", [(-128, 127, -128), (127, -128, 127), (3, -7, 1)], ids=str)
@pytest.mark.parametrize("scales", [(0.5, 0.5, 0.5), (1.0, 0.001, 0.7), (3e-4, 0.02, 0.013),
                                    (0.11, 0.1, 0.19), (0.02, 0.9, 0.0071)], ids=str)
def test_addition_of_every_pair_of_codes(scales: tuple[float, float, float],
                                         zeros: tuple[int, int, int]) -> None:
    every = np.arange(-128, 128)
    codes = np.stack(np.meshgrid(every, every))[None]
    x = Tensor("x", (2, 256, 256), 1.0, 0)
    one, two, y = (Tensor(name, (1, 256, 256), f32(scale), zero)
                   for name, scale, zero in zip("aby", scales, zeros, strict=True))
    add = Add("add", (one, two), y, *add_factors((one.scale, two.scale), y.scale, "tflite"))
    network = Graph("unit", x, (_copy(x, one, 0), _copy(x, two, 1), add))
    verify(network, CONFIG)
    got = golden.run(network, codes, CONFIG)["y"].numpy()
    content = tflite.model("ADD", {}, [_tensor(one), _tensor(two)], _tensor(y))
    wanted = tflite.run(content, nhwc(codes[:, :1]), nhwc(codes[:, 1:]))
    assert np.array_equal(nhwc(got), wanted)


def _copy(x: Tensor, y: Tensor, channel: int) -> Conv2d:
    weight = np.zeros((1, x.shape[0], 1, 1), np.int64)
    weight[0, channel] = 1
    multiplier, shift = factors([1.0], 1.0)
    return Conv2d(y.name, x, y, weight, np.array([0]), multiplier, shift, offset=0)


@pytest.mark.parametrize(("kernel", "stride", "shape"), [
    ((2, 2), (2, 2), (3, 6, 6)), ((3, 3), (1, 2), (2, 7, 8)), ((25, 5), (1, 1), (4, 25, 5)),
    ((3, 2), (3, 2), (2, 6, 6)), ((8, 8), (8, 8), (64, 8, 8))], ids=str)
def test_average_pooling(kernel: Pair, stride: Pair, shape: tuple[int, int, int]) -> None:
    size = [(n - k) // s + 1 for n, k, s in zip(shape[1:], kernel, stride, strict=True)]
    x = Tensor("x", shape, f32(0.37), 41)
    y = Tensor("y", (shape[0], size[0], size[1]), x.scale, 41)
    multiplier, shift = mean_multiplier(kernel[0] * kernel[1], "tflite")
    # The kernel rounds the mean of the codes themselves: nothing is folded in, nothing added.
    mean = Conv2d("mean", x, y, np.ones((shape[0], 1, *kernel), np.int64),
                  *(np.full(shape[0], value) for value in (0, multiplier, shift)),
                  stride, groups=shape[0], offset=0)
    codes = graphs.images(CONFIG, shape, IMAGES, 4)
    codes[12:] = np.random.default_rng(5).integers(-2, 3, codes[12:].shape)     # ties
    compare((mean,), (x,), _pool_model("AVERAGE_POOL_2D", x, y, kernel, stride, same=False), codes)


def test_average_pooling_of_every_reachable_sum() -> None:
    for rows, cols in ((2, 2), (3, 2), (3, 3)):
        count = rows * cols
        sums = np.arange(-128 * count, 127 * count + 1)
        codes = np.stack([(sums + i) // count for i in range(count)], axis=1)   # that add up
        assert np.array_equal(codes.sum(axis=1), sums)
        # One image whose windows are the sums, one below the other.
        x = Tensor("x", (1, len(sums) * rows, cols), 1.0, 0)
        y = Tensor("y", (1, len(sums), 1), 1.0, 0)
        multiplier, shift = mean_multiplier(count, "tflite")
        mean = Conv2d("mean", x, y, np.ones((1, 1, rows, cols), np.int64),
                      *(np.array([value]) for value in (0, multiplier, shift)), (rows, cols),
                      groups=1, offset=0)
        content = _pool_model("AVERAGE_POOL_2D", x, y, (rows, cols), (rows, cols), same=False)
        compare((mean,), (x,), content, codes.reshape(1, 1, -1, cols))


@pytest.mark.parametrize(("kernel", "stride", "same"), [
    ((2, 2), (2, 2), False), ((3, 3), (2, 2), True), ((3, 2), (1, 1), True)], ids=str)
def test_max_pooling(kernel: Pair, stride: Pair, same: bool) -> None:
    case = Case((3, 7, 8), 3, kernel, stride, same=same)
    top, left, bottom, right = padding = paddings(case)
    size = [(n + p - k) // s + 1 for n, p, k, s in zip(
        case.shape[1:], (top + bottom, left + right), kernel, stride, strict=True)]
    x = Tensor("x", case.shape, 0.5, 17)
    y = Tensor("y", (3, size[0], size[1]), 0.5, 17)
    content = _pool_model("MAX_POOL_2D", x, y, kernel, stride, same)
    compare((MaxPool2d("pool", x, y, kernel, stride, padding),), (x,), content,
            graphs.images(CONFIG, case.shape, IMAGES, 6))


def _pool_model(operator: str, x: Tensor, y: Tensor, kernel: Pair, stride: Pair, same: bool,
                ) -> bytes:
    return tflite.model(operator, {
        "padding": 0 if same else 1, "strideH": stride[0], "strideW": stride[1],
        "filterHeight": kernel[0], "filterWidth": kernel[1]}, [_tensor(x)], _tensor(y))
