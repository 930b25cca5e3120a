"""Shift layers: which weights they have, how they start, and where their gradients go."""
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from accel.nn import ShiftConv2d, ShiftLinear
from accel.nn.shift import ternary

LOWEST = {("ps", 3): -2, ("ps", 4): -6, ("ps", 5): -14, ("q", 3): -3, ("q", 4): -7, ("q", 5): -15}


@pytest.mark.parametrize(("mode", "bits"), LOWEST)
def test_weights_are_powers_of_two(mode: str, bits: int) -> None:
    allowed = {2.0 ** exponent for exponent in range(LOWEST[mode, bits], 1)}
    torch.manual_seed(0)
    layer = ShiftLinear(400, 50, bits=bits, mode=mode)
    with torch.no_grad():
        if mode == "ps":
            layer.sign.uniform_(-2, 2)
            layer.exponent.uniform_(LOWEST["ps", bits] - 3, 3)
        else:
            layer.weight.copy_(layer.weight.sign() * torch.empty(50, 400).uniform_(-18, 3).exp2())
            layer.weight[0, :2] = torch.tensor([0.0, -0.0])
    weight = layer.effective_weight()
    assert set(weight.abs().unique().tolist()) == allowed | ({0.0} if mode == "ps" else set())
    assert (weight > 0).any()
    assert (weight < 0).any()


@pytest.mark.parametrize("mode", ["ps", "q"])
def test_starts_next_to_real_weights(mode: str) -> None:
    conv = nn.Conv2d(3, 8, 3)
    values = torch.tensor([0.9, -0.5, 0.36, -0.34, 0.02, -0.0079, 0.0077, 0.0, 3.0])
    with torch.no_grad():
        conv.weight.copy_(values.repeat(8, 3).reshape(8, 3, 3, 3))
    layer = ShiftConv2d(3, 8, 3, mode=mode).take(conv)
    expected = [1, -0.5, 0.5, -0.25, 2 ** -6, -2 ** -6, 0, 0, 1]
    if mode == "q":
        expected[5:8] = -2 ** -7, 2 ** -7, 2 ** -7
    assert layer.effective_weight().flatten()[:9].tolist() == expected
    assert torch.equal(layer.bias, conv.bias)
    assert layer.bias is not conv.bias


@pytest.mark.parametrize("mode", ["ps", "q"])
def test_what_it_cannot_start_from(mode: str) -> None:
    layer = ShiftConv2d(3, 8, 3, mode=mode)
    with pytest.raises(ValueError, match=r"of shape \(8, 3, 3, 3\), not \(4, 3, 5, 5\)"):
        layer.take(nn.Conv2d(3, 4, 5))
    with pytest.raises(ValueError, match=r"floating-point numbers, not torch\.complex64"):
        layer.take(nn.Conv2d(3, 8, 3, dtype=torch.complex64))
    conv = nn.Conv2d(3, 8, 3)
    conv.weight.data[0, 0, 0, :2] = torch.tensor([math.nan, -math.inf])
    with pytest.raises(ValueError, match="weights must be finite, but 2 of 216 are not"):
        layer.take(conv)


def test_starts_without_the_bias_that_a_layer_has_not() -> None:
    plain = nn.Linear(2, 2, bias=False, dtype=torch.float64)
    layer = ShiftLinear(2, 2).take(plain)
    assert layer.bias.tolist() == [0, 0]
    assert layer.bias.dtype == torch.float64
    assert ShiftLinear(2, 2, bias=False).take(nn.Linear(2, 2)).bias is None


@pytest.mark.parametrize(("mode", "name"), [("ps", "sign"), ("ps", "exponent"), ("q", "weight")])
def test_nan_is_seen(mode: str, name: str) -> None:
    layer = ShiftLinear(3, 1, mode=mode)
    getattr(layer, name).data[0, 1] = math.nan
    assert layer.effective_weight().isnan().tolist() == [[False, True, False]]


def test_no_zero_is_negative() -> None:
    sign = torch.tensor([-0.3, -0.0, 0.0, 0.3, -0.5, -0.6, 5.0, -math.inf])
    assert [str(value) for value in ternary(sign).tolist()] == [
        "0.0", "0.0", "0.0", "0.0", "0.0", "-1.0", "1.0", "-1.0"]
    assert torch.equal(ternary(sign), sign.round().sign())


@pytest.mark.parametrize("inputs", [9, 4608])
@pytest.mark.parametrize(("mode", "bits"), LOWEST)
def test_no_layer_starts_dead(mode: str, bits: int, inputs: int) -> None:
    torch.manual_seed(0)
    weight = ShiftLinear(inputs, 32, bits=bits, mode=mode).effective_weight()
    assert (weight != 0).double().mean() > 0.6


def test_gradients_of_signs_and_exponents() -> None:
    layer = ShiftLinear(6, 1, bias=False)
    with torch.no_grad():
        layer.sign[:] = torch.tensor([1, -0.7, 0.3, 1, 1, 1])
        layer.exponent[:] = torch.tensor([-1.4, -2.6, -3, -9, -9, 1])
    assert layer.effective_weight().tolist() == [[0.5, -0.125, 0, 2 ** -6, 2 ** -6, 1]]
    slope = torch.tensor([3.0, 5.0, 7.0, 11.0, -11.0, -13.0])
    layer(slope).backward()
    assert layer.sign.grad[0].tolist() == slope.tolist()
    log = math.log(2)
    # below the range: a step down is refused, one up is not; above it the other way round
    assert layer.exponent.grad[0].tolist() == pytest.approx(
        [3 * 0.5 * log, -5 * 0.125 * log, 0, 0, -11 * 2 ** -6 * log, 0])


def test_gradients_of_real_weights() -> None:
    layer = ShiftLinear(6, 1, bias=False, mode="q")
    with torch.no_grad():
        layer.weight[:] = torch.tensor([0.3, -0.001, 1.5, 1.5, -1.5, -1.5])
    slope = torch.tensor([3.0, 5.0, 7.0, -7.0, 9.0, -9.0])
    layer(slope).backward()
    assert layer.weight.grad[0].tolist() == [3, 5, 7, 0, 0, -9]


@pytest.mark.parametrize("mode", ["ps", "q"])
def test_forward_is_that_of_the_powers(mode: str) -> None:
    torch.manual_seed(4)
    conv = ShiftConv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2), 2, mode=mode)
    x = torch.randn(2, 4, 9, 8)
    assert torch.equal(conv(x), functional.conv2d(x, conv.effective_weight(), conv.bias, (2, 1),
                                                  (1, 0), (1, 2), 2))
    assert ShiftConv2d(4, 6, 3, padding="same", mode=mode)(x).shape == (2, 6, 9, 8)
    linear = ShiftLinear(8, 3, mode=mode)
    assert torch.equal(linear(x), functional.linear(x, linear.effective_weight(), linear.bias))


@pytest.mark.parametrize("make", [
    lambda mode: ShiftConv2d(2, 3, 3, mode=mode),
    lambda mode: ShiftLinear(4, 3, mode=mode)], ids=["conv", "linear"])
@pytest.mark.parametrize("mode", ["ps", "q"])
def test_export_shows_ordinary_operators(make, mode: str) -> None:
    layer, x = make(mode).eval(), torch.randn(2, 2, 5, 4)
    program = torch.export.export(layer, (x,))
    calls = [node.target for node in program.graph.nodes if node.op == "call_function"]
    assert len(calls) == {"ps": 8, "q": 7}[mode]
    assert all(str(call).startswith("aten.") for call in calls)
    assert str(calls[-1]) in {"aten.conv2d.default", "aten.linear.default"}
    assert torch.equal(program.module()(x), layer(x))


@pytest.mark.parametrize("mode", ["ps", "q"])
def test_fixed(mode: str) -> None:
    layer = ShiftConv2d(2, 3, 3, mode=mode, fixed=True)
    assert [name for name, parameter in layer.named_parameters() if parameter.requires_grad] == [
        "bias"]
    assert layer.take(nn.Conv2d(2, 3, 3)).fixed
    assert not layer.effective_weight().requires_grad
    free = ShiftLinear(2, 3, bias=False, mode=mode)
    assert not any(parameter.requires_grad for parameter in free.freeze().parameters())
    x = torch.randn(2, 2, requires_grad=True)
    free(x).sum().backward()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize(("options", "given"), [
    ({"bits": 2}, "2 and 'ps'"), ({"bits": 6, "mode": "q"}, "6 and 'q'"),
    ({"mode": "PS"}, "4 and 'PS'"), ({"bits": 4.0}, "4.0 and 'ps'"),
    ({"mode": ["ps"]}, r"4 and \['ps'\]")])
@pytest.mark.parametrize("make", [lambda **o: ShiftConv2d(1, 1, 1, **o),
                                  lambda **o: ShiftLinear(1, 1, **o)], ids=["conv", "linear"])
def test_errors(make, options: dict, given: str) -> None:
    with pytest.raises(ValueError, match=f"a shift layer has 3, 4 or 5 bits and mode 'ps' or 'q', "
                                         f"not {given}"):
        make(**options)
