"""Formats of tensors in graphs that are no chains: what is shared, and what an identity parts."""
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from accel.graph import Conv2d, Graph, Tensor
from accel.quantize import quantize
from accel.spec.presets import PRESETS

SHAPE = (2, 6, 6)
CONFIG = PRESETS["ecp5"]        # tanh from Q3.5 to Q1.7, selu from Q4.4 to Q4.4
Values = torch.Tensor


class Graphed(nn.Module):
    """Whatever ``compute`` makes of two convolutions, the first ten times as large."""

    def __init__(self, compute: Callable[[Values, Values], Values]) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.a, self.b, self.compute = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1), compute
        self.a.weight.data *= 10

    def forward(self, x: Values) -> Values:
        """Apply to (n, 2, 6, 6)."""
        return self.compute(self.a(x), self.b(x))


def quantized(compute: Callable[[Values, Values], Values]) -> tuple[Graph, dict[str, Tensor]]:
    """The integer graph, and its tensors by name."""
    images = torch.rand(32, *SHAPE, generator=torch.manual_seed(1)) * 2 - 1
    network = quantize(Graphed(compute), [images], CONFIG)
    return network, {t.name: t for t in (network.input, *(n.output for n in network.nodes))}


def form(tensor: Tensor) -> tuple[float, int]:
    """Scale and zero point."""
    return tensor.scale, tensor.zero_point


def identities(network: Graph) -> list[tuple[str, str]]:
    """Source and target of each requantizing identity."""
    found = [node for node in network.nodes if ".requantize." in node.name]
    for node in found:
        assert isinstance(node, Conv2d)
        assert (node.weight == 1).all()
        assert node.weight.shape[1:] == (1, 1, 1)
    return [(node.inputs[0].name, node.output.name) for node in found]


def test_a_concatenation_shares_the_range_of_all() -> None:
    network, tensors = quantized(lambda a, b: torch.cat([b, torch.relu(a), b], 1))
    assert not identities(network)
    assert len({form(tensors[name]) for name in ("a.conv", "relu", "b.conv", "concat")}) == 1
    assert form(tensors["input"]) != form(tensors["concat"])
    limits = tensors["concat"].scale * 127 - tensors["concat"].scale * tensors["concat"].zero_point
    assert limits > 3       # as large as the large one needs


def test_the_range_is_that_where_values_are_used() -> None:
    _, tensors = quantized(lambda a, b: torch.relu(a) + b)
    assert tensors["a.conv"].zero_point == -128     # nobody sees what is below zero
    _, tensors = quantized(lambda a, b: torch.relu(a) + a)
    assert form(tensors["a.conv"]) == form(tensors["relu"])
    assert tensors["a.conv"].zero_point > -100
    _, tensors = quantized(lambda a, b: functional.max_pool2d(a.clamp(-0.5, 0.25), 2))
    assert form(tensors["a.conv"]) == form(tensors["clamp"]) == form(tensors["pool"])
    assert tensors["pool"].scale <= 0.75 / 255


def test_a_table_in_a_concatenation_of_others_gets_an_identity() -> None:
    network, tensors = quantized(lambda a, b: torch.cat([torch.tanh(b), a], 1))
    assert identities(network) == [("tanh", "concat.requantize.tanh")]
    assert form(tensors["tanh"]) == (1 / 128, 0)
    assert form(tensors["concat.requantize.tanh"]) == form(tensors["a.conv"])
    assert tensors["a.conv"].scale > 1 / 64


def test_tables_of_one_format_are_concatenated_as_they_are() -> None:
    network, tensors = quantized(
        lambda a, b: torch.cat([torch.tanh(b), torch.relu(torch.tanh(a))], 1))
    assert not identities(network)
    assert form(tensors["concat"]) == (1 / 128, 0)
    network, tensors = quantized(lambda a, b: torch.selu(torch.cat([torch.tanh(b), a.tanh()], 1)))
    assert identities(network) == [("concat", "selu.requantize.concat")]
    network, tensors = quantized(lambda a, b: torch.cat([torch.tanh(b), torch.selu(a)], 1))
    assert [source for source, _ in identities(network)] == ["tanh", "selu"]


def test_what_others_read_too_keeps_its_range_before_a_table() -> None:
    network, tensors = quantized(lambda a, b: torch.tanh(a) + a)
    assert identities(network) == [("a.conv", "tanh.requantize.a.conv")]
    assert form(tensors["tanh.requantize.a.conv"]) == (1 / 32, 0)
    assert form(tensors["a.conv"]) != (1 / 32, 0)
    network, tensors = quantized(lambda a, b: torch.tanh(a) + torch.tanh(functional.relu(a)))
    assert not identities(network)      # both want one format
    assert form(tensors["a.conv"]) == form(tensors["relu"]) == (1 / 32, 0)
    network, tensors = quantized(lambda a, b: torch.tanh(a) + torch.selu(a))
    assert [target for _, target in identities(network)] == [
        "tanh.requantize.a.conv", "selu.requantize.a.conv"]


@pytest.mark.parametrize("rounding", ["single", "tflite"])
@pytest.mark.parametrize("cell", ["mac", "shift"])
def test_an_identity_fits_every_cell(cell: str, rounding: str) -> None:
    config = replace(PRESETS["ecp5" if cell == "mac" else "ecp5-shift"], rounding=rounding,
                     scale_terms=0)
    images = torch.rand(32, *SHAPE, generator=torch.manual_seed(1)) * 2 - 1
    network = quantize(Graphed(lambda a, b: torch.tanh(a) + a), [images], config)
    assert identities(network)
