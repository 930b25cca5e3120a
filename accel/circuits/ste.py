"""Activation tables inside a torch network: their values forward, the real gradient backward.

`fine_tune` trains on with the recipe of `accel.train`, so that weights may adapt to a circuit.

Source: Y. Bengio, N. Leonard, A. Courville, "Estimating or Propagating Gradients Through
Stochastic Neurons for Conditional Computation", arXiv 1308.3432 (the straight-through estimator).
"""
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from accel.data import Digits
from accel.spec.formats import Format
from accel.train import LIMITS, PEAK_RATE, fit

Elementwise = Callable[[Tensor], Tensor]

#: Learning rate at the top of the schedule: weights that are trained already need small steps.
FINE_TUNE_RATE = PEAK_RATE / 10


class TableActivation(nn.Module):
    """``table(x)``, bit for bit, with the gradient of ``real(x)``.

    Parameters
    ----------
    table
        What the circuit gives; need not be differentiable.
    real
        The function that the circuit stands for, as torch computes it.
    """

    def __init__(self, table: Elementwise, real: Elementwise) -> None:
        super().__init__()
        self.table, self.real = table, real

    def forward(self, x: Tensor) -> Tensor:
        """Apply to ``x`` of any shape."""
        with torch.no_grad():
            given = self.table(x)
        if not torch.is_grad_enabled():
            return given
        real = self.real(x)
        # Equal to real + (given - real).detach(), but without its two roundings.
        return given + (real - real.detach())


def quantised(in_format: Format, out_format: Format, table: Sequence[int], x: Tensor) -> Tensor:
    """``x`` as `in_format`'s nearest code, through ``table``, and back: of ``x``'s shape and type.

    Rounds half away from zero and saturates, as `accel.spec.numerics.requantize`. ``table`` has
    one code of ``out_format`` for each input code, by rising input.
    """
    scaled = x.double() / float(in_format.scale)
    whole = scaled.trunc()
    whole += scaled.sign() * ((scaled - whole).abs() >= 0.5)     # the difference is exact
    codes = (whole + in_format.zero_point).clamp(in_format.low, in_format.high)
    return look_up(in_format, out_format, table, codes.long() - in_format.low).to(x.dtype)


def look_up(in_format: Format, out_format: Format, table: Sequence[int], places: Tensor) -> Tensor:
    """Values (float64) that the codes at ``places`` of ``table`` stand for."""
    if len(table) != len(in_format.codes):
        raise ValueError(f"a table over {in_format} has {len(in_format.codes)} codes, not "
                         f"{len(table)}")
    values = torch.tensor([float(out_format.value(code)) for code in table], dtype=torch.float64)
    return values[places]


def with_circuit(network: nn.Sequential, circuit: Elementwise | None) -> nn.Sequential:
    """``network`` with ``circuit`` for its activations; it shares the weights. None: as it is."""
    return nn.Sequential(*(
        TableActivation(circuit or layer, layer) if type(layer) in LIMITS else layer
        for layer in network))


def fine_tune(network: nn.Sequential, digits: Digits, epochs: int, seed: int,
              advance: Callable[[], object] = lambda: None) -> None:
    """Train what `with_circuit` returned for ``epochs`` more; calls ``advance`` after each.

    Optimizer, schedule, augmentation and loss are those of `accel.train.train`, the learning rate
    is `FINE_TUNE_RATE`. Leaves torch with one thread, as that does.
    """
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fit(network, digits, epochs, FINE_TUNE_RATE, _forward, lambda _: advance())


def _forward(network: nn.Sequential, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Logits, and the input of every activation as a multiple of its hardware limit."""
    inputs = []
    for layer in network:
        if isinstance(layer, TableActivation) and isinstance(layer.real, nn.Module):
            inputs.append(x / LIMITS[type(layer.real)])
        x = layer(x)
    return x, inputs
