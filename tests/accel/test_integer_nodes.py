"""Integer nodes against the layers they stand for, each on the codes that golden gives it."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from accel import golden, graph
from accel.graph import NO_PADDING
from accel.integer_nodes import code_of
from accel.layers import FloatConv, FloatDistance, Layer
from accel.model import import_torch
from accel.quantize import QuantizeError, dequantize, quantize, quantize_input
from accel.spec.config import AccelConfig
from accel.spec.presets import PRESETS
from accel.tensor_formats import separate
from tests.modules import Concatenating, Features, InPlace, Residual, everything, randomized

SHAPE = (2, 8, 7)
ECP5 = PRESETS["ecp5"]
CONFIGS = [ECP5, replace(ECP5, name="tflite", rounding="tflite"), PRESETS["ecp5-shift"],
           replace(PRESETS["tiny"], name="narrow", act_bits=6, weight_bits=4)]
torch.manual_seed(0)
MODELS = {
    "everything": (everything(), SHAPE), "residual": (Residual(), SHAPE),
    "concat": (Concatenating(), SHAPE), "in place": (InPlace(), SHAPE),
    "features": (Features(), (12,)),
    "pools": (nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(3, 1, 1), nn.Conv2d(
        2, 6, 3, padding=2, dilation=2, groups=2), nn.AdaptiveAvgPool2d(1)), SHAPE),
}


def images(shape: tuple[int, ...], seed: int = 1) -> torch.Tensor:
    """Uneven noise (64, *shape)."""
    return torch.randn((64, *shape), generator=torch.manual_seed(seed)) + 0.3


def with_weights_of(layer: Layer, node: graph.Node) -> Layer:
    """``layer`` as if it had the quantized weights, factors and bias of ``node``."""
    if not isinstance(node, graph.Conv2d):
        return layer
    unit = node.multiplier / 2.0 ** node.shift * node.output.scale     # of an accumulator
    zero, scale = node.input.zero_point, node.input.scale
    if isinstance(layer, FloatDistance):
        return replace(layer, weight=torch.from_numpy((node.weight - zero) * scale),
                       scale=torch.from_numpy(unit / scale),
                       bias=torch.from_numpy(node.bias * unit))
    weight = node.weight * (unit / scale)[:, None, None, None]
    bias = (node.bias + zero * node.weight.sum(axis=(1, 2, 3))) * unit
    return FloatConv(layer.name, (layer.inputs[0],), torch.from_numpy(weight),
                     torch.from_numpy(bias), node.stride, node.padding, node.dilation, node.groups)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
@pytest.mark.parametrize("name", MODELS)
def test_each_node_rounds_what_its_layer_computes(name: str, config: AccelConfig) -> None:
    model, shape = MODELS[name]
    network = quantize(randomized(model), [images(shape)], config, name)
    codes = golden.run(network, quantize_input(network, images(shape, seed=2), config), config)
    layers = separate(import_torch(model, shape), config).layers
    half = 1 << (config.act_bits - 1)
    most = 0.52 if config.rounding == "single" else 0.76    # rounded once, or twice
    for layer, node in zip(layers, network.nodes, strict=True):
        assert (layer.name, layer.inputs) == (node.name, tuple(t.name for t in node.inputs))
        read = [torch.from_numpy(dequantize(t, codes[t.name].numpy())) for t in node.inputs]
        wanted = with_weights_of(layer, node)(*read) / node.output.scale + node.output.zero_point
        error = (codes[node.output.name] - wanted.clamp(-half, half - 1)).abs().max()
        exact = isinstance(node, graph.MaxPool2d | graph.Concat) or (
            isinstance(node, graph.Activation) and node.function == "relu")
        assert float(error) < (1e-6 if exact else most), node.name


@pytest.mark.parametrize("config", CONFIGS[:2], ids=lambda config: config.name)
@pytest.mark.parametrize("name", MODELS)
def test_the_network_keeps_close_to_float(name: str, config: AccelConfig) -> None:
    model, shape = MODELS[name]
    network = quantize(randomized(model), [images(shape)], config, name)
    codes = golden.run(network, quantize_input(network, images(shape), config), config)
    output = torch.from_numpy(dequantize(network.output, codes[network.output.name].numpy()))
    wanted = import_torch(model, shape).run(images(shape))
    assert float((output - wanted).square().mean() / wanted.var()) < 10 ** -2.0


def test_parameters_of_windows_are_kept() -> None:
    pool, mean, conv, whole = quantize(MODELS["pools"][0], [images(SHAPE)], ECP5).nodes
    assert isinstance(pool, graph.MaxPool2d)
    assert (pool.kernel, pool.stride, pool.padding) == ((3, 3), (2, 2), (1, 1, 1, 1))
    assert isinstance(mean, graph.Conv2d)
    assert mean.weight.shape == (2, 1, 3, 3)
    assert (mean.weight == 1).all()
    assert (mean.stride, mean.padding, mean.groups) == ((1, 1), (1, 1, 1, 1), 2)
    assert isinstance(conv, graph.Conv2d)
    assert conv.weight.shape == (6, 1, 3, 3)
    assert (conv.dilation, conv.padding, conv.groups) == ((2, 2), (2, 2, 2, 2), 2)
    assert isinstance(whole, graph.Conv2d)
    assert (whole.weight.shape, whole.padding, whole.groups) == ((6, 1, 4, 4), NO_PADDING, 6)


def test_limits_are_codes_of_the_format() -> None:
    six = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU6())
    six[0].weight.data *= 30
    *_, clamp = quantize(six, [images(SHAPE)], ECP5).nodes
    assert isinstance(clamp, graph.Clamp)
    assert (clamp.low, clamp.high) == (-128, 127)       # the range is 0..6
    both = nn.Sequential(nn.Conv2d(2, 3, 1), nn.Hardtanh(-1, 2), nn.Hardtanh(-0.5, 9))
    both[0].weight.data *= 30
    *_, clamp = quantize(both, [images(SHAPE)], ECP5).nodes
    assert isinstance(clamp, graph.Clamp)
    assert clamp.output.scale == pytest.approx(2.5 / 255)
    assert (clamp.low, clamp.high) == (-128, 127)


@pytest.mark.parametrize(("value", "code"), [
    (0.0, 10), (0.74, 11), (0.76, 12), (-np.inf, -128), (np.inf, 127), (-69.0, -128), (58.5, 127)])
def test_nearest_code(value: float, code: int) -> None:
    assert code_of(graph.Tensor("x", (1, 1, 1), 0.5, 10), value, 8) == code


def test_scales_of_a_sum_that_are_too_far_apart() -> None:
    class Cancelling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)
            self.b.weight.data = -self.a.weight.data * (1 + 1e-6)
            self.b.bias.data = -self.a.bias.data

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.a(x) + self.b(x)

    with pytest.raises(QuantizeError, match=r"add: the larger input scale of an addition must be"):
        quantize(Cancelling(), [images(SHAPE)], ECP5)
