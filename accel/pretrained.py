"""The networks known by name, ready to run: trained, calibrated, quantized and compiled."""
from dataclasses import dataclass

import torch
from torch import nn

from accel import golden
from accel.compile import compile_graph
from accel.data import load_digits
from accel.graph import Graph, IntArray
from accel.networks import NETWORKS, load_pretrained, random_input, to_input
from accel.program import Program
from accel.quantize import quantize, quantize_input
from accel.spec.config import AccelConfig

CALIBRATION_IMAGES = 256
#: The same where inputs are random, each as good as any other, and what draws them.
RANDOM_IMAGES, CALIBRATION_SEED, SHOWN_SEED = 64, 0, 1


@dataclass(frozen=True)
class Prepared:
    """A network on its way from float to hardware, with the images it is shown."""

    graph: Graph
    program: Program
    codes: IntArray         # (n, c, h, w)
    labels: IntArray | None     # (n,), where the network is trained
    logits: torch.Tensor    # of the float network, (n, classes)
    tensors: dict[str, IntArray]    # golden, by name, (n, c, h, w)

    @property
    def expected(self) -> IntArray:
        """Golden output codes, ``(n, c, h, w)``."""
        return self.tensors[self.program.output]


def prepare(name: str, config: AccelConfig, images: int, *, keep_tensors: bool = False,
            ) -> Prepared:
    """Quantize and compile network ``name`` and run golden on the first test images."""
    model, network = calibrate(name, config)
    shown, labels = shown_images(name, images)
    codes = quantize_input(network, shown, config)
    with torch.no_grad():
        logits = model(shown)
    return Prepared(
        network, compile_graph(network, config, keep_tensors=keep_tensors), codes, labels, logits,
        {tensor: values.numpy() for tensor, values in golden.run(network, codes, config).items()})


def calibrate(name: str, config: AccelConfig) -> tuple[nn.Sequential, Graph]:
    """Network ``name`` and its integer graph: on training digits, or else on random inputs."""
    model = load_pretrained(name)
    if NETWORKS[name].data == "digits":
        seen = to_input(load_digits()[0].images[:CALIBRATION_IMAGES])
    else:
        seen = random_input(name, RANDOM_IMAGES, CALIBRATION_SEED)
    return model, quantize(model, [seen], config, name)


def shown_images(name: str, count: int) -> tuple[torch.Tensor, IntArray | None]:
    """Float inputs that calibration has not seen, and their labels where there are any."""
    if NETWORKS[name].data == "digits":
        _, test = load_digits()
        return to_input(test.images[:count]), test.labels[:count]
    return random_input(name, count, SHOWN_SEED), None


def accuracy(outputs: IntArray, labels: IntArray) -> float:
    """Share of images whose largest output (the first of equals) stands at the label."""
    return golden.top1(torch.as_tensor(outputs), torch.as_tensor(labels))
