"""The networks that Systolith knows by name, and their weights.

LeNet-5 (with tanh and with SELU), the MLP, and `accel.shiftadd.cnn` with its relatives that do not
multiply read (n, 1, 28, 28) float pixels in 0..1 and answer (n, 10) logits, one per digit;
``python -m accel.train`` writes their weight files. No package
ships data for the others (`accel.mlperf`): their weights are random, drawn with `SEED`, and their
batch norms fitted to random inputs, so that every layer has the range that training would give.

Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
recognition", Proc. IEEE 86(11), 1998; as usual today with max pooling, a fully connected second
convolution and a linear output layer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from accel import mlperf, shiftadd

WEIGHTS = Path(__file__).parent / "weights"
ACTIVATIONS = {"tanh": nn.Tanh, "selu": nn.SELU}

#: Passes over the digits of `shiftadd.cnn` and its relatives, one and all.
STUDY_EPOCHS = 20
#: Of the weights of networks that are not trained.
SEED = 5
#: Random inputs that their batch norms are fitted to.
FITTED = 32
#: Range of the batch norms' offsets, in standard deviations. Behind offsets around 0, a random
#: network of 27 layers amplifies any error, one of rounding too, until nothing else is left.
OFFSETS = 0.5, 1.5


@dataclass(frozen=True)
class Network:
    """A network by name.

    Members:
        build: the network with fresh random weights.
        input_shape: (channels, height, width) or (features,).
        data: what it is trained on; None: no package ships its data.
        preset: a configuration that runs it.
        epochs: that it is trained for.
        pruned: share of its shift weights that are 0 from the middle of the training on.
    """

    build: Callable[[], nn.Sequential]
    input_shape: tuple[int, ...]
    data: Literal["digits"] | None = None
    preset: str = "ecp5"
    epochs: int = 150
    pruned: float = 0.0


def lenet5(activation: Literal["tanh", "selu"]) -> nn.Sequential:
    """LeNet-5 with fresh random weights: 61,706 parameters, 416,520 multiplications an image."""
    act = ACTIVATIONS[activation]
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), act(), nn.MaxPool2d(2),  # (6, 14, 14)
        nn.Conv2d(6, 16, 5), act(), nn.MaxPool2d(2),  # (16, 5, 5)
        nn.Flatten(),
        nn.Linear(400, 120), act(),
        nn.Linear(120, 84), act(),
        nn.Linear(84, 10),
    )


def mlp() -> nn.Sequential:
    """Three fully connected layers with fresh random weights: 109,184 multiplications an image."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64),
                         nn.ReLU(), nn.Linear(64, 10))


NETWORKS: dict[str, Network] = {
    "lenet5-tanh": Network(partial(lenet5, "tanh"), (1, 28, 28), "digits"),
    "lenet5-selu": Network(partial(lenet5, "selu"), (1, 28, 28), "digits"),
    "mlp": Network(mlp, (1, 28, 28), "digits"),
    **{name: Network(build, (1, 28, 28), "digits", preset, STUDY_EPOCHS, pruned)
       for name, build, preset, pruned in (
           ("cnn", shiftadd.cnn, "ecp5", 0.0),
           ("cnn-shift", partial(shiftadd.shift, shiftadd.cnn), "ecp5-shift", 0.0),
           ("cnn-add", partial(shiftadd.add, shiftadd.cnn), "ecp5-add", 0.0),
           ("cnn-shiftadd", partial(shiftadd.shiftadd_cnn, 3), "ecp5-shiftadd", 0.0),
           ("cnn-shiftadd-1x1", partial(shiftadd.shiftadd_cnn, 1), "ecp5-shiftadd", 0.0),
           ("cnn-fixed", partial(shiftadd.shiftadd_cnn, 3, fixed=True), "ecp5-shiftadd", 0.0),
           ("cnn-pruned", partial(shiftadd.shiftadd_cnn, 3), "ecp5-shiftadd", 0.5))},
    "resnet8": Network(mlperf.resnet8, (3, 32, 32)),
    "resnet8-shift": Network(partial(shiftadd.shift, mlperf.resnet8), (3, 32, 32), None,
                             "ecp5-shift"),
    "resnet8-shiftadd": Network(partial(shiftadd.shiftadd, mlperf.resnet8), (3, 32, 32), None,
                                "ecp5-shiftadd-mem"),
    "resnet20-shiftadd": Network(partial(shiftadd.shiftadd, shiftadd.resnet20), (3, 32, 32), None,
                                 "ecp5-shiftadd-mem"),
    "ds_cnn": Network(mlperf.ds_cnn, (1, 49, 10)),
    "mobilenet": Network(mlperf.mobilenet, (3, 96, 96), None, "ecp5-mem"),
    "autoencoder": Network(mlperf.autoencoder, (640,), None, "ecp5-dense"),
}
#: Those with shipped weights.
TRAINED = tuple(name for name, network in NETWORKS.items() if network.data)
LENETS = ("lenet5-tanh", "lenet5-selu")
#: Trained networks that show what an array of each kind of cell can do.
SHOWN = {"mac": LENETS, "shift": LENETS, "add": ("cnn-add",), "shiftadd": ("cnn-shiftadd",)}


def load_pretrained(name: str, folder: Path = WEIGHTS) -> nn.Sequential:
    """The network ``name`` in evaluation mode, with the float16 weights of ``folder/name.npz``.

    One that is not trained has always the same random weights.

    Raises:
        ValueError: there is no network of that name; the message lists those there are.
        FileNotFoundError: the network has not been trained into ``folder``.
    """
    if name not in NETWORKS:
        raise ValueError(f"unknown network {name!r}: choose from {', '.join(NETWORKS)}")
    if name not in TRAINED:
        return _random(name)
    network = NETWORKS[name].build()
    with np.load(folder / f"{name}.npz") as arrays:
        state = {key: torch.from_numpy(arrays[key].astype(np.float32)) for key in arrays}
    network.load_state_dict(state)
    return network.eval()


def to_input(images: np.ndarray) -> torch.Tensor:
    """Network input of uint8 pixels: float32 in 0..1, of the same (n, 1, 28, 28) shape."""
    return torch.from_numpy(images).float() / 255


def random_input(name: str, count: int, seed: int) -> torch.Tensor:
    """``count`` random inputs of the network ``name``, float32 in 0..1; ``seed`` fixes them.

    Coarse patches with noise on them, and of uneven brightness: as in a picture or a spectrum,
    neighbours are alike and one input differs from the next.
    """
    shape = NETWORKS[name].input_shape
    channels, height, width = shape if len(shape) == 3 else (1, *shape, 1)
    random = torch.Generator().manual_seed(seed)
    patches = torch.rand(count, channels, -(-height // 8), -(-width // 8), generator=random)
    smooth = functional.interpolate(patches, (height, width), mode="bilinear")
    noise = torch.rand(count, channels, height, width, generator=random)
    bright = torch.rand(count, 1, 1, 1, generator=random)
    return ((0.7 * smooth + 0.3 * noise) * (0.3 + 0.7 * bright)).reshape(count, *shape)


@torch.no_grad()
def _random(name: str) -> nn.Sequential:
    """Weights drawn with `SEED`, uneven batch norms fitted to random inputs; evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = NETWORKS[name].build()
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                layer.momentum = None       # the mean over all that it sees
                nn.init.uniform_(layer.weight, 0.5, 1.5)
                nn.init.uniform_(layer.bias, *OFFSETS)
            elif isinstance(layer, nn.Dropout):
                layer.p = 0.0
        network.train()(random_input(name, FITTED, SEED))
    return network.eval()
