"""Post-training quantization: formats, weights, biases, faults, and accuracy on the digits."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from accel import golden, graph
from accel.compile import compile_graph
from accel.emulate import Emulator
from accel.integer_nodes import quantize_weights
from accel.model import import_torch
from accel.networks import LENETS, NETWORKS, TRAINED
from accel.pretrained import calibrate, shown_images
from accel.quantize import QuantizeError, dequantize, quantize, quantize_input, quantize_values
from accel.spec.cells import CellSpec
from accel.spec.config import AccelConfig
from accel.spec.presets import PRESETS
from tests import configs

SHAPE = (2, 8, 8)
ECP5, ECP5_SHIFT = PRESETS["ecp5"], PRESETS["ecp5-shift"]


def images(count: int = 64, low: float = -1.0, high: float = 2.0, seed: int = 1) -> torch.Tensor:
    """Uniform noise (count, 2, 8, 8) that reaches both ends of its range."""
    values = torch.rand((count, *SHAPE), generator=torch.manual_seed(seed)) * (high - low) + low
    values[0, 0, 0, :2] = torch.tensor([low, high])
    return values


def small(activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """A network with a stride, padding, pooling before and behind activations."""
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), activation(), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.MaxPool2d(2), activation(), nn.Flatten(),
        nn.Linear(8, 5))


def tensors(network: graph.Graph) -> dict[str, graph.Tensor]:
    """All tensors by name."""
    return {t.name: t for t in (network.input, *(node.output for node in network.nodes))}


def real_outputs(network: graph.Graph, config: AccelConfig, x: torch.Tensor) -> list[torch.Tensor]:
    """Every tensor of the integer network in real numbers, in order."""
    codes = golden.run(network, quantize_input(network, x, config), config)
    return [torch.from_numpy(dequantize(t, codes[name])) for name, t in tensors(network).items()]


def sqnr(wanted: torch.Tensor, found: torch.Tensor) -> float:
    """Variance of ``wanted`` over the mean square of the error, in decibels."""
    return 10 * float(torch.log10(wanted.var() / (found - wanted).square().mean()))


@pytest.mark.parametrize("config", [config for config in PRESETS.values() if config.cell != "add"],
                         ids=lambda config: config.name)
@pytest.mark.parametrize(("activation", "bound"), [     # error / spread of the output
    (nn.ReLU, {"mac": 0.03, "shift": 0.2}),
    (nn.Tanh, {"mac": 0.06, "shift": 0.2}),     # steps of 1/32
    (nn.SELU, {"mac": 0.12, "shift": 0.25}),    # steps of 1/16
], ids=["relu", "tanh", "selu"])
def test_agrees_with_the_float_network(config: AccelConfig, activation: type[nn.Module],
                                       bound: dict[str, float]) -> None:
    model, x = small(activation), images(256)
    network = quantize(model, x.split(100), config)
    fresh = images(64, seed=9)
    wanted = import_torch(model, SHAPE).run(fresh)
    error = float((real_outputs(network, config, fresh)[-1] - wanted).std() / wanted.std())
    assert error < bound[config.cell.removesuffix("add")]


@pytest.mark.parametrize("contract", ["exact", "faithful", "within1"])
@pytest.mark.parametrize("activation", [nn.GELU, nn.Sigmoid])
def test_other_activations_and_contracts(activation: type[nn.Module], contract: str) -> None:
    name = activation.__name__.lower()
    config = replace(ECP5, act_bits=6, weight_bits=6, activations=(f"{name}:Q3.3:Q3.3:{contract}",))
    torch.manual_seed(1)
    model, x = nn.Sequential(nn.Conv2d(2, 3, 3), activation(), nn.Conv2d(3, 2, 2)), images(256)
    network = quantize(model, [x], config)
    wanted = import_torch(model, SHAPE).run(x)
    error = float((real_outputs(network, config, x)[-1] - wanted).std() / wanted.std())
    assert error < 0.5
    program = compile_graph(network, config)
    device = Emulator(config)
    device.load(program)
    codes = quantize_input(network, x, config)
    golden_codes = golden.run(network, codes, config)[network.output.name]
    assert np.array_equal(device.run(codes), golden_codes)


def test_sixteen_bits_leave_hardly_an_error() -> None:
    config = replace(configs.WIDE, activations=("relu",))
    model, seen = small(), images()     # within the calibrated range, so that nothing saturates
    network = quantize(model, [seen], config)
    error = real_outputs(network, config, seen)[-1] - import_torch(model, SHAPE).run(seen)
    assert float(error.abs().max()) < 1e-4


def test_formats_follow_the_range_or_the_table() -> None:
    network = quantize(small(nn.ReLU), [images(low=0, high=1)], ECP5)
    found = tensors(network)
    assert found["input"].scale == pytest.approx(1 / 255)
    assert found["input"].zero_point == -128
    assert {(t.scale, t.zero_point) for name, t in found.items() if name[0] in "012"} == {
        (found["2.pool"].scale, -128)}
    assert {(t.scale, t.zero_point) for name, t in found.items() if name[0] in "345"} == {
        (found["5.relu"].scale, -128)}
    assert -128 < found["7.linear"].zero_point < 127

    found = tensors(quantize(small(nn.SELU), [images()], replace(
        ECP5, activations=("selu:Q3.5:Q2.6",))))
    assert (found["input"].scale, found["input"].zero_point) == (pytest.approx(3 / 255), -43)
    by_format = {(t.scale, t.zero_point): name for name, t in found.items()}
    assert by_format[1 / 32, 0] == "4.pool"     # the last in the input format of the table
    assert by_format[1 / 64, 0] == "5.selu"


def test_a_run_of_relu_and_table_keeps_the_format_of_the_table() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.MaxPool2d(2), nn.ReLU(), nn.Tanh(), nn.ReLU())
    found = tensors(quantize(model, [images()], ECP5))
    assert [found[n].scale for n in ("0.conv", "1.pool", "2.relu", "3.tanh", "4.relu")] == [
        1 / 32, 1 / 32, 1 / 32, 1 / 128, 1 / 128]


def test_pooling_directly_before_the_network_and_range_without_zero() -> None:
    model = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(2, 3, 1))
    x = images(low=5.0, high=10.0)
    network = quantize(model, [x], ECP5)
    assert (network.input.scale, network.input.zero_point) == (pytest.approx(10 / 255), -128)
    assert not quantize_input(network, torch.zeros(1, *SHAPE), ECP5).max() + 128


@pytest.mark.parametrize("cell", [CellSpec("mac", 8), CellSpec("mac", 2), CellSpec("shift", 3),
                                  CellSpec("shift", 5), CellSpec("shift", 6)], ids=str)
def test_weights_are_nearest_members_at_the_best_scale(cell: CellSpec) -> None:
    rng = np.random.default_rng(3)
    weight = rng.normal(size=(6, 50)) * 10.0 ** np.arange(-3, 3)[:, None]
    members = np.array([w for w in cell.weights if -w in cell.weights], dtype=np.float64)
    codes, scale = quantize_weights(weight, members, np.full(6, 1e-12))

    def error(scale: np.ndarray) -> np.ndarray:
        distance = np.abs(weight[..., None] / scale[:, None, None] - members)
        return (distance.min(axis=2) ** 2).sum(axis=1) * scale ** 2

    assert set(np.unique(codes)) <= set(members.astype(int))
    assert ((codes * scale[:, None] - weight) ** 2).sum(axis=1) == pytest.approx(error(scale))
    for factor in (0.5, 0.7, 0.8, 0.9, 1.1, 1.25, 1.4, 2.0):   # 5 %: the grid is not dense
        assert (error(scale) <= 1.05 * error(scale * factor)).all()


def test_an_exact_weight_set_is_found_exactly() -> None:
    members = np.array(CellSpec("shift", 5).weights, dtype=np.float64)
    weight = np.stack([members * 0.3, members[::-1] * 2e-4])
    codes, scale = quantize_weights(weight, members, np.zeros(2))
    assert codes.tolist() == [members.tolist(), members[::-1].tolist()]
    assert scale == pytest.approx([0.3, 2e-4])


@pytest.mark.parametrize("config", [ECP5, ECP5_SHIFT], ids=["mac", "shift"])
def test_bias_holds_the_zero_point_of_the_input(config: AccelConfig) -> None:
    conv = nn.Conv2d(2, 4, 3, padding=1)
    network = quantize(conv, [images()], config)
    node = network.nodes[0]
    assert isinstance(node, graph.Conv2d)
    assert network.input.zero_point == (-64 if config.scale_terms else -43)
    assert set(np.unique(node.weight)) <= {w for w in config.cell_spec.weights
                                           if -w in config.cell_spec.weights}
    factor = network.input.scale / node.output.scale
    weight_scale = node.multiplier / 2.0 ** node.shift / factor
    bias = (node.bias + network.input.zero_point * node.weight.sum(axis=(1, 2, 3))
            ) * network.input.scale * weight_scale
    assert bias == pytest.approx(conv.bias.detach().double().numpy(), abs=1e-3)


@pytest.mark.parametrize("config", [ECP5, replace(ECP5_SHIFT, acc_bits=24)], ids=["mac", "shift"])
@pytest.mark.parametrize("tiny", [0.0, 1e-9, 1e-30])
def test_channels_without_weight_give_their_bias(config: AccelConfig, tiny: float) -> None:
    conv = nn.Conv2d(2, 3, 1)
    conv.weight.data[:2] *= tiny
    conv.bias.data[:] = torch.tensor([0.7, 0.0, 0.1])
    network = quantize(conv, [images()], config)
    *_, output = real_outputs(network, config, images(8))
    assert float((output[:, 0] - 0.7).abs().max()) <= network.output.scale / 2 + 1e-9
    assert not output[:, 1].any()


def test_all_zero_calibration_and_network() -> None:
    conv = nn.Conv2d(2, 1, 1)
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)
    network = quantize(conv, [torch.zeros(1, *SHAPE)], ECP5)
    *_, output = real_outputs(network, ECP5, images(4))
    assert not output.any()


@pytest.mark.parametrize(("batches", "fault"), [
    ([], "there are no calibration images"),
    ([torch.zeros(0, *SHAPE)], "there are no calibration images"),
    ([images(), images(5)[:, :1]], r"one shape .*\(5, 1, 8, 8\), \(64, 2, 8, 8\)"),
    ([images()[0]], r"one shape .* or \(n, features\), not \[\(2, 8, 8\)\]"),
    ([images() / 0.0], "hold NaN or infinity"),
    ([images(), images(2) * torch.nan], "hold NaN or infinity"),
    ([images().to(torch.uint8)], r"must be float tensors, not torch\.uint8"),
    ([images().numpy()], "must be float tensors, not ndarray"),
], ids=["none", "empty", "two shapes", "no batch axis", "infinite", "nan", "pixels", "numpy"])
def test_calibration_faults(batches: list[torch.Tensor], fault: str) -> None:
    with pytest.raises(QuantizeError, match=fault):
        quantize(small(), batches, ECP5)


def test_names_a_layer_that_overflows() -> None:
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 1)).double()
    model[2].weight.data[:] = 1e308
    with pytest.raises(QuantizeError, match=r"2\.conv: the calibration images give NaN or inf"):
        quantize(model, [100 * images().double()], ECP5)


def test_names_every_missing_activation() -> None:
    with pytest.raises(QuantizeError, match=r"1\.relu: activation 'relu' is not in config 'ecp5', "
                       r"which has tanh; 5\.relu: activation 'relu' is not in"):
        quantize(small(), [images()], replace(ECP5, activations=("tanh",)))


def test_an_identity_stands_between_two_tables() -> None:
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.Tanh(), nn.MaxPool2d(2), nn.SELU())
    network = quantize(model, [images()], ECP5)
    *_, identity, selu = network.nodes
    assert isinstance(identity, graph.Conv2d)
    assert (identity.input.scale, identity.output.scale) == (1 / 128, 1 / 16)
    assert identity.weight.tolist() == [[[[1]]]] * 2
    assert identity.groups == 2
    assert selu.inputs == (identity.output,)
    wanted = import_torch(model, SHAPE).run(images())
    assert float((real_outputs(network, ECP5, images())[-1] - wanted).abs().max()) < 3 / 16


def test_what_is_no_configuration_and_no_tensor() -> None:
    with pytest.raises(TypeError, match="config must be an AccelConfig, not 'ecp5'"):
        quantize(small(), [images()], "ecp5")
    with pytest.raises(TypeError, match="images must be a torch tensor, not ndarray"):
        quantize_input(quantize(small(), [images()], ECP5), images().numpy(), ECP5)


def test_names_the_channel_whose_scale_is_out_of_range() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.Tanh())
    model[0].weight.data[1] = 1e9
    with pytest.raises(QuantizeError, match=r"0\.conv, output channel 1: a requantizer scale must "
                       r"be in .*; its weights do not suit the format of its output"):
        quantize(model, [images()], ECP5)


def test_too_narrow_an_accumulator_is_the_graphs_error() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(128, 2))
    with pytest.raises(graph.GraphError, match=r"1\.linear: an accumulator may reach .* acc_bits"):
        quantize(model, [images()], replace(PRESETS["tiny"], acc_bits=18))


def test_input_codes_round_and_saturate() -> None:
    network = quantize(small(), [images(low=0, high=1)], ECP5)
    x = torch.zeros(1, *SHAPE)
    x[0, 0, 0, :5] = torch.tensor([-3.0, 0.4 / 255, 0.6 / 255, 1.0, 9.0])
    assert quantize_input(network, x, ECP5)[0, 0, 0, :6].tolist() == [
        -128, -128, -127, 127, 127, -128]
    with pytest.raises(QuantizeError, match=r"n of shape \(2, 8, 8\), not \(1, 2, 7, 8\)"):
        quantize_input(network, x[:, :, 1:], ECP5)
    every = np.arange(-128, 128)
    assert np.array_equal(quantize_values(network.output, dequantize(network.output, every), 8),
                          every)


def test_input_must_be_finite_and_may_be_features() -> None:
    model = nn.Sequential(nn.Linear(12, 3), nn.ReLU(), nn.Linear(3, 12))
    x = torch.rand(20, 12, generator=torch.manual_seed(1))
    network = quantize(model, [x], ECP5)
    assert network.input.shape == (12, 1, 1)
    codes = quantize_input(network, x, ECP5)
    assert codes.shape == (20, 12, 1, 1)
    assert np.array_equal(quantize_input(network, x[:, :, None, None], ECP5), codes)
    x[3, 4] = torch.nan
    with pytest.raises(QuantizeError, match="images must be finite, but 1 values are NaN"):
        quantize_input(network, x, ECP5)


@pytest.mark.parametrize(("name", "preset", "points"), [
    *(case for name in (*LENETS, "mlp") for case in (
        (name, "ecp5", 0.5), (name, "ecp5-shift", 1.0))),
    *((name, NETWORKS[name].preset, 1.0) for name in TRAINED if name.startswith("cnn"))])
def test_keeps_the_accuracy_of_the_pretrained_networks(name: str, preset: str, points: float,
                                                       ) -> None:
    config = PRESETS[preset]
    model, network = calibrate(name, config)
    shown, labels = shown_images(name, 1000)
    with torch.no_grad():
        before = golden.top1(model(shown), torch.as_tensor(labels))
    codes = golden.run(network, quantize_input(network, shown, config), config)
    after = golden.top1(codes[network.output.name], torch.as_tensor(labels))
    assert after >= before - points / 100


@pytest.mark.parametrize("rounding", ["single", "tflite"])
@pytest.mark.parametrize("name", [name for name, network in NETWORKS.items()
                                  if name not in TRAINED and PRESETS[network.preset].cell == "mac"])
def test_random_networks_keep_close_to_float(name: str, rounding: str) -> None:
    config = replace(ECP5, rounding=rounding)
    model, network = calibrate(name, config)
    shown, _ = shown_images(name, 12)
    codes = golden.run(network, quantize_input(network, shown, config), config)
    output = torch.from_numpy(dequantize(network.output, codes[network.output.name].numpy()))
    with torch.no_grad():
        wanted = model(shown).double()
    assert sqnr(wanted, output.reshape(wanted.shape)) > (15 if name == "mobilenet" else 25)
