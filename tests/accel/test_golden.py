"""The golden model against float64 convolution, `numerics` and exact arithmetic."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from accel import golden
from accel.circuits.store import truth_table
from accel.graph import Activation, Conv2d, Graph, IntArray, MaxPool2d, Tensor
from accel.spec import numerics
from accel.spec.config import AccelConfig
from accel.spec.numerics import MULTIPLIER_BITS, SHIFT_BITS, limits
from accel.spec.presets import PRESETS
from tests import configs, graphs
from tests.graphs import Layer

SHAPE = (3, 9, 8)
CONFIGS = [*PRESETS.values(), configs.TWO_BY_THREE, configs.NARROW]
LAYERS = [
    Layer(5, (1, 1)), Layer(4, (3, 3), padding=(1, 1)), Layer(4, (3, 2), (2, 1), (0, 2)),
    Layer(2, (9, 8)), Layer(3, (2, 5), (3, 2), (1, 4)),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_convolution_is_exact(config: AccelConfig, layer: Layer) -> None:
    network = graphs.build(config, SHAPE, [layer], seed=1)
    conv, codes = network.nodes[0], graphs.images(config, SHAPE, 6, seed=2)
    assert isinstance(conv, Conv2d)
    # Every sum is below 2**53, so that float64 holds it exactly. Zero padding of x - zero_point
    # is padding of x by the zero point.
    zero = network.input.zero_point
    total = functional.conv2d(torch.tensor(codes - zero).double(),
                              torch.tensor(conv.weight).double(),
                              stride=layer.stride, padding=layer.padding).long().numpy()
    channels = conv.bias + zero * conv.weight.sum(axis=(1, 2, 3))
    for channel, (bias, multiplier, shift) in enumerate(
            zip(channels, conv.multiplier, conv.shift, strict=True)):
        total[:, channel] = numerics.requantize(
            total[:, channel] + bias, int(multiplier), int(shift), conv.output.zero_point,
            config.act_bits)
    result = golden.run(network, codes, config)
    assert np.array_equal(result[conv.output.name].numpy(), total)
    assert np.array_equal(result["input"].numpy(), codes)


def test_requantize_equals_numerics_at_the_extremes_and_at_ties() -> None:
    rng, (low, high) = np.random.default_rng(3), limits(40)
    totals = np.concatenate([[low, high, 0, 1, -1], np.arange(-40, 41), np.tile([low, high], 8),
                             rng.integers(low, high + 1, 200), rng.integers(-999, 1000, 200)])
    multipliers = (0, 1, 1 << (MULTIPLIER_BITS - 1), (1 << MULTIPLIER_BITS) - 1, 70001)
    for shift in (1, 2, 3, 16, 17, 25, 40, 62, (1 << SHIFT_BITS) - 1):
        for multiplier in multipliers:
            for zero_point, bits in ((0, 8), (-128, 8), (127, 8), (-3, 16), (1, 2)):
                got = golden.requantize(torch.from_numpy(totals), torch.tensor(multiplier),
                                        torch.tensor(shift), zero_point, bits)
                expected = numerics.requantize(totals, multiplier, shift, zero_point, bits)
                assert np.array_equal(got.numpy(), expected), (shift, multiplier, zero_point)


def test_ties_round_away_from_zero() -> None:
    halves = torch.tensor([-5, -3, -1, 0, 1, 3, 5])
    got = golden.requantize(halves, torch.tensor(1), torch.tensor(1), 0, 8)
    assert got.tolist() == [-3, -2, -1, 0, 1, 2, 3]


@pytest.mark.parametrize("config", [*PRESETS.values(), configs.FIVE_BY_SEVEN],
                         ids=lambda config: config.name)
def test_activations_on_every_code(config: AccelConfig) -> None:
    low, high = limits(config.act_bits)
    codes = np.arange(low, high + 1).reshape(1, 1, 1, -1)
    for spec in config.activation_specs:
        for zero_point in (low, -1, 0, high) if spec.function == "relu" else (0,):
            x = Tensor("x", (1, 1, codes.size), 1.0, zero_point)
            network = Graph("unit", x, (Activation("f", x, replace(x, name="y"), spec.function),))
            got = golden.run(network, codes, config)["y"].flatten().tolist()
            if spec.function == "relu":
                assert got == [numerics.relu(int(code), zero_point) for code in codes.flat]
            else:
                table = truth_table(spec, config.act_bits)
                assert got == [table[int(code) & ((1 << config.act_bits) - 1)]
                               for code in codes.flat]


@pytest.mark.parametrize(("kernel", "stride"), [((2, 2), (2, 2)), ((3, 2), (1, 3)),
                                                ((9, 8), (1, 1)), ((1, 1), (4, 5))])
def test_pooling(kernel: tuple[int, int], stride: tuple[int, int]) -> None:
    config = PRESETS["tiny"]
    codes = graphs.images(config, SHAPE, 5, seed=4)
    expected = functional.max_pool2d(torch.tensor(codes).double(), kernel, stride).long()
    x = Tensor("x", SHAPE, 1.0, 7)
    y = replace(x, name="y", shape=(3, expected.shape[2], expected.shape[3]))
    network = Graph("unit", x, (MaxPool2d("pool", x, y, kernel, stride),))
    network.verify(config)
    assert torch.equal(golden.run(network, codes, config)["y"], expected)


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    config = PRESETS["tiny-shift"]
    network = graphs.build(config, SHAPE, [
        Layer(4, (3, 3), activation="tanh", pool=((2, 2), (2, 2))),
        Layer(5, (3, 3), activation="relu")], seed=5)
    network.verify(config)
    codes = graphs.images(config, SHAPE, 7, seed=6)
    whole = golden.run(network, codes, config)
    monkeypatch.setattr(golden, "CHUNK", 3)
    parts = golden.run(network, torch.from_numpy(codes), config)
    assert list(whole) == ["input", "conv0_out", "act0_out", "pool0", "conv1_out", "act1_out"]
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert whole["act1_out"].shape == (7, *network.output.shape)
    assert golden.run(network, codes[:0], config)["pool0"].shape == (0, 4, 3, 3)


@pytest.mark.parametrize(("codes", "fault"), [
    (np.zeros((1, 3, 9, 9), np.int64), r"int64 \(n, 3, 9, 8\), not torch.int64 \(1, 3, 9, 9\)"),
    (np.zeros((1, 3, 9, 8)), r"not torch.float64 \(1, 3, 9, 8\)"),
    (np.full((1, 3, 9, 8), 128), r"must be in -128..127, not 128..128"),
    (np.full((1, 3, 9, 8), -129), r"must be in -128..127, not -129..-129"),
])
def test_input_faults(codes: IntArray, fault: str) -> None:
    config = PRESETS["tiny"]
    with pytest.raises(ValueError, match=fault):
        golden.run(graphs.build(config, SHAPE, [Layer(1)], seed=1), codes, config)


def test_top1_counts_the_first_of_equal_outputs() -> None:
    outputs = torch.tensor([[3, 1, 2], [0, 5, 5], [0, 0, 9], [1, 1, 1]])
    share = golden.top1(outputs[:, :, None, None], torch.tensor([0, 1, 1, 0]))
    assert share == pytest.approx(3 / 4)
