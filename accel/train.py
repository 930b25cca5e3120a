"""Train the shipped networks and write their weight files.

``python -m accel.train [NETWORK|all] [--epochs N] [--seed S] [--out DIR]``

The 4,000 training digits are bent and moved anew in every epoch; the test digits are looked at
once, after the last epoch, through the weight file just written. The same command writes the same
bytes again on the same machine (another processor may sum in another order).

The hardware reads the input of tanh as q3.5 and that of SELU as q4.4, and saturates beyond. So
training charges for what comes near those limits, and quantization need not rescale anything.

Sources: augmentation after P. Simard, D. Steinkraus, J. Platt, "Best practices for convolutional
neural networks applied to visual document analysis", ICDAR 2003; schedule after L. Smith,
N. Topin, "Super-convergence", arXiv 1708.07120; AdamW after arXiv 1711.05101.
"""

import argparse
import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor, nn
from torch.nn import functional

from accel.data import DataError, Digits, load_digits
from accel.networks import NETWORKS, TRAINED, WEIGHTS, load_pretrained, to_input
from accel.nn import AddConv2d, AddLinear, ShiftLayer, prune_shifts, settle

# The recipe was settled on a fold of the training digits. Weight averaging and rounding noise at
# the activations were tried there too and gained nothing.
BATCH = 64
PEAK_RATE = 3e-3  # learning rate at the top of the one-cycle schedule
LARGE_RATE = 10  # times that, of the parameters of shift and add layers
WEIGHT_DECAY = 0.01

#: Network and images -> logits, and the inputs that `excess` charges for.
Forward = Callable[[nn.Sequential, Tensor], tuple[Tensor, list[Tensor]]]
LIMITS: dict[type[nn.Module], float] = {nn.Tanh: 4.0, nn.SELU: 8.0}  # of |input|: q3.5, q4.4
COMFORT = 0.75  # the share of the limit that is free of charge
PRICE = 32.0  # of the mean square beyond it, in units of cross entropy

SHIFT = 2 / 14  # up to 2 pixels, as a fraction of half the image
TURN = math.radians(12)
STRETCH = 0.12  # natural logarithm of the height or width factor
SHEAR = 0.15
WARP = 0.06  # standard deviation of the elastic field, as a fraction of half the image
WARP_KNOTS = 5  # knots of that field along each side


def augment(images: Tensor) -> Tensor:
    """Images (n, 1, height, width), each under its own small random affine and elastic motion."""
    n, _, height, width = images.shape
    turn, shear, right, down, wide, high = (
        limit * (2 * torch.rand(n) - 1)
        for limit in (TURN, SHEAR, SHIFT, SHIFT, STRETCH, STRETCH))
    cos, sin = turn.cos(), turn.sin()
    affine = torch.stack([wide.exp() * cos, shear - sin, right, sin, high.exp() * cos, down], dim=1)
    grid = functional.affine_grid(affine.view(n, 2, 3), list(images.shape), align_corners=False)
    knots = WARP * torch.randn(n, 2, WARP_KNOTS, WARP_KNOTS)
    warp = functional.interpolate(knots, (height, width), mode="bicubic", align_corners=True)
    return functional.grid_sample(images, grid + warp.permute(0, 2, 3, 1), align_corners=False)


def forward(network: nn.Sequential, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Logits, and the input of every activation as a multiple of its hardware limit."""
    inputs = []
    for layer in network:
        if limit := LIMITS.get(type(layer)):
            inputs.append(x / limit)
        x = layer(x)
    return x, inputs


def train(name: str, digits: Digits, epochs: int, seed: int = 0,
          advance: Callable[[], object] = lambda: None) -> nn.Sequential:
    """The network ``name`` after ``epochs`` passes over ``digits``; calls ``advance`` after each.

    Leaves torch with one thread, which is both the fastest for a net this small and one order
    of summation.
    """
    torch.set_num_threads(1)
    known = NETWORKS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = known.build()

        def after(epoch: int) -> None:
            if known.pruned and epoch == epochs // 2:
                prune_shifts(network, known.pruned)
            advance()

        fit(network, digits, epochs, PEAK_RATE, forward, after)
    settle(network)
    return network.eval()


def fit(network: nn.Sequential, digits: Digits, epochs: int, rate: float, forward: Forward,
        after: Callable[[int], object]) -> None:
    """Train for ``epochs`` passes with the peak learning rate ``rate``; torch's seed decides.

    ``after`` is told the number of passes that are done, after each.
    """
    network.train()
    images, labels = to_input(digits.images), torch.from_numpy(digits.labels)
    groups = parameter_groups(network, rate)
    optimizer = torch.optim.AdamW(groups)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [group["lr"] for group in groups], pct_start=0.2, epochs=epochs,
        steps_per_epoch=math.ceil(len(digits) / BATCH))
    for epoch in range(epochs):
        for batch in torch.split(torch.randperm(len(digits)), BATCH):
            logits, inputs = forward(network, augment(images[batch]))
            loss = functional.cross_entropy(logits, labels[batch]) + excess(inputs)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        after(epoch + 1)


def parameter_groups(network: nn.Module, rate: float) -> list[dict[str, Any]]:
    """Parameters by how they are trained: as usual, or `LARGE_RATE` times as fast.

    The signs and exponents of a shift layer and the weights of an add layer are numbers of about 1,
    ten times as large as other weights, and 0 is no better than another.
    """
    large = [parameter for layer in network.modules() for name, parameter in
             layer.named_parameters(recurse=False) if parameter.requires_grad and (
                 (isinstance(layer, ShiftLayer) and name in {"sign", "exponent"})
                 or (isinstance(layer, AddConv2d | AddLinear) and name == "weight"))]
    known = {id(parameter) for parameter in large}
    others = [parameter for parameter in network.parameters()
              if parameter.requires_grad and id(parameter) not in known]
    groups: list[dict[str, Any]] = [
        {"params": others, "lr": rate, "weight_decay": WEIGHT_DECAY},
        {"params": large, "lr": LARGE_RATE * rate, "weight_decay": 0.0}]
    return groups if large else groups[:1]


def excess(inputs: list[Tensor]) -> Tensor:
    """Charge for activation inputs beyond their comfort: mean squares, summed over the layers."""
    charges = [(x.abs() - COMFORT).relu().square().mean() for x in inputs]
    return PRICE * torch.stack(charges).sum() if charges else torch.zeros(())


def save_weights(network: nn.Module, path: Path) -> None:
    """Write the state of ``network`` as float16 arrays; ``path`` is replaced whole or not."""
    arrays = {key: value.numpy().astype(np.float16) for key, value in network.state_dict().items()}
    unfinished = path.with_suffix(".partial")
    try:
        with unfinished.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@torch.no_grad()
def accuracy(network: nn.Module, digits: Digits) -> float:
    """Share of ``digits`` whose largest logit is at their label, 0..1."""
    answers = network(to_input(digits.images)).argmax(dim=1).numpy()
    return float((answers == digits.labels).mean())


@torch.no_grad()
def saturation(network: nn.Sequential, digits: Digits) -> list[tuple[float, float]]:
    """Per activation: the share of its inputs that saturate, and the largest, 1 at the limit."""
    _, inputs = forward(network, to_input(digits.images))
    return [(float((x.abs() > 1).double().mean()), float(x.abs().max())) for x in inputs]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """End with one line, without the usage."""
        self.exit(2, f"{self.prog}: {message}\n")


def _integer(low: int, high: int) -> Callable[[str], int]:
    """Reader of an argument that is a whole number in ``low..high``."""

    def read(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"must be a whole number {low}..{high}, not {text!r}")
        return int(text)

    return read


def main(arguments: list[str] | None = None) -> int:
    """Train the networks that the command line names; the exit status."""
    parser = _Parser(prog="accel.train", description="Train the networks that ship with Systolith.")
    parser.add_argument("network", nargs="?", default="all", choices=[*TRAINED, "all"])
    parser.add_argument("--epochs", type=_integer(1, 10_000), help="default: the network's own")
    parser.add_argument("--seed", type=_integer(0, 2**63 - 1), default=0)
    parser.add_argument("--out", type=Path, default=WEIGHTS, metavar="DIR")
    args = parser.parse_args(arguments)
    try:
        digits, test_digits = load_digits()
        args.out.mkdir(parents=True, exist_ok=True)
        for name in TRAINED if args.network == "all" else [args.network]:
            with Progress(console=Console(stderr=True), transient=True) as progress:
                epochs = args.epochs or NETWORKS[name].epochs
                task = progress.add_task(name, total=epochs)
                network = train(name, digits, epochs, args.seed, partial(progress.advance, task))
            save_weights(network, args.out / f"{name}.npz")
            _report(name, load_pretrained(name, args.out), test_digits)
    except (DataError, OSError) as error:
        print(f"accel.train: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("accel.train: interrupted; nothing half-written was left", file=sys.stderr)
        return 130
    return 0


def _report(name: str, network: nn.Sequential, digits: Digits) -> None:
    """Print what the network, its weights rounded to float16, makes of digits it never saw."""
    print(f"{name}: {accuracy(network, digits):.1%} of {len(digits):,} test digits")
    for layer, (share, largest) in enumerate(saturation(network, digits), start=1):
        print(f"  activation {layer}: {share:.4%} saturate, the largest is {largest:.2f} of limit")


if __name__ == "__main__":
    sys.exit(main())
