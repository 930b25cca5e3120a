"""The known networks: their layers and size, their weights and how well they read digits."""
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from accel import mlperf
from accel.data import load_digits
from accel.model import import_torch
from accel.networks import (
    ACTIVATIONS,
    LENETS,
    NETWORKS,
    TRAINED,
    WEIGHTS,
    load_pretrained,
    random_input,
    to_input,
)
from accel.train import accuracy, saturation

#: Multiplications an image, as the MLPerf Tiny suite and the papers count them; or distances.
MACS = {"lenet5-tanh": 416_520, "lenet5-selu": 416_520, "mlp": 109_184, "resnet8": 12_501_632,
        "ds_cnn": 2_656_768, "mobilenet": 7_489_664, "autoencoder": 264_192,
        **dict.fromkeys(("cnn", "cnn-shift", "cnn-add"), 608_704), "resnet8-shift": 12_501_632}
#: Behind each convolution a 3 x 3 (or 1 x 1) one of as many channels as it has.
MACS |= dict.fromkeys(("cnn-shiftadd", "cnn-fixed", "cnn-pruned"), 608_704 + 9 * (
    28 * 28 * 8 * 8 + 14 * 14 * 16 * 16 + 7 * 7 * 32 * 32))
MACS["cnn-shiftadd-1x1"] = 608_704 + 28 * 28 * 8 * 8 + 14 * 14 * 16 * 16 + 7 * 7 * 32 * 32
MACS["resnet8-shiftadd"] = 12_501_632 + 9 * (
    3 * 1024 * 16 ** 2 + 2 * 256 * 32 ** 2 + 2 * 64 * 64 ** 2) + 256 * 32 ** 2 + 64 * 64 ** 2
MACS["resnet20-shiftadd"] = 40_813_184 + 9 * (
    7 * 1024 * 16 ** 2 + 6 * 256 * 32 ** 2 + 6 * 64 * 64 ** 2) + 256 * 32 ** 2 + 64 * 64 ** 2
#: As TensorFlow counts the trainable ones of the suite's reference models.
PARAMETERS = {"lenet5-tanh": 61_706, "lenet5-selu": 61_706, "mlp": 109_386, "resnet8": 78_186,
              "ds_cnn": 23_756, "mobilenet": 216_322, "autoencoder": 267_928,
              "cnn": 6402, "cnn-add": 6412}
OUTPUTS = {"resnet8": 10, "ds_cnn": 12, "mobilenet": 2, "autoencoder": 640}
RANDOM = [name for name in NETWORKS if name not in TRAINED]


@pytest.mark.parametrize("name", LENETS)
def test_layers_of_lenet(name: str) -> None:
    network = NETWORKS[name].build()
    activation = ACTIVATIONS[name.removeprefix("lenet5-")]
    assert [type(layer) for layer in network] == [
        nn.Conv2d, activation, nn.MaxPool2d, nn.Conv2d, activation, nn.MaxPool2d, nn.Flatten,
        nn.Linear, activation, nn.Linear, activation, nn.Linear]


@pytest.mark.parametrize("name", NETWORKS)
def test_size(name: str) -> None:
    network, shape = NETWORKS[name].build().eval(), NETWORKS[name].input_shape
    if name in PARAMETERS:      # a shift weight has two
        assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[name]
    assert network(torch.zeros(3, *shape)).shape == (3, OUTPUTS.get(name, 10))
    graph = import_torch(network, shape)
    assert graph.macs == MACS[name]
    assert graph.host == ()


@pytest.mark.parametrize("name", NETWORKS)
def test_import_computes_the_same(name: str) -> None:
    network, images = load_pretrained(name).double(), random_input(name, 3, seed=7).double()
    graph = import_torch(network, NETWORKS[name].input_shape)
    with torch.no_grad():
        assert torch.allclose(graph.run(images).flatten(1), network(images), atol=1e-9)


@pytest.mark.parametrize(("size", "kernel", "stride", "padding"), [
    ((49, 10), (10, 4), 2, (1, 1, 4, 5)), ((96, 96), (3, 3), 2, (0, 1, 0, 1)),
    ((25, 5), (3, 3), 1, (1, 1, 1, 1)), ((8, 8), (1, 1), 2, (0, 0, 0, 0))])
def test_padding_is_tensorflows(size: tuple[int, int], kernel: tuple[int, int], stride: int,
                                padding: tuple[int, ...]) -> None:
    layer = mlperf.same(size, kernel, stride)
    assert layer.padding == padding     # left, right, top, bottom
    out = nn.Conv2d(1, 1, kernel, stride)(layer(torch.zeros(1, 1, *size)))
    assert out.shape[2:] == tuple(-(-n // stride) for n in size)


@pytest.mark.parametrize("name", RANDOM)
def test_random_weights_are_always_the_same_and_give_sensible_ranges(name: str) -> None:
    torch.manual_seed(11)
    expected = torch.rand(2)
    torch.manual_seed(11)
    network, again = load_pretrained(name), load_pretrained(name)
    assert torch.equal(torch.rand(2), expected)     # the caller's are left alone
    assert not network.training
    state = again.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    tensors = import_torch(network, NETWORKS[name].input_shape).trace(random_input(name, 16, 3))
    for values in tensors.values():
        assert 0.5 < float(values.max() - values.min()) < 40
    output = list(tensors.values())[-1]
    assert float(output.std(0).mean()) > 0.05       # depends on the input


@pytest.mark.parametrize("name", NETWORKS)
def test_random_inputs(name: str) -> None:
    images = random_input(name, 9, seed=4)
    assert images.shape == (9, *NETWORKS[name].input_shape)
    assert images.min() >= 0
    assert images.max() <= 1
    assert torch.equal(images, random_input(name, 9, seed=4))
    assert not torch.equal(images, random_input(name, 9, seed=5))


@pytest.mark.parametrize("name", TRAINED)
def test_shipped_weights_are_finite_float16(name: str) -> None:
    with np.load(WEIGHTS / f"{name}.npz") as arrays:
        assert set(arrays) == set(NETWORKS[name].build().state_dict())
        assert all(arrays[key].dtype == np.float16 for key in arrays)
        assert all(np.isfinite(arrays[key]).all() for key in arrays)


@pytest.mark.parametrize("name", TRAINED)
def test_shipped_weights_read_digits(name: str) -> None:
    _, digits = load_digits()
    network = load_pretrained(name)
    assert not network.training
    assert accuracy(network, digits) >= (0.95 if name.startswith("cnn") else 0.98)


@pytest.mark.parametrize("name", LENETS)
def test_activation_inputs_fit_the_hardware(name: str) -> None:
    _, digits = load_digits()
    layers = saturation(load_pretrained(name), digits)
    assert len(layers) == 4
    for share, largest in layers:
        assert share <= 0.001
        assert largest <= 1.25


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'alexnet': choose from lenet5-tanh, lenet5-selu"):
        load_pretrained("alexnet")


def test_untrained_folder_names_the_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "lenet5-tanh.npz"))):
        load_pretrained("lenet5-tanh", tmp_path)


def test_input_is_zero_to_one() -> None:
    pixels = np.array([0, 51, 255], dtype=np.uint8).reshape(3, 1, 1, 1)
    x = to_input(pixels)
    assert x.dtype == torch.float32
    assert x.shape == (3, 1, 1, 1)
    assert x.flatten().tolist() == pytest.approx([0.0, 0.2, 1.0])
