"""What the known networks are calibrated on and shown: data where there are any, or random."""
import numpy as np
import pytest
import torch

from accel import pretrained
from accel.data import load_digits
from accel.networks import NETWORKS, TRAINED, random_input, to_input
from accel.pretrained import accuracy, calibrate, shown_images
from accel.spec.presets import PRESETS
from accel.verify import verify


@pytest.mark.parametrize("name", NETWORKS)
def test_shows_test_digits_or_random_inputs(name: str) -> None:
    shown, labels = shown_images(name, 7)
    assert shown.shape == (7, *NETWORKS[name].input_shape)
    if name in TRAINED:
        test = load_digits()[1]
        assert torch.equal(shown, to_input(test.images[:7]))
        assert labels is not None
        assert np.array_equal(labels, test.labels[:7])
    else:
        assert labels is None
        assert not torch.equal(shown, random_input(name, 7, pretrained.CALIBRATION_SEED))


@pytest.mark.parametrize("name", ["mlp", "autoencoder"])
def test_the_graph_has_the_networks_name_and_suits_the_configuration(name: str) -> None:
    config = PRESETS["tiny"]
    model, graph = calibrate(name, config)
    verify(graph, config)
    assert graph.name == name
    assert not model.training
    assert graph.macs == {"mlp": 109_184, "autoencoder": 264_192}[name]


def test_accuracy_counts_the_first_of_equal_outputs() -> None:
    outputs = np.array([[3, 1, 2], [0, 5, 5]])[:, :, None, None]
    assert accuracy(outputs, np.array([0, 2])) == pytest.approx(1 / 2)
