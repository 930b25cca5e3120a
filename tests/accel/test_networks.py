"""The shipped networks: their layers, their weight files and how well they read digits."""
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from accel.data import load_digits
from accel.networks import ACTIVATIONS, NETWORKS, WEIGHTS, load_pretrained, to_input
from accel.train import accuracy, saturation


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_and_size(name: str) -> None:
    network = NETWORKS[name]()
    activation = ACTIVATIONS[name.removeprefix("lenet5-")]
    assert [type(layer) for layer in network] == [
        nn.Conv2d, activation, nn.MaxPool2d, nn.Conv2d, activation, nn.MaxPool2d, nn.Flatten,
        nn.Linear, activation, nn.Linear, activation, nn.Linear]
    assert sum(parameter.numel() for parameter in network.parameters()) == 61_706
    assert network(torch.zeros(3, 1, 28, 28)).shape == (3, 10)


@pytest.mark.parametrize("name", NETWORKS)
def test_shipped_weights_are_finite_float16(name: str) -> None:
    with np.load(WEIGHTS / f"{name}.npz") as arrays:
        assert set(arrays) == set(NETWORKS[name]().state_dict())
        assert all(arrays[key].dtype == np.float16 for key in arrays)
        assert all(np.isfinite(arrays[key]).all() for key in arrays)


@pytest.mark.parametrize("name", NETWORKS)
def test_shipped_weights_read_digits(name: str) -> None:
    _, digits = load_digits()
    network = load_pretrained(name)
    assert not network.training
    assert accuracy(network, digits) >= 0.98


@pytest.mark.parametrize("name", NETWORKS)
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
