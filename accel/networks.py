"""The networks that ship with Systolith: LeNet-5 with tanh and with SELU, and their weights.

Both read (n, 1, 28, 28) float pixels in 0..1 and answer (n, 10) logits, one per digit.
``python -m accel.train`` writes the weight files.

Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
recognition", Proc. IEEE 86(11), 1998; as usual today with max pooling, a fully connected second
convolution and a linear output layer.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

WEIGHTS = Path(__file__).parent / "weights"
ACTIVATIONS = {"tanh": nn.Tanh, "selu": nn.SELU}


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


NETWORKS: dict[str, Callable[[], nn.Sequential]] = {
    "lenet5-tanh": partial(lenet5, "tanh"),
    "lenet5-selu": partial(lenet5, "selu"),
}


def load_pretrained(name: str, folder: Path = WEIGHTS) -> nn.Sequential:
    """The network ``name`` in evaluation mode, with the float16 weights of ``folder/name.npz``.

    Raises:
        ValueError: there is no network of that name; the message lists those there are.
        FileNotFoundError: the network has not been trained into ``folder``.
    """
    if name not in NETWORKS:
        raise ValueError(f"unknown network {name!r}: choose from {', '.join(NETWORKS)}")
    network = NETWORKS[name]()
    with np.load(folder / f"{name}.npz") as arrays:
        state = {key: torch.from_numpy(arrays[key].astype(np.float32)) for key in arrays}
    network.load_state_dict(state)
    return network.eval()


def to_input(images: np.ndarray) -> torch.Tensor:
    """Network input of uint8 pixels: float32 in 0..1, of the same (n, 1, 28, 28) shape."""
    return torch.from_numpy(images).float() / 255
