"""Torch modules to float graphs: the same function, or one error that names every fault."""
import contextlib
import math
import re
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from accel.layers import (
    FloatActivation,
    FloatAdd,
    FloatAvgPool,
    FloatClamp,
    FloatConcat,
    FloatConv,
    FloatGraph,
    FloatMaxPool,
)
from accel.model import ModelError, import_torch
from accel.nn import ShiftConv2d
from accel.spec.tables import DEFAULT_INTEGER_BITS
from tests.modules import (
    Concatenating,
    Features,
    Functional,
    InPlace,
    Reshaping,
    Residual,
    everything,
    randomized,
)

SHAPE = (2, 8, 7)


class Branching(nn.Module):
    """Two convolutions of one input."""

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
    """A weight that depends on the input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to (n, 2, h, w)."""
        return functional.conv2d(x, self.a.weight * x.mean())


class DataDependent(Branching):
    """Chooses its layer by the data."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to (n, 2, h, w)."""
        return self.a(x) if x.sum() > 0 else self.b(x)


class Selecting(Branching):
    """Drops images by the data."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to (n, 2, h, w)."""
        return self.a(x[x.sum((1, 2, 3)) > 0])


class NormOfBranch(Branching):
    """A batch norm that is not the convolution's only reader."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to (n, 2, h, w)."""
        y = self.a(x)
        return self.norm(y) + y


def traced(model: nn.Module, shape: tuple[int, ...]) -> tuple[FloatGraph, float]:
    """The float graph, and how far its output is from the module's on random images."""
    graph = import_torch(model, shape)
    images = torch.randn(5, *shape, dtype=torch.float64, generator=torch.manual_seed(1))
    tensors = graph.trace(images)
    assert list(tensors) == ["input", *(layer.name for layer in graph.layers)]
    assert not any(tensor.requires_grad for tensor in tensors.values())
    with torch.no_grad():
        expected = model.eval().double()(images.clone())
    output = graph.run(images)
    assert output.numel() == expected.numel()
    return graph, float((output.reshape(expected.shape) - expected).abs().max())


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize(("model", "shape"), [
    (everything(), SHAPE), (Functional(), SHAPE), (everything().double(), SHAPE),
    (Residual(), SHAPE), (Concatenating(), SHAPE), (InPlace(), SHAPE), (Reshaping(), SHAPE),
    (Features(), (12,)),
    (nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3), nn.BatchNorm2d(3)), SHAPE),
    (nn.Sequential(nn.Conv2d(2, 3, 3), nn.Dropout2d(), nn.BatchNorm2d(3, affine=False),
                   nn.AlphaDropout()), SHAPE),
    (nn.Sequential(nn.Conv2d(2, 6, 3, padding="same", dilation=2, groups=2)), SHAPE),
    (nn.Sequential(nn.Conv2d(2, 4, (2, 4), padding="same")), SHAPE),
    (nn.Sequential(nn.ZeroPad2d((0, 1, 1, 2)), nn.Conv2d(2, 4, 3, 2, padding=1)), SHAPE),
    (nn.Sequential(nn.ZeroPad2d((0, 1, 2, 0)), nn.AvgPool2d(3, 2, padding=1)), SHAPE),
    (nn.MaxPool2d(3, 2, padding=1), SHAPE), (nn.AvgPool2d((2, 3), count_include_pad=False), SHAPE),
    (nn.AdaptiveAvgPool2d((4, 7)), SHAPE), (nn.AdaptiveAvgPool2d(1), SHAPE),
], ids=["everything", "functional", "float64", "residual", "concat", "in place", "reshapes",
        "features", "norms", "norm behind dropout", "dilated groups", "even same",
        "padded twice", "padded mean", "max padding", "mean", "even division", "global mean"])
def test_computes_what_the_module_computes(model: nn.Module, shape: tuple[int, ...]) -> None:
    _, error = traced(randomized(model), shape)
    assert error < 1e-9


def test_layers_are_named_after_modules_and_linear_becomes_a_convolution() -> None:
    graph = import_torch(everything(), SHAPE)
    assert [layer.name for layer in graph.layers] == [
        "0.conv", "1.relu", "2.pool", "4.conv", "5.selu", "8.linear", "9.tanh", "11.conv",
        "13.linear"]
    assert [layer.inputs for layer in graph.layers] == [
        (name,) for name in ("input", *(layer.name for layer in graph.layers[:-1]))]
    convs = [layer for layer in graph.layers if isinstance(layer, FloatConv)]
    assert [tuple(conv.weight.shape) for conv in convs] == [
        (4, 2, 3, 3), (3, 4, 2, 2), (5, 3, 6, 3), (6, 5, 1, 1), (2, 6, 1, 1)]
    assert (convs[0].padding, convs[1].stride) == ((1, 1, 1, 1), (1, 2))
    assert not convs[1].bias.any()
    assert graph.layers[2] == FloatMaxPool("2.pool", ("1.relu",), (2, 2), (1, 1))
    assert graph.layers[4] == FloatActivation("5.selu", ("4.conv",), "selu")
    assert graph.macs == 4 * 18 * 56 + 3 * 16 * 18 + 5 * 54 + 30 + 12
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


def test_branches_read_by_name() -> None:
    *layers, end = import_torch(Residual(), SHAPE).layers
    assert [(type(layer), layer.name, layer.inputs) for layer in layers] == [
        (FloatConv, "first.conv", ("input",)),
        (FloatActivation, "relu", ("first.conv",)),
        (FloatConv, "second.conv", ("relu",)),
        (FloatAdd, "add", ("second.conv", "relu")),
        (FloatAdd, "add_2", ("add", "add"))]
    assert end == FloatAvgPool("mean", ("add_2",), (5, 3), (5, 3))
    first = layers[0]
    assert isinstance(first, FloatConv)
    assert (first.padding, first.stride) == ((1, 0, 2, 1), (2, 2))
    layers = import_torch(Concatenating(), SHAPE).layers
    assert FloatConcat("concat", ("b.conv", "a.conv", "input")) in layers
    assert FloatClamp("six.clamp", ("concat",), 0, 6) in layers
    assert FloatClamp("clamp", ("six.clamp",), -math.inf, 4) in layers


def test_what_the_host_does_at_the_end() -> None:
    conv = nn.Conv2d(2, 3, 1)
    graph = import_torch(nn.Sequential(conv, nn.Flatten(), nn.Linear(168, 4), nn.Softmax(1)), SHAPE)
    assert graph.host == ("softmax",)
    assert [layer.name for layer in graph.layers] == ["0.conv", "2.linear"]

    class Best(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = conv

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            torch.tanh(y)       # nobody reads this
            return functional.log_softmax(y, 1).argmax(1)

    graph = import_torch(Best(), SHAPE)
    assert graph.host == ("log_softmax", "argmax")
    assert [layer.name for layer in graph.layers] == ["conv.conv"]


@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_every_fault_stands_in_one_message() -> None:
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=2), nn.Mish(), nn.BatchNorm2d(4),
        nn.MaxPool2d(3, padding=1, dilation=2, ceil_mode=True),
        nn.AvgPool2d(2, padding=1, count_include_pad=False, ceil_mode=True, divisor_override=3),
        nn.AdaptiveAvgPool2d(2), nn.ConvTranspose2d(4, 4, 2), nn.ReflectionPad2d(1),
        nn.Conv2d(4, 4, 2, padding="same"), nn.Softmax(2), nn.Linear(5, 3))
    with pytest.raises(ModelError) as caught:
        import_torch(model, SHAPE)
    message = str(caught.value)
    for fault in ("1.mish: operator mish is not supported, on (n, 4, 10, 9)",
                  "3.pool: dilation must be (1, 1), not (2, 2); ceil_mode must be False, not True",
                  "4.mean: ceil_mode must be False, not True; divisor_override must be None, ",
                  "not 3; count_include_pad must be True, not False; 5.",
                  "5.mean: height and width must divide evenly: (3, 2) into (2, 2)",
                  "6.conv_transpose2d: operator conv_transpose2d is not supported, on (n, 4, 2, 2)",
                  "7.pad: mode must be constant, not reflect",
                  "9.softmax: must be over the classes, dim=1, not dim=2",
                  "10.linear: Linear needs a flattened tensor (n, features), not (n, 4, 5, 5)",
                  "Supported: Conv2d, Linear on a flattened tensor, the layers of accel.nn, Batch"):
        assert fault in message
    assert "norm:" not in message       # only what stands before it is at fault


@pytest.mark.parametrize(("model", "shape", "fault"), [
    (TwoOutputs(), SHAPE, r"must return one tensor, computed from its input"),
    (ComputedWeight(), SHAPE, r"conv: its weight and bias must be stored, or computed from what"),
    (DataDependent(), SHAPE, r"shape \(2, 2, 8, 7\) it fails with: .*data-dependent"),
    (Selecting(), SHAPE, r"it has dynamic shapes, as index gives \(u0, 2, 8, 7\); .*\. Supported"),
    (nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), SHAPE,
     r"pad: mode must be constant, not circular"),
    (nn.Conv2d(3, 2, 1), SHAPE, r"it fails with: .* expected input.* to have 3 channels"),
    (nn.Sequential(nn.Flatten(0), nn.Linear(224, 2)), SHAPE,
     r"0.flatten: each image must keep its row, but 2 images of shape \(2, 8, 7\) become \(224,\)"),
    (nn.Sequential(nn.Flatten(2), nn.Linear(56, 2)), SHAPE,
     r"1.linear: Linear needs a flattened tensor \(n, features\), not \(n, 2, 56\)"),
    (nn.Identity(), SHAPE, r"the model computes nothing from its input"),
    (nn.ZeroPad2d(1), SHAPE, r"the model must not return a padded tensor"),
    (nn.Sequential(nn.ZeroPad2d(1), nn.MaxPool2d(3)), SHAPE,
     r"1\.pool: reads a padded tensor; only a convolution or an average pooling can"),
    (nn.ConstantPad2d(1, 2.0), SHAPE, r"pad: padding must be zeros around height and width, not 2"),
    (nn.ZeroPad2d(-1), SHAPE, r"padding must be zeros .* not 0 by \[-1, -1, -1, -1\]"),
    (nn.Sequential(nn.Unflatten(1, (2, 1)), nn.Flatten(2, 3), nn.Flatten(1), nn.Unflatten(
        1, (8, 7, 2)), nn.Conv2d(8, 1, 1)), SHAPE,
     r"4\.conv: needs \(n, 2, 8, 7\), as it is computed, not \(n, 8, 7, 2\)"),
    (nn.BatchNorm2d(2), SHAPE, r"norm: a batch norm must directly follow a Conv2d, Linear or add"),
    (NormOfBranch(), SHAPE, r"norm: .* as its only reader, to be folded into it"),
    (nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2, track_running_stats=False)), SHAPE,
     r"1\.norm: training must be False, not True"),
    (nn.Conv2d(2, 2, 1), (2, 8), r"must be \(channels, height, width\) or \(features,\), not"),
    (nn.Conv2d(2, 2, 1), (2, 0, 8), r"or \(features,\), not \(2, 0, 8\)"),
], ids=["two outputs", "computed weight", "data dependent", "dynamic shape", "circular padding",
        "wrong channels", "mixed images", "partly flat", "nothing", "padded output",
        "padded maximum", "padding not zero", "cropping", "moved image", "norm alone",
        "norm of a branch", "norm without statistics", "two sizes", "size zero"])
def test_names_the_fault(model: nn.Module, shape: tuple[int, int, int], fault: str) -> None:
    with pytest.raises(ModelError, match=re.compile(fault)):
        import_torch(model, shape)


@pytest.mark.parametrize(("compute", "fault"), [
    (lambda a, b: a + 1, "add: reads 1, which is not computed from the model's input"),
    (lambda a, b: a + b[:, :1], r"slice: moves or drops .* \(n, 2, 8, 7\) to \(n, 1, 8, 7\)"),
    (lambda a, b: a + b.mean((2, 3), keepdim=True),
     r"adds tensors of two shapes, \(n, 2, 8, 7\) and \(n, 2, 1, 1\)"),
    (lambda a, b: torch.add(a, b, alpha=2), "alpha must be 1, not 2"),
    (lambda a, b: a * b, r"mul: operator mul is not supported, on \(n, 2, 8, 7\), \(n, 2, 8, 7\)"),
    (lambda a, b: torch.cat([a, b], 2), r"concat: only channels can be concatenated, dim=1"),
    (lambda a, b: torch.cat([a, b.mean((2, 3), True).expand(-1, -1, 8, 7)], 1),
     r"expand: moves or drops values in memory"),
    (lambda a, b: a.mean(1), r"dim=\(2, 3\), not dim=\[1\] of \(n, 2, 8, 7\)"),
    (lambda a, b: a.transpose(2, 3), r"moves or drops values .* \(n, 2, 7, 8\)"),
    (lambda a, b: torch.relu(a.softmax(1)), "relu: reads the softmax, which the host computes"),
    (lambda a, b: a.argmax(), "argmax: must be over the classes, dim=1, not dim=None"),
    (lambda a, b: a.clamp(3, 2), "clamp: its limits must rise, not be 3 and 2"),
    (lambda a, b: a.clamp(b), "operator clamp|its limits must be numbers"),
    (lambda a, b: a.int(), "to: converts to torch.int32"),
    (lambda a, b: a.split(1, 1)[0], r"operator split is not supported, on \(n, 2, 8, 7\)\. "),
], ids=["constant", "slice", "broadcast", "alpha", "product", "rows", "expand", "mean of channels",
        "transpose", "softmax inside", "argmax of all", "falling limits", "computed limits",
        "integers", "two results"])
def test_names_the_fault_of_a_call(
        compute: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], fault: str) -> None:
    class Calling(Branching):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return compute(self.a(x), self.b(x))

    with pytest.raises(ModelError, match=fault):
        import_torch(Calling(), SHAPE)


@pytest.mark.parametrize("layer", [
    nn.ReLU(), nn.SELU(), nn.Tanh(), nn.ELU(), nn.Sigmoid(), nn.GELU(), nn.SiLU(), nn.Softplus(),
    nn.Hardsigmoid(), nn.Hardswish()], ids=lambda layer: type(layer).__name__)
def test_every_activation(layer: nn.Module) -> None:
    _, found = import_torch(nn.Sequential(nn.Conv2d(2, 3, 1), layer), SHAPE).layers
    x = torch.linspace(-30, 30, 601, dtype=torch.float64)
    assert isinstance(found, FloatActivation)
    assert torch.equal(found(x), layer(x))
    assert found.function in ("relu", *DEFAULT_INTEGER_BITS)


@pytest.mark.parametrize(("layer", "low", "high"), [
    (nn.ReLU6(), 0, 6), (nn.Hardtanh(), -1, 1), (nn.Hardtanh(-0.5, 3), -0.5, 3),
], ids=["ReLU6", "Hardtanh", "Hardtanh between others"])
def test_limits(layer: nn.Module, low: float, high: float) -> None:
    _, found = import_torch(nn.Sequential(nn.Conv2d(2, 3, 1), layer), SHAPE).layers
    assert found == FloatClamp("1.clamp", ("0.conv",), low, high)
    x = torch.linspace(-30, 30, 601, dtype=torch.float64)
    assert torch.equal(found(x), layer(x))


@pytest.mark.parametrize(("layer", "fault"), [
    (nn.GELU("tanh"), r"1\.gelu: approximate must be none, not tanh"),
    (nn.ELU(0.5), r"1\.elu: alpha must be 1, not 0\.5"),
    (nn.Softplus(2.0), r"1\.softplus: beta must be 1, not 2\.0")])
def test_an_activation_with_other_parameters_is_refused(layer: nn.Module, fault: str) -> None:
    with pytest.raises(ModelError, match=fault):
        import_torch(nn.Sequential(nn.Conv2d(2, 3, 1), layer), SHAPE)


def test_weights_that_are_computed_from_parameters() -> None:
    """They are computed once; torch has many ways to reparametrize a layer."""
    torch.manual_seed(3)
    model = nn.Sequential(
        parametrizations.weight_norm(nn.Conv2d(2, 4, 3)), nn.BatchNorm2d(4), nn.Flatten(),
        parametrizations.orthogonal(nn.Linear(4 * 6 * 5, 3, bias=False)))
    x = torch.randn(5, *SHAPE, dtype=torch.float64)
    wanted = model.eval().double()(x)
    assert torch.allclose(import_torch(model, SHAPE).run(x).flatten(1), wanted, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_are_computed_in_the_models_own_type(dtype: torch.dtype) -> None:
    """Next to a tie of powers of two float64 rounds another way."""
    torch.manual_seed(4)
    layer = ShiftConv2d(2, 64, 3, mode="q").to(dtype)
    layer.weight.data.flatten()[:3] = torch.tensor([0.70710677, 0.70710683, -0.35355338])
    (found,) = import_torch(layer, SHAPE).layers
    assert isinstance(found, FloatConv)
    assert found.weight.dtype == found.bias.dtype == torch.float64
    assert torch.equal(found.weight, layer.effective_weight().double())


def test_the_modes_of_the_modules_stay() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Dropout())
    model[1].eval()
    for broken in (False, True):
        if broken:
            model.append(nn.Linear(99, 1))
        with pytest.raises(ModelError) if broken else contextlib.nullcontext():
            import_torch(model, SHAPE)
        assert [module.training for module in model.modules()] == [True, True, False, True] + [
            True] * broken


@pytest.mark.parametrize("broken", ["2.weight", "2.bias", "3.running_var"])
def test_names_a_layer_whose_weights_are_not_finite(broken: str) -> None:
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.Tanh(), nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))
    model.state_dict()[broken][1] = torch.nan
    name = "3.norm" if broken[0] == "3" else "2.conv"
    with pytest.raises(ModelError, match=rf"{name}: its weight or bias holds NaN or infinity"):
        import_torch(model, SHAPE)
