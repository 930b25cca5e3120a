"""The golden model against convolution by definition, `numerics` and exact arithmetic."""
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from accel import golden
from accel.circuits.store import truth_table
from accel.graph import (
    Activation,
    Add,
    Clamp,
    Concat,
    Conv2d,
    Graph,
    IntArray,
    MaxPool2d,
    Node,
    Padding,
    Tensor,
)
from accel.spec import numerics
from accel.spec.cells import Operation
from accel.spec.config import AccelConfig
from accel.spec.numerics import SHIFT_BITS, add_factors, fixed_multiplier, limits
from accel.spec.presets import PRESETS
from accel.verify import verify
from tests import configs, graphs
from tests.graphs import Layer

SHAPE = (3, 9, 8)
TFLITE = configs.config("tflite", rounding="tflite", acc_bits=32)
CONFIGS = [*PRESETS.values(), configs.TWO_BY_THREE, configs.NARROW, TFLITE]
LAYERS = [
    Layer(5, (1, 1)), Layer(4, (3, 3), padding=(1, 1)), Layer(4, (3, 2), (2, 1), (0, 2)),
    Layer(2, (9, 8)), Layer(3, (2, 5), (3, 2), (1, 4)),
]


def pad(codes: IntArray, padding: Padding, value: int) -> IntArray:
    """Codes (n, c, h, w) with ``value`` around them."""
    top, left, bottom, right = padding
    return np.pad(codes, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=value)


def accumulators(conv: Conv2d, codes: IntArray) -> IntArray:
    """Sums (n, out, h, w) by definition, in Python's loops and numpy's int64."""
    x = pad(codes, conv.padding, conv.input.zero_point)
    out, depth, rows, cols = conv.weight.shape
    total = np.zeros((len(codes), *conv.output.shape), np.int64)
    for channel in range(out):
        first = channel // (out // conv.groups) * depth
        for c, i, j in np.ndindex(depth, rows, cols):
            top, left = i * conv.dilation[0], j * conv.dilation[1]
            tap = x[:, first + c, top::conv.stride[0], left::conv.stride[1]]
            _, height, width = conv.output.shape
            seen, weight = tap[:, :height, :width], conv.weight[channel, c, i, j]
            total[:, channel] += (weight * seen if conv.operation is Operation.PRODUCT
                                  else -abs(seen - weight))
    return total


def expected(conv: Conv2d, codes: IntArray, config: AccelConfig) -> IntArray:
    """Output codes of a convolution, requantized by `numerics`."""
    total = accumulators(conv, codes)
    offset = conv.output.zero_point if conv.offset is None else conv.offset
    for channel in range(len(conv.weight)):
        total[:, channel] = numerics.requantize(
            total[:, channel] + conv.bias[channel], int(conv.multiplier[channel]),
            int(conv.shift[channel]), offset, config.act_bits, config.rounding)
    return total


def run(node: Node, codes: IntArray, config: AccelConfig) -> IntArray:
    """Golden output of a graph of one node that reads one tensor."""
    network = Graph("unit", node.inputs[0], (node,))
    verify(network, config)
    result: IntArray = golden.run(network, codes, config)[node.output.name].numpy()
    return result


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_convolution_is_exact(config: AccelConfig, layer: Layer) -> None:
    network = graphs.build(config, SHAPE, [layer], seed=1)
    conv, codes = network.nodes[0], graphs.images(config, SHAPE, 6, seed=2)
    assert isinstance(conv, Conv2d)
    result = golden.run(network, codes, config)
    assert np.array_equal(result[conv.output.name].numpy(), expected(conv, codes, config))
    assert np.array_equal(result["input"].numpy(), codes)


@pytest.mark.parametrize("config", [PRESETS["tiny"], configs.TWO_BY_THREE, TFLITE,
                                    PRESETS["tiny-shiftadd"]], ids=lambda config: config.name)
@pytest.mark.parametrize(("channels", "groups", "kernel", "stride", "padding", "dilation"), [
    (6, 6, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    (12, 6, (3, 3), (2, 2), (0, 0, 1, 1), (1, 1)),
    (4, 2, (2, 3), (1, 2), (3, 0, 1, 2), (2, 1)),
    (5, 1, (3, 2), (2, 1), (0, 2, 4, 0), (3, 4)),
    (6, 6, (9, 8), (1, 1), (0, 0, 0, 0), (1, 1)),
], ids=str)
def test_groups_dilation_padding_and_offset(
        config: AccelConfig, channels: int, groups: int, kernel: tuple[int, int],
        stride: tuple[int, int], padding: Padding, dilation: tuple[int, int]) -> None:
    rng, shape = np.random.default_rng(7), (6, 9, 8)
    operation = config.cell_spec.operations[-1]
    weight = rng.choice(np.array(config.cell_spec.weights_of(operation)),
                        (channels, 6 // groups, *kernel))
    spread = 1 / np.sqrt((weight ** 2).sum(axis=(1, 2, 3)) + 1) * rng.uniform(0.3, 2, channels)
    multiplier, shift = np.array([config.scales.nearest(float(s))
                                  for s in spread], np.int64).T
    top, left, bottom, right = padding
    size = [(n + p - (k - 1) * d - 1) // s + 1 for n, p, k, d, s in zip(
        shape[1:], (top + bottom, left + right), kernel, dilation, stride, strict=True)]
    x, y = Tensor("x", shape, 0.5, -77), Tensor("y", (channels, size[0], size[1]), 0.25, 31)
    codes = graphs.images(config, shape, 5, seed=8)
    for offset in (None, 0, -128):
        conv = Conv2d("conv", x, y, weight, rng.integers(-9999, 9999, channels), multiplier,
                      shift, stride, padding, dilation, groups, offset, operation)
        assert np.array_equal(run(conv, codes, config), expected(conv, codes, config))


@pytest.mark.parametrize("rounding", ["single", "tflite"])
def test_mean_is_a_convolution_of_ones(rounding: str) -> None:
    config, shape = replace(TFLITE, rounding=rounding), (3, 8, 5)
    multiplier, shift = numerics.mean_multiplier(40, rounding)
    x = Tensor("x", shape, 0.5, 3)
    mean = Conv2d("mean", x, Tensor("y", (3, 1, 1), 0.5, 3), np.ones((3, 1, 8, 5), np.int64),
                  *(np.full(3, value) for value in (0, multiplier, shift)), groups=3, offset=0)
    codes = graphs.images(config, shape, 200, seed=9)
    codes[100:] = np.random.default_rng(1).integers(-1, 3, (100, *shape))   # many ties
    sums = codes.sum(axis=(2, 3))
    wanted = np.sign(sums) * ((2 * abs(sums) + 40) // 80)
    assert np.array_equal(run(mean, codes, config)[..., 0, 0], wanted)


@pytest.mark.parametrize("rounding", ["single", "tflite"])
@pytest.mark.parametrize("scales", [(0.5, 0.5, 0.5), (1.0, 0.001, 0.7), (3e-4, 0.02, 0.013)],
                         ids=str)
def test_addition(scales: tuple[float, float, float], rounding: str) -> None:
    config = replace(TFLITE, rounding=rounding)
    every = np.arange(-128, 128)
    codes = np.stack(np.meshgrid(every, every))[None]       # all pairs, as two channels
    x = Tensor("x", (2, 256, 256), 1.0, 0)
    for zeros in ((-128, 127, -128), (127, -128, 127), (3, -7, 1)):
        one, two, y = (Tensor(name, (1, 256, 256), scale, zero)
                       for name, scale, zero in zip("aby", scales, zeros, strict=True))
        add = Add("add", (one, two), y, *add_factors(scales[:2], scales[2], rounding))
        network = Graph("unit", x, (pick(x, one, 0, rounding), pick(x, two, 1, rounding), add))
        verify(network, config)
        got = golden.run(network, codes, config)["y"].numpy()[0, 0]
        assert np.array_equal(got, numerics.add(
            (codes[0, 0], codes[0, 1]), zeros[:2], add.multipliers, add.shifts, add.multiplier,
            add.shift, zeros[2], 8, rounding))


def pick(x: Tensor, y: Tensor, channel: int, rounding: str) -> Conv2d:
    """A convolution that copies the codes of one channel."""
    weight = np.zeros((1, x.shape[0], 1, 1), np.int64)
    weight[0, channel] = 1
    multiplier, shift = fixed_multiplier(1.0, numerics.multiplier_bits(rounding))
    return Conv2d(y.name, x, y, weight, np.array([0]), np.array([multiplier]), np.array([shift]),
                  offset=0)


def test_branches_concat_and_clamp() -> None:
    config = PRESETS["tiny"]
    x = Tensor("x", SHAPE, 0.5, -3)
    pool = MaxPool2d("pool", x, replace(x, name="p"), (3, 3), (1, 1), (1, 1, 1, 1))
    clamp = Clamp("clamp", x, replace(x, name="c"), -3, 57)
    concat = Concat("concat", (clamp.output, x, pool.output),
                    replace(x, name="y", shape=(9, 9, 8)))
    network = Graph("unit", x, (clamp, pool, concat))
    verify(network, config)
    codes = graphs.images(config, SHAPE, 5, seed=3)
    result = {name: tensor.numpy() for name, tensor in golden.run(network, codes, config).items()}
    assert np.array_equal(result["c"], np.clip(codes, -3, 57))
    assert np.array_equal(result["y"], np.concatenate([result["c"], codes, result["p"]], axis=1))


@pytest.mark.parametrize("rounding", ["single", "tflite"])
def test_requantize_equals_numerics_at_the_extremes_and_at_ties(rounding: str) -> None:
    bits = 40 if rounding == "single" else 32
    rng, (low, high) = np.random.default_rng(3), limits(bits)
    totals = np.concatenate([[low, high, 0, 1, -1], np.arange(-40, 41), np.tile([low, high], 8),
                             rng.integers(low, high + 1, 200), rng.integers(-999, 1000, 200)])
    width = numerics.multiplier_bits(rounding)
    multipliers = (0, 1, 1 << (width - 1), (1 << width) - 1, 70001)
    shifts = ((1, 2, 3, 16, 17, 25, 40, 62, (1 << SHIFT_BITS) - 1) if rounding == "single"
              else (1, 9, 20, 30, 31, 32, 33, 45, 62))
    for shift in shifts:
        left = max(0, 31 - shift) if rounding == "tflite" else 0
        fitting = np.clip(totals, -1 << (31 - left), (1 << (31 - left)) - 1) if left else totals
        for multiplier in multipliers:
            for zero_point, codes in ((0, 8), (-128, 8), (127, 8), (-3, 16), (1, 2)):
                got = golden.requantize(torch.from_numpy(fitting), torch.tensor(multiplier),
                                        torch.tensor(shift), zero_point, codes, rounding)
                wanted = numerics.requantize(fitting, multiplier, shift, zero_point, codes,
                                             rounding)
                assert np.array_equal(got.numpy(), wanted), (shift, multiplier, zero_point)


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


@pytest.mark.parametrize(("kernel", "stride", "padding"), [
    ((2, 2), (2, 2), (0, 0, 0, 0)), ((3, 2), (1, 3), (0, 0, 0, 0)), ((9, 8), (1, 1), (0, 0, 0, 0)),
    ((1, 1), (4, 5), (0, 0, 0, 0)), ((3, 3), (2, 2), (1, 1, 1, 1)), ((3, 4), (2, 1), (0, 3, 2, 1)),
], ids=str)
def test_pooling(kernel: tuple[int, int], stride: tuple[int, int], padding: Padding) -> None:
    config = PRESETS["tiny"]
    codes = graphs.images(config, SHAPE, 5, seed=4)
    padded = torch.tensor(pad(codes, padding, -999)).double()
    wanted = functional.max_pool2d(padded, kernel, stride).long()
    x = Tensor("x", SHAPE, 1.0, 7)
    y = replace(x, name="y", shape=(3, wanted.shape[2], wanted.shape[3]))
    got = run(MaxPool2d("pool", x, y, kernel, stride, padding), codes, config)
    assert np.array_equal(got, wanted.numpy())


@pytest.mark.parametrize("operation", Operation)
def test_no_images_give_no_outputs(operation: Operation) -> None:
    config, x, y = configs.SWITCHED, Tensor("x", (2, 4, 4), 0.5, 3), Tensor("y", (3, 3, 2), 0.5, 0)
    conv = Conv2d("y", x, y, np.ones((3, 2, 2, 3), np.int64), np.zeros(3, np.int64),
                  np.ones(3, np.int64), np.full(3, 8), operation=operation)
    outputs = golden.run(Graph("g", x, (conv,)), np.zeros((0, *x.shape), np.int64), config)
    assert {name: values.shape for name, values in outputs.items()} == {
        "x": (0, *x.shape), "y": (0, *y.shape)}


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    config = PRESETS["tiny-shift"]
    network = graphs.build(config, SHAPE, [
        Layer(4, (3, 3), activation="tanh", pool=((2, 2), (2, 2))),
        Layer(5, (3, 3), activation="relu")], seed=5)
    verify(network, config)
    codes = graphs.images(config, SHAPE, 7, seed=6)
    whole = golden.run(network, codes, config)
    monkeypatch.setattr(golden, "CHUNK", 3)
    parts = golden.run(network, torch.from_numpy(codes), config)
    assert list(whole) == ["input", "conv0_out", "act0_out", "pool0", "conv1_out", "act1_out"]
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert whole["act1_out"].shape == (7, *network.output.shape)
    assert golden.run(network, codes[:0], config)["pool0"].shape == (0, 4, 3, 3)


def test_a_depthwise_network_is_fast() -> None:
    config, nodes = PRESETS["ecp5"], []
    tensor = source = Tensor("input", (64, 32, 32), 0.5, -128)
    for index in range(8):
        out = Tensor(f"t{index}", tensor.shape, 0.5, -128)
        groups = 64 if index % 2 else 1
        kernel = (3, 3) if index % 2 else (1, 1)
        nodes.append(Conv2d(f"conv{index}", tensor, out, np.ones((64, 64 // groups, *kernel),
                                                                 np.int64),
                            *(np.full(64, v) for v in (0, 1 << 16, 18)), groups=groups,
                            padding=(1, 1, 1, 1) if index % 2 else (0, 0, 0, 0)))
        tensor = out
    network = Graph("depthwise", source, tuple(nodes))
    codes = graphs.images(config, source.shape, 4, seed=1)
    start = time.perf_counter()
    golden.run(network, codes, config)
    assert time.perf_counter() - start < 4 * 2.0        # on a busy machine; 0.1 s when idle


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
