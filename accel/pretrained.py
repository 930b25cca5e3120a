"""The demo networks, ready to run: trained, calibrated, quantized and compiled."""
from dataclasses import dataclass

import torch

from accel import golden
from accel.compile import compile_graph
from accel.data import load_digits
from accel.graph import Graph, IntArray
from accel.networks import load_pretrained, to_input
from accel.program import Program
from accel.quantize import quantize, quantize_input
from accel.spec.config import AccelConfig

CALIBRATION_IMAGES = 256


@dataclass(frozen=True)
class Prepared:
    """A network on its way from float to hardware, with the images it is shown."""

    graph: Graph
    program: Program
    codes: IntArray         # (n, c, h, w)
    labels: IntArray        # (n,)
    logits: torch.Tensor    # of the float network, (n, classes)
    tensors: dict[str, IntArray]    # golden, by name, (n, c, h, w)

    @property
    def expected(self) -> IntArray:
        """Golden output codes, ``(n, c, h, w)``."""
        return self.tensors[self.program.output]


def prepare(name: str, config: AccelConfig, images: int, *, keep_tensors: bool = False,
            ) -> Prepared:
    """Quantize network ``name`` on training digits and run it on the first test digits."""
    training, test = load_digits()
    model = load_pretrained(name)
    network = quantize(model, [to_input(training.images[:CALIBRATION_IMAGES])], config, name)
    shown = to_input(test.images[:images])
    codes = quantize_input(network, shown, config)
    with torch.no_grad():
        logits = model(shown)
    return Prepared(
        network, compile_graph(network, config, keep_tensors=keep_tensors), codes,
        test.labels[:images], logits,
        {tensor: values.numpy() for tensor, values in golden.run(network, codes, config).items()})


def accuracy(outputs: IntArray, labels: IntArray) -> float:
    """Share of images whose largest output (the first of equals) stands at the label."""
    return golden.top1(torch.as_tensor(outputs), torch.as_tensor(labels))
