"""Networks converted to each kind: what they consist of, and that they learn."""
from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune, weight_norm

from accel.data import load_digits
from accel.networks import NETWORKS, to_input
from accel.nn import (
    KINDS,
    AddConv2d,
    AddLinear,
    ShiftAddConv2d,
    ShiftAddLinear,
    ShiftConv2d,
    ShiftLinear,
    convert,
)

LAYERS = {"shift": (ShiftConv2d, ShiftLinear), "add": (AddConv2d, AddLinear),
          "shiftadd": (ShiftAddConv2d, ShiftAddLinear)}


def network() -> nn.Sequential:
    """A stem, a normed convolution, one without norm, a classifier."""
    torch.manual_seed(0)
    return nn.Sequential(OrderedDict(
        stem=nn.Conv2d(1, 8, 5, 2, 2), norm1=nn.BatchNorm2d(8), relu1=nn.ReLU(),
        conv=nn.Conv2d(8, 12, 3, 2, 1), relu2=nn.ReLU(),
        flat=nn.Flatten(), last=nn.Linear(12 * 49, 10)))


def kinds_of(model: nn.Module) -> list[type]:
    """Layers with weights, in order."""
    mine = tuple(kind for pair in LAYERS.values() for kind in pair)
    return [type(module) for name, module in model.named_modules()
            if isinstance(module, (*mine, nn.Conv2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d))
            and not name.endswith((".shift", ".add"))]


@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_replaced_and_normed(kind: str) -> None:
    model = network()
    before = kinds_of(model)
    conv, linear = LAYERS[kind]
    norms = kind != "shift"
    assert kinds_of(convert(model, kind)) == [
        conv, nn.BatchNorm2d, conv, *[nn.BatchNorm2d] * norms, linear, *[nn.BatchNorm1d] * norms]
    bare = convert(model, kind, norm=False)
    assert kinds_of(bare) == [conv, nn.BatchNorm2d, conv, linear]
    assert (bare(torch.rand(2, 1, 28, 28)).shape) == (2, 10)
    assert kinds_of(model) == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keep", [("stem", "last"), lambda name, _: name in {"stem", "last"}],
                         ids=["names", "predicate"])
def test_layers_are_kept(kind: str, keep) -> None:
    model = network()
    got = convert(model, kind, keep=keep)
    assert [type(got.stem), type(got.last)] == [nn.Conv2d, nn.Linear]
    assert torch.equal(got.stem.weight, model.stem.weight)
    assert got.stem.weight is not model.stem.weight
    assert isinstance(got.conv if kind == "shift" else got.conv[0], LAYERS[kind][0])
    assert torch.equal(convert(model.conv, kind, keep=[""]).weight, model.conv.weight)


@pytest.mark.parametrize("kind", ["shift", "shiftadd"])
def test_shift_weights_are_taken_over(kind: str) -> None:
    model = network()
    got = convert(model, kind, bits=5, mode="q", fixed=True)
    shift = got.stem if kind == "shift" else got.stem.shift
    assert (shift.bits, shift.mode, shift.fixed) == (5, "q", True)
    ratio = shift.effective_weight() / model.stem.weight
    assert ((ratio > 2 ** -0.51) & (ratio < 2 ** 0.51)).double().mean() > 0.99
    assert (shift.bias is None) == (kind == "shiftadd")


@pytest.mark.filterwarnings("ignore:Using padding='same' with even:UserWarning")
def test_parameters_are_those_of_the_convolution() -> None:
    conv = nn.Conv2d(4, 6, (3, 1), (2, 1), (1, 0), (1, 2), bias=False).double().eval()
    x = torch.randn(2, 4, 9, 7, dtype=torch.float64)
    for kind in KINDS:
        got = convert(conv, kind, norm=False)
        assert got(x).shape == conv(x).shape
        assert got(x).dtype == torch.float64
        assert not got.training
        assert all(not name.endswith("bias") for name, _ in got.named_parameters())
    assert convert(conv, "shiftadd", norm=False, add_kernel=1).add.kernel_size == (1, 1)
    assert convert(conv, "shiftadd", norm=False).add.kernel_size == (3, 1)
    # what is not the same on both sides is no matter to a shift layer
    even = nn.Conv2d(4, 6, (2, 4), padding="same")
    for kind in ("shift", "shiftadd"):
        new = convert(even, kind, norm=False, add_kernel=1)
        assert new(x.float()).shape == even(x.float()).shape
    same = nn.Conv2d(4, 6, (3, 5), padding="same", dilation=(2, 1))
    assert convert(same, "add", norm=False).padding == (2, 2)
    assert convert(nn.Conv2d(4, 6, 3, padding="valid"), "add", norm=False).padding == (0, 0)


def test_a_layer_in_two_places_stays_one() -> None:
    layer = nn.Linear(4, 4)
    got = convert(nn.Sequential(layer, nn.ReLU(), layer), "shift")
    assert got[0] is got[2]
    assert isinstance(got[0], ShiftLinear)


@pytest.mark.parametrize("order", [1, -1])
def test_each_place_of_a_layer_is_normed(order: int) -> None:
    conv = nn.Conv2d(3, 3, 3, padding=1)
    parts = [nn.Sequential(conv, nn.BatchNorm2d(3), nn.ReLU()), nn.Sequential(conv, nn.ReLU())]
    normed, bare = convert(nn.Sequential(*parts[::order]), "add")[::order]
    assert isinstance(normed[0], AddConv2d)
    assert isinstance(bare[0][1], nn.BatchNorm2d)
    assert normed[0] is bare[0][0]
    assert normed[0].bias is None
    assert bare(normed(torch.randn(4, 3, 5, 5))).any()
    normed, bare = convert(nn.Sequential(*parts[::order]), "add", norm=False)[::order]
    assert normed[0] is bare[0]
    assert bare[0].bias is not None
    # norms of their own
    twice = convert(nn.Sequential(conv, nn.ReLU(), conv), "add")
    assert twice[0][0] is twice[2][0]
    assert twice[0][1] is not twice[2][1]


def test_names_to_keep() -> None:
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(11)))
    for keep in ("10", (name for name in ["10"]), {"10"}):
        got = convert(model, "shift", keep=keep)
        assert [type(layer) for layer in got] == [ShiftLinear] * 10 + [nn.Linear]
    with pytest.raises(ValueError, match="there is no layer fc to keep"):
        convert(model, "shift", keep="fc")
    layer = nn.Linear(4, 4)
    shared = nn.ModuleDict({"a": layer, "b": layer, "c": nn.Linear(4, 4)})
    for keep in ("b", lambda name, _: name == "b"):
        got = convert(shared, "shift", keep=keep)
        assert got["a"] is got["b"]
        assert [type(got[name]) for name in "abc"] == [nn.Linear, nn.Linear, ShiftLinear]


@pytest.mark.parametrize("kind", KINDS)
def test_the_frozen_stays_frozen(kind: str) -> None:
    model = network()
    model.stem.requires_grad_(False)
    model.conv.bias.requires_grad_(False)
    got = convert(model, kind, norm=False)
    assert not any(parameter.requires_grad for parameter in got.stem.parameters())
    free = {name.split(".")[-1]: parameter.requires_grad
            for name, parameter in got.conv.named_parameters()}
    assert not free.pop("bias")
    assert all(free.values())
    assert all(parameter.requires_grad for parameter in got.last.parameters())


class MyConv(nn.Conv2d):
    """Of a user."""


def hooked() -> nn.Linear:
    layer = nn.Linear(2, 2)
    layer.register_forward_hook(lambda *_: None)
    return layer


def tied() -> nn.ModuleList:
    one, other = nn.Linear(2, 2), nn.Embedding(2, 2)
    other.weight = one.weight
    return nn.ModuleList([one, other])


def frozen_and_pruned() -> nn.Linear:
    return prune.random_unstructured(nn.Linear(2, 2).requires_grad_(False), "weight", 0.5)


@pytest.mark.parametrize(("layer", "message"), [
    (nn.LazyConv2d(2, 3), "layer 0: a LazyConv2d may do more than the nn.Conv2d"),
    (MyConv(1, 1, 1), "layer 0: a MyConv may do more than the nn.Conv2d"),
    (parametrizations.weight_norm(nn.Linear(2, 2)),
     "layer 0: a ParametrizedLinear may do more than the nn.Linear"),
    (nn.TransformerEncoderLayer(4, 2, 4),
     "layer 0.linear1: nn.TransformerEncoderLayer reads its weights without calling"),
    (hooked(), "layer 0: it has hooks"),
    (frozen_and_pruned(), "layer 0: it has hooks"),
    (tied(), "layer 0.0: it shares a parameter with another layer"),
], ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "")
@pytest.mark.parametrize("kind", KINDS)
def test_layers_that_would_lose_something(kind: str, layer: nn.Module, message: str) -> None:
    model = nn.Sequential(layer, nn.Linear(2, 2))
    with pytest.raises(ValueError, match=message):
        convert(model, kind)
    got = convert(model, kind, keep="0", norm=False)
    assert [type(part) for part in got] == [type(layer), LAYERS[kind][1]]


def test_attention_stays() -> None:
    assert isinstance(convert(nn.MultiheadAttention(4, 2), "add").out_proj, nn.Linear)


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("change", [
    weight_norm, lambda layer: prune.random_unstructured(layer, "weight", 0.5)],
    ids=["weight_norm", "pruned"])
def test_what_cannot_be_copied(change) -> None:
    layer = change(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="layer 1: its weight is computed from parameters"):
        convert(nn.Sequential(nn.ReLU(), layer), "shift")


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_no_numbers(value: float) -> None:
    model = network()
    model.conv.weight.data[1, 2, 0, 0] = value
    with pytest.raises(ValueError, match="layer conv: weights must be finite, but 1 of 864 are"):
        convert(model, "shift")


@pytest.mark.parametrize(("model", "options", "message"), [
    (5, {}, "model must be an nn.Module, not 5"),
    (nn.ReLU(), {"keep": None}, "keep must be names of layers or a function, not None"),
], ids=str)
def test_types(model, options: dict, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        convert(model, "add", **options)


def test_depthwise_networks_can_shift() -> None:
    model = NETWORKS["ds_cnn"].build().eval()
    got = convert(model, "shift")
    assert got(torch.rand(2, *NETWORKS["ds_cnn"].input_shape)).shape == (2, 12)
    with pytest.raises(ValueError, match=r"layer [\w.]+: an add layer has 1 group, not 64"):
        convert(model, "add")
    # the shift layer within may be depthwise; the add layer behind mixes all channels
    both = convert(nn.Conv2d(4, 4, 3, groups=4), "shiftadd", norm=False)
    assert both(torch.rand(1, 4, 5, 5)).shape == (1, 4, 3, 3)


@pytest.mark.parametrize(("model", "options", "message"), [
    (nn.ReLU(), {"kind": "sub"}, "unknown kind 'sub': choose from shift, add, shiftadd"),
    (nn.ReLU(), {"kind": "shift", "bits": 7}, "3, 4 or 5 bits and mode 'ps' or 'q', not 7"),
    (nn.ReLU(), {"kind": "add", "keep": ["stem"]}, "there is no layer stem to keep"),
    (nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), {"kind": "shift"},
     "layer Conv2d: padding is by zeros, not 'reflect'"),
    (nn.Sequential(nn.Conv2d(1, 1, 2, padding="same")), {"kind": "add"},
     r"layer 0: padding 'same' of the kernel \(2, 2\) is not the same on both sides"),
    (nn.Sequential(nn.Conv2d(1, 1, 2)), {"kind": "shiftadd"},
     r"layer 0: an add layer keeps height and width with an odd kernel, not \(2, 2\)"),
    (nn.Sequential(nn.Conv2d(1, 1, 3)), {"kind": "shiftadd", "add_kernel": -1},
     "layer 0: add_kernel must be one or two whole numbers of at least 1, not -1"),
])
def test_errors(model: nn.Module, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        convert(model, **options)


@pytest.mark.parametrize(("kind", "options"), [
    ("shift", {}), ("shift", {"bits": 3}), ("shift", {"mode": "q"}), ("add", {}), ("shiftadd", {}),
    ("shiftadd", {"fixed": True}), ("add", {"keep": ["stem", "last"]})], ids=str)
def test_learns(kind: str, options: dict) -> None:
    digits = load_digits()[0][:256]
    images, labels = to_input(digits.images), torch.from_numpy(digits.labels).long()
    model = convert(network(), kind, **options)
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), 0.03)
    losses = []
    for turn in range(30):
        part = slice(64 * (turn % 4), 64 * (turn % 4 + 1))
        loss = functional.cross_entropy(model(images[part]), labels[part])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-4:]) < 0.7 * sum(losses[:4])
    exported = torch.export.export(model.eval(), (images[:2],)).module()
    assert torch.allclose(exported(images[:2]), model(images[:2]), atol=1e-4)
