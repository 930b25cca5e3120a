"""Tables in a network: exact values forward, the real gradient backward."""
import math
from fractions import Fraction
from functools import partial

import pytest
import torch

from accel.circuits.ste import TableActivation, fine_tune, quantised, with_circuit
from accel.data import load_digits
from accel.networks import LENETS, load_pretrained, to_input
from accel.spec.formats import Format


def coarse(x: torch.Tensor) -> torch.Tensor:
    """Steps of a fifth, which no sum of other floats gives exactly."""
    return (4 * x).round() * 0.2


@pytest.mark.parametrize("real", [torch.tanh, torch.selu])
def test_forward_is_the_table_and_backward_the_function(real) -> None:
    x = torch.linspace(-8, 8, 301, requires_grad=True)
    activation = TableActivation(coarse, real)
    y = activation(x)
    assert torch.equal(y, coarse(x))
    weights = torch.arange(301.0)
    y.backward(weights)
    again = x.detach().clone().requires_grad_()
    real(again).backward(weights)
    assert torch.equal(x.grad, again.grad)
    with torch.no_grad():
        assert torch.equal(activation(x), coarse(x))


def nearest_code(form: Format, x: float) -> int:
    ratio = Fraction(x) / form.scale
    code = math.floor(abs(ratio) + Fraction(1, 2)) * (1 if ratio > 0 else -1) + form.zero_point
    return max(form.low, min(form.high, code))


@pytest.mark.parametrize("forms", [("Q3.5", "Q1.7"), ("Q4.4", "Q4.4"), ("UQ2.4", "UQ0.8"),
                                   ("int8*0.05@-9", "uint8*0.01@100")], ids="->".join)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_quantised(forms: tuple[str, str], dtype: torch.dtype) -> None:
    into, out = map(Format.parse, forms)
    table = [out.low + (37 * place) % (1 << out.bits) for place in range(1 << into.bits)]
    ties = torch.tensor([float(into.value(into.zero_point) + into.scale * Fraction(half, 2))
                         for half in range(-601, 602)], dtype=torch.float64)
    parts = [ties * (1 + 1e-6), ties * (1 - 1e-6), torch.tensor([64.0, -64.0]).double()]
    if into.scale.denominator & (into.scale.denominator - 1) == 0:  # a float can be a tie
        parts += [ties, ties.float().nextafter(torch.tensor(math.inf)).double(),
                  ties.float().nextafter(torch.tensor(-math.inf)).double()]
    x = torch.cat(parts).to(dtype)
    got = quantised(into, out, table, x)
    assert got.dtype == dtype
    codes = [table[nearest_code(into, value) - into.low] for value in x.tolist()]
    assert torch.equal(got, torch.tensor([float(out.value(code)) for code in codes], dtype=dtype))


def test_infinities_saturate_and_the_table_must_fit() -> None:
    form = Format.parse("Q1.3")
    keep = partial(quantised, form, form)
    infinite = torch.tensor([math.inf, -math.inf])
    assert keep(list(form.codes), infinite).tolist() == [0.875, -1]
    with pytest.raises(ValueError, match=r"a table over Q1.3 has 16 codes, not 3"):
        keep([1, 2, 3], infinite)


@pytest.mark.parametrize("name", LENETS)
def test_circuits_in_a_network(name: str) -> None:
    network = load_pretrained(name)
    x = to_input(load_digits()[1].images[:8])
    floating, coarsened = with_circuit(network, None), with_circuit(network, coarse)
    with torch.no_grad():
        assert torch.equal(floating(x), network(x))
        assert not torch.equal(coarsened(x), network(x))
    coarsened(x).square().sum().backward()
    # With a table alone, only the last layer would have a gradient.
    assert all(weight.grad.abs().sum() > 0 for weight in network.parameters())


def test_fine_tuning() -> None:
    digits = load_digits()[0][:96]
    images = to_input(digits.images)
    calls: list[int] = []

    def tuned(seed: int) -> torch.Tensor:
        network = with_circuit(load_pretrained("lenet5-tanh"), coarse)
        torch.manual_seed(7)
        expected = torch.rand(3)
        torch.manual_seed(7)
        fine_tune(network, digits, 2, seed, lambda: calls.append(1))
        assert torch.equal(torch.rand(3), expected)     # the caller's are left alone
        with torch.no_grad():
            return network(images)
    first, again, other = tuned(0), tuned(0), tuned(1)
    assert len(calls) == 6
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
