"""Shift and add layers from torch to the program: imported, quantized, compiled, bit for bit."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from accel import golden, graph
from accel.compile import CompileError, compile_graph
from accel.emulate import Emulator
from accel.layers import FloatConv, FloatDistance
from accel.model import ModelError, import_torch
from accel.nn import AddConv2d, AddLinear, ShiftConv2d, convert
from accel.quantize import QuantizeError, dequantize, quantize, quantize_input
from accel.spec.cells import Operation
from accel.spec.config import AccelConfig
from accel.spec.presets import PRESETS
from tests.accel.test_compile import LARGE, check
from tests.modules import Residual, everything, randomized

SHAPE = (2, 8, 7)
PRESET = {"shift": PRESETS["tiny-shift"], "add": PRESETS["tiny-add"],
          "shiftadd": PRESETS["tiny-shiftadd"]}
#: Activations so fine, and scales so exact, that quantization hardly shows.
FINE = {"scale_terms": 0, "act_bits": 13, "acc_bits": 40, "activations": ("relu",)}
FINE_WEIGHTS = {"shift": 5, "add": 14, "shiftadd": 14}


def chain() -> nn.Sequential:
    """Every shape of layer that there is a distance for, and a mean."""
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.ZeroPad2d((0, 1, 1, 0)), nn.Conv2d(6, 5, (3, 1), stride=(2, 1), dilation=(1, 2)),
        nn.BatchNorm2d(5), nn.ReLU(), nn.AvgPool2d((2, 1)), nn.Flatten(), nn.Linear(5 * 4, 4))


def fitted(model: nn.Module) -> nn.Module:
    """``model`` with batch norms of its own range, some of negative weight; evaluation mode."""
    torch.manual_seed(2)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.momentum = None
            nn.init.uniform_(layer.weight, -1, 1.5)
            nn.init.uniform_(layer.bias, -0.5, 1)
    model.train()(images())
    return model.eval()


def images(count: int = 64, seed: int = 3) -> torch.Tensor:
    """Uneven noise (count, *SHAPE)."""
    return torch.randn((count, *SHAPE), generator=torch.manual_seed(seed)) + 0.3


@pytest.mark.parametrize("kind", PRESET)
def test_import_equals_the_module(kind: str) -> None:
    model = fitted(convert(chain(), kind))
    found = import_torch(model, SHAPE)
    x = images(8, seed=5)
    wanted = model.double()(x.double())
    assert torch.allclose(found.run(x).flatten(1), wanted, rtol=1e-9, atol=1e-9)
    kinds = [type(layer) for layer in found.layers if isinstance(layer, FloatConv | FloatDistance)]
    assert kinds == {"shift": [FloatConv], "add": [FloatDistance],
                     "shiftadd": [FloatConv, FloatDistance]}[kind] * 3


@pytest.mark.parametrize("kind", PRESET)
def test_quantization_approaches_float(kind: str) -> None:
    config = replace(PRESET[kind], **FINE, weight_bits=FINE_WEIGHTS[kind])
    model = fitted(convert(chain(), kind))
    network = quantize(model, [images()], config)
    codes = golden.run(network, quantize_input(network, images(), config), config)
    output = dequantize(network.output, codes[network.output.name].numpy())
    wanted = import_torch(model, SHAPE).run(images())
    # powers of two have a code each; weights of distances are rounded
    bound = 0.001 if kind == "shift" else 0.03
    assert float((torch.from_numpy(output) - wanted).std() / wanted.std()) < bound
    if kind != "shift":
        assert any((node.multiplier < 0).any() for node in network.nodes
                   if isinstance(node, graph.Conv2d))


@pytest.mark.parametrize("terms", [0, 1, 3])
@pytest.mark.parametrize("kind", PRESET)
def test_programs_equal_golden(kind: str, terms: int) -> None:
    config = replace(PRESET[kind], **LARGE, scale_terms=terms)
    network = quantize(fitted(convert(chain(), kind)), [images()], config)
    check(network, config)
    operations = {node.operation for node in network.nodes if isinstance(node, graph.Conv2d)}
    assert (Operation.DISTANCE in operations) == (kind != "shift")


@pytest.mark.parametrize("kind", PRESET)
def test_residual_sums_only_shift(kind: str) -> None:
    config = replace(PRESET[kind], **LARGE)
    model = Residual()
    model.second = nn.Conv2d(4, 4, 3, padding=1)
    model = randomized(convert(model, kind))
    network = quantize(model, [images()], config)
    tensors = [network.input, *(node.output for node in network.nodes)]
    assert all(np.log2(tensor.scale).is_integer() for tensor in tensors)
    check(network, config)


def test_a_distance_and_its_weights_share_a_format() -> None:
    """Padding is zero, and as far from each weight as that is large."""
    config = PRESETS["tiny-add"]
    layer = AddConv2d(2, 3, 3, padding=1)
    layer.weight.data *= 9      # far wider than the images, whose range is that of the codes
    network = quantize(layer, [images()], config)
    (node,) = network.nodes
    assert isinstance(node, graph.Conv2d)
    low, high = ((code - node.input.zero_point) * node.input.scale for code in (-128, 127))
    weight, wanted = layer.weight.detach().numpy(), layer.weight.detach().clamp(low, high).numpy()
    assert (weight != wanted).any()
    found = (node.weight - node.input.zero_point) * node.input.scale
    assert abs(found - wanted).max() <= node.input.scale / 2 + 1e-6
    # what was cut off is in the bias, so that a distance from any code is right
    border = np.full((1, *SHAPE), node.input.zero_point, np.int64)
    total = golden.run(network, border, config)[node.output.name]
    sums = -abs(weight).sum(axis=(1, 2, 3)) / node.output.scale + node.output.zero_point
    assert abs(total[0, :, 3, 3].numpy() - np.clip(sums, -128, 127)).max() < 4


@pytest.mark.parametrize("bits", [6, 8])
@pytest.mark.parametrize("kind", ["add", "shiftadd"])
def test_weights_that_the_cells_do_not_hold(kind: str, bits: int) -> None:
    """Those that they hold are as exact in fewer bits than activations have."""
    torch.manual_seed(1)
    layer, x = AddConv2d(2, 3, 3), images().clamp(-3.9, 3.9)
    x[0, 0, 0, :2] = torch.tensor([-4, 4 * 127 / 128])      # codes are 32 times the values
    narrow, half = replace(PRESET[kind], weight_bits=bits), 1 << bits - 2
    layer.weight.data = layer.weight.data.clamp(-half / 32, (half - 1) / 32)
    layer.weight.data[1, 1, 1, 1] = -half / 32
    (held,), (wide,) = (quantize(layer, [x], config).nodes for config in (narrow, PRESET[kind]))
    assert isinstance(held, graph.Conv2d)
    assert isinstance(wide, graph.Conv2d)
    assert held.weight.min() == -half
    np.testing.assert_array_equal(held.weight, wide.weight)
    np.testing.assert_array_equal(held.bias, wide.bias)
    layer.weight.data[1, 1, 1, 1] -= 1 / 32
    with pytest.raises(QuantizeError, match=(
            rf"distance: distances of 8-bit activations take weight_bits of at least 9, not {bits},"
            rf" whose -{half}\.\.{half - 1} do not hold its weights' codes -{half + 1}\.\.")):
        quantize(layer, [x], narrow)


@pytest.mark.parametrize("bits", [8, 9])
def test_a_copy_by_distances_needs_weights_below_every_activation(bits: int) -> None:
    config, x = replace(PRESET["add"], weight_bits=bits), graph.Tensor("x", (2, 4, 4), 0.5, 3)
    network = graph.Graph("copied", x, (graph.Clamp("y", x, replace(x, name="y"), -20, 20),))
    if bits == 9:
        check(network, config)
        return
    with pytest.raises(CompileError, match=r"y\.copy: adds up activations of 8 bits, which takes "
                                           r"weight_bits >= 9 in an add cell, not 8"):
        compile_graph(network, config)


@pytest.mark.parametrize("mode", ["ps", "q"])
def test_five_bits_of_a_shift_layer_take_six_of_a_cell(mode: str) -> None:
    """Fewer hold the powers next to the largest, and make the others 0."""
    layer = ShiftConv2d(15, 1, 1, bits=5, mode=mode)
    like = nn.Conv2d(15, 1, 1)
    like.weight.data = 2.0 ** -torch.arange(15.0).view(1, 15, 1, 1)
    if mode == "ps":
        layer.sign.data, layer.exponent.data = torch.ones(1, 15, 1, 1), like.weight.data.log2()
    else:
        layer.take(like)
    x = torch.randn(64, 15, 4, 4, generator=torch.manual_seed(1))
    found = {}
    for bits in (5, 6):
        (node,) = quantize(layer, [x], replace(PRESET["shift"], weight_bits=bits, acc_bits=40)
                           ).nodes
        assert isinstance(node, graph.Conv2d)
        found[bits] = node.weight.ravel() / node.weight.max()
    wanted = like.weight.detach().numpy().ravel()
    np.testing.assert_array_equal(found[6], wanted)
    np.testing.assert_array_equal(found[5][:8], wanted[:8])
    assert not found[5][9:].any()


def test_features_of_any_shape_have_one_position() -> None:
    """A stride and a dilation of 1 x 1 kernels do not matter, nor when these become larger."""
    model = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Unflatten(1, (2 * 8 * 7, 1, 1)),
                          AddConv2d(2 * 8 * 7, 4, 1, stride=2, dilation=2))
    found = import_torch(model, SHAPE)
    assert torch.allclose(found.run(images(4)).flatten(1),
                          model.double()(images(4).double()).flatten(1), atol=1e-9)
    quantize(model, [images()], replace(PRESET["shiftadd"], acc_bits=32))


def test_biases_and_flat_layers() -> None:
    model = nn.Sequential(AddConv2d(2, 3, (8, 7), bias=True), nn.Flatten(),
                          AddLinear(3, 4, bias=True), nn.Flatten(), AddLinear(4, 2))
    model[0].bias.data += torch.tensor([200.0, 210.0, 190.0])
    model[2].bias.data += 3
    x = images(4)
    found = import_torch(model, SHAPE)
    assert torch.allclose(found.run(x).flatten(1), model.double()(x.double()), atol=1e-9)
    whole = nn.Sequential(nn.Flatten(), AddLinear(2 * 8 * 7, 3))
    found = import_torch(whole, SHAPE)
    assert torch.allclose(found.run(x).flatten(1), whole.double()(x.double()), atol=1e-9)
    assert found.layers[0].weight.shape == (3, *SHAPE)


@pytest.mark.parametrize(("model", "config", "fault"), [
    (everything(), PRESETS["tiny-add"], "needs mac or shift or shiftadd cells, not add"),
    (AddConv2d(2, 3, 3), PRESETS["ecp5"], "distance needs add or shiftadd cells, not mac"),
    (nn.Sequential(ShiftConv2d(2, 3, 1), AddConv2d(3, 3, 1)), PRESETS["tiny-shift"],
     "1.distance needs add or shiftadd cells, not shift"),
], ids=["products on add", "distances on mac", "distances on shift"])
def test_cells_that_cannot(model: nn.Module, config: AccelConfig, fault: str) -> None:
    with pytest.raises(QuantizeError, match=fault):
        quantize(model, [images()], config)


def test_a_constant_that_is_no_bias() -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.offset = nn.Parameter(torch.randn(8, 7))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x) + self.offset

    with pytest.raises(ModelError, match="a constant can only be added to each channel of a Conv"):
        import_torch(Shifted(), SHAPE)


@pytest.mark.parametrize("kind", PRESET)
def test_sums_at_the_extremes(kind: str) -> None:
    """No term is truncated: all lowest, all highest and alternating codes and weights."""
    config = replace(PRESET[kind], **LARGE)
    low, high = -128, 127
    members = config.cell_spec.weights_of(config.cell_spec.operations[-1])
    weight = np.stack([np.full((4, 3, 3), members[0]), np.full((4, 3, 3), members[-1]),
                       np.where(np.indices((4, 3, 3)).sum(axis=0) % 2, members[0], members[-1])])
    x = graph.Tensor("x", (4, 5, 5), 0.5, low)
    y = graph.Tensor("y", (3, 5, 5), 0.5, 0)
    conv = graph.Conv2d("n", x, y, weight.astype(np.int64), np.zeros(3, np.int64),
                        np.full(3, 128), np.full(3, 20), padding=(1, 1, 1, 1),
                        operation=config.cell_spec.operations[-1])
    network = graph.Graph("extremes", x, (conv,))
    program = compile_graph(network, config)
    device = Emulator(config)
    device.load(program)
    checkers = np.where(np.indices((4, 5, 5)).sum(axis=0) % 2, low, high)
    codes = np.stack([np.full((4, 5, 5), low), np.full((4, 5, 5), high), checkers])
    result = device.run(codes)
    term = config.cell_spec.term
    operation = config.cell_spec.operations[-1]
    for image, channel in np.ndindex(3, 3):
        taps = zip(codes[image, :, 1:4, 1:4].ravel(), weight[channel].ravel(), strict=True)
        total = sum(term(int(a), config.cell_spec.encode(int(w), operation), operation)
                    for a, w in taps)
        exact = (abs(total) * 128 + (1 << 19) >> 20) * (1 if total > 0 else -1)
        assert result[image, channel, 2, 2] == max(low, min(high, exact))
