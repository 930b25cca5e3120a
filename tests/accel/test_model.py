"""Torch modules to float graphs: the same function, or one error that names every fault."""
import re

import pytest
import torch
from torch import nn
from torch.nn import functional

from accel.model import (
    FloatActivation,
    FloatConv,
    FloatMaxPool,
    ModelError,
    import_torch,
)
from accel.spec.tables import DEFAULT_INTEGER_BITS

SHAPE = (2, 8, 7)


class Functional(nn.Module):
    """The same layers written as calls, with views for flattening and back."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleDict({"first": nn.Conv2d(2, 3, (3, 2), (2, 1), (1, 0))})
        self.fc = nn.Linear(3 * 2 * 3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to (n, 2, 8, 7)."""
        x = functional.max_pool2d(torch.relu(self.features["first"](x)), 2)
        return torch.tanh(self.fc(functional.dropout(x, training=False).view(x.shape[0], -1)))


class Branching(nn.Module):
    """A residual connection, then a convolution of the input again."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to (n, 2, h, w)."""
        return self.b(x) + self.a(x)


class TwoOutputs(Branching):
    """Returns a pair."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Apply to (n, 2, h, w)."""
        y = self.a(x)
        return y, self.b(y)


class ComputedWeight(Branching):
    """A weight that is the product of another."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to (n, 2, h, w)."""
        return functional.conv2d(x, self.a.weight * 2)


class DataDependent(Branching):
    """Chooses its layer by the data."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to (n, 2, h, w)."""
        return self.a(x) if x.sum() > 0 else self.b(x)


def everything() -> nn.Sequential:
    """One of each supported layer."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding="same"), nn.ReLU(inplace=True), nn.MaxPool2d(2, stride=1),
        nn.Identity(), nn.Conv2d(4, 3, 2, stride=(1, 2), bias=False), nn.SELU(), nn.Dropout(),
        nn.Flatten(), nn.Linear(3 * 6 * 3, 5), nn.Tanh(), nn.Unflatten(1, (5, 1, 1)),
        nn.Conv2d(5, 6, 1, padding="valid"), nn.Flatten(), nn.Linear(6, 2))


@pytest.mark.parametrize("model", [everything(), Functional(), everything().double()],
                         ids=["modules", "functional", "float64"])
def test_computes_what_the_module_computes(model: nn.Module) -> None:
    graph = import_torch(model, SHAPE)
    images = torch.randn(5, *SHAPE, dtype=torch.float64, generator=torch.manual_seed(1))
    with torch.no_grad():
        expected = model.double()(images)
    tensors = graph.trace(images)
    assert len(tensors) == len(graph.layers) + 1
    assert torch.allclose(tensors[-1].flatten(1), expected.flatten(1), atol=1e-12)
    assert not any(tensor.requires_grad for tensor in tensors)


def test_layers_are_named_after_modules_and_linear_becomes_a_convolution() -> None:
    graph = import_torch(everything(), SHAPE)
    assert [layer.name for layer in graph.layers] == [
        "0.conv", "1.relu", "2.pool", "4.conv", "5.selu", "8.linear", "9.tanh", "11.conv",
        "13.linear"]
    convs = [layer for layer in graph.layers if isinstance(layer, FloatConv)]
    assert [tuple(conv.weight.shape) for conv in convs] == [
        (4, 2, 3, 3), (3, 4, 2, 2), (5, 3, 6, 3), (6, 5, 1, 1), (2, 6, 1, 1)]
    assert (convs[0].padding, convs[1].stride) == ((1, 1), (1, 2))
    assert not convs[1].bias.any()
    assert graph.layers[2] == FloatMaxPool("2.pool", (2, 2), (1, 1))
    assert graph.layers[4] == FloatActivation("5.selu", "selu")
    assert [layer.name for layer in import_torch(Functional(), SHAPE).layers] == [
        "features.first.conv", "relu", "pool", "fc.linear", "tanh"]


def test_a_module_used_twice_has_two_names() -> None:
    conv, relu = nn.Conv2d(2, 2, 1), nn.ReLU()

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.relu = conv, relu

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.relu(self.conv(self.relu(self.conv(x))))

    names = [layer.name for layer in import_torch(Twice(), SHAPE).layers]
    assert names == ["conv.conv", "relu.relu", "conv.conv_2", "relu.relu_2"]


@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_every_fault_stands_in_one_message() -> None:
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=2, dilation=2), nn.Mish(), nn.Conv2d(4, 4, 1, groups=2),
        nn.BatchNorm2d(4), nn.MaxPool2d(3, padding=1, dilation=1, ceil_mode=True),
        nn.AvgPool2d(2), nn.Conv2d(4, 4, 2, padding="same"), nn.Linear(1, 3))
    with pytest.raises(ModelError) as caught:
        import_torch(model, SHAPE)
    message = str(caught.value)
    for fault in ("0.conv: dilation must be (1, 1), not (2, 2)",
                  "1.mish: operator mish is not supported",
                  "2.conv: groups must be 1, not 2",
                  "3.batch_norm: operator batch_norm is not supported",
                  "4.pool: padding must be (0, 0), not (1, 1); ceil_mode must be False, not True",
                  "5.avg_pool2d: operator avg_pool2d is not supported",
                  "6.conv: padding 'same' needs a kernel of odd size, not (2, 2)",
                  "7.linear: Linear needs a flattened tensor (n, features), not (2, 4, 1, 1)",
                  "Supported layers: Conv2d, Linear on a flattened tensor, ReLU, SELU, Tanh"):
        assert fault in message


@pytest.mark.parametrize(("model", "shape", "fault"), [
    (Branching(), SHAPE, r"a.conv: reads x and not the layer before it; .* chain; add: operator"),
    (TwoOutputs(), SHAPE, r"must return one tensor, its last layer's"),
    (ComputedWeight(), SHAPE, r"conv: its weight and bias must be stored, not computed"),
    (DataDependent(), SHAPE, r"shape \(2, 2, 8, 7\) it fails with: .*data-dependent"),
    (nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), SHAPE, r"pad: operator pad is not"),
    (nn.Conv2d(3, 2, 1), SHAPE, r"it fails with: .* expected input.* to have 3 channels"),
    (nn.Sequential(nn.Flatten(0), nn.Linear(224, 2)), SHAPE,
     r"0.flatten: only flattening .*; two images of shape \(2, 8, 7\) become \(224,\)"),
    (nn.Sequential(nn.Flatten(2), nn.Linear(56, 2)), SHAPE, r"become \(2, 2, 56\); 1.linear: "),
    (nn.ReLU(), SHAPE, r"the model has no Conv2d or Linear layer"),
    (nn.Conv2d(2, 2, 1), (2, 8), r"must be \(channels, height, width\), not \(2, 8\)"),
    (nn.Conv2d(2, 2, 1), (2, 0, 8), r"must be \(channels, height, width\), not \(2, 0, 8\)"),
], ids=["branch", "two outputs", "computed weight", "data dependent", "circular padding",
        "wrong channels", "mixed images", "partly flat", "no weights", "two sizes", "size zero"])
def test_names_the_fault(model: nn.Module, shape: tuple[int, int, int], fault: str) -> None:
    with pytest.raises(ModelError, match=re.compile(fault)):
        import_torch(model, shape)


@pytest.mark.parametrize("layer", [
    nn.ReLU(), nn.SELU(), nn.Tanh(), nn.ELU(), nn.Sigmoid(), nn.GELU(), nn.SiLU(), nn.Softplus(),
    nn.Hardtanh(), nn.Hardsigmoid(), nn.Hardswish()], ids=lambda layer: type(layer).__name__)
def test_every_activation(layer: nn.Module) -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 1), layer)
    _, found = import_torch(model, SHAPE).layers
    x = torch.linspace(-30, 30, 601, dtype=torch.float64)
    assert torch.equal(found(x), layer(x))
    assert found.function in ("relu", *DEFAULT_INTEGER_BITS)


@pytest.mark.parametrize(("layer", "fault"), [
    (nn.ReLU6(), r"1\.hardtanh: min_val must be -1, not 0\.0; max_val must be 1, not 6\.0"),
    (nn.GELU("tanh"), r"1\.gelu: approximate must be none, not tanh"),
    (nn.ELU(0.5), r"1\.elu: alpha must be 1, not 0\.5"),
    (nn.Softplus(2.0), r"1\.softplus: beta must be 1, not 2\.0")])
def test_an_activation_with_other_parameters_is_refused(layer: nn.Module, fault: str) -> None:
    with pytest.raises(ModelError, match=fault):
        import_torch(nn.Sequential(nn.Conv2d(2, 3, 1), layer), SHAPE)


def test_names_a_layer_whose_weights_are_not_finite() -> None:
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.Tanh(), nn.Conv2d(2, 2, 1))
    model[2].weight.data[1, 0] = torch.nan
    with pytest.raises(ModelError, match=r"2\.conv: its weight or bias holds NaN or infinity"):
        import_torch(model, SHAPE)
