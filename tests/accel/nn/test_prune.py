"""Pruning of shift layers, and what is left when training ends."""
import math

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from accel.nn import AddConv2d, ShiftConv2d, ShiftLinear, prune_shifts, settle, zeros


def network() -> nn.Sequential:
    torch.manual_seed(4)
    return nn.Sequential(ShiftConv2d(2, 5, 3), AddConv2d(5, 5, 1), nn.Flatten(),
                         ShiftLinear(20, 3), ShiftLinear(3, 3, mode="q"))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 1.0])
def test_the_smallest_go(share: float) -> None:
    model = network()
    before = [layer.effective_weight().detach() for layer in (model[0], model[3])]
    prune_shifts(model, share)
    model.train()(torch.randn(4, 2, 4, 4))      # hooks compute the pruned signs
    for layer, old in zip((model[0], model[3]), before, strict=True):
        new = layer.effective_weight()
        kept = new != 0
        assert torch.equal(new[kept], old[kept])
        assert int((~kept).sum()) >= round(share * old.numel())
        if share < 1 and kept.any():
            assert old[~kept].abs().max() <= old[kept].abs().max()
    assert zeros(model[:4]) >= share
    # the others' weights are counted too, of which none is 0
    weights = [model[index].effective_weight() for index in (0, 3, 4)]
    assert zeros(model) == (sum(int((weight == 0).sum()) for weight in weights)
                            / sum(weight.numel() for weight in weights))


def test_pruned_weights_stay_zero_while_the_others_are_trained() -> None:
    model = network()
    prune_shifts(model, 0.5)
    mask = model[0].sign_mask.bool()
    optimizer = torch.optim.SGD(model.parameters(), 5.0)
    for _ in range(5):
        optimizer.zero_grad()
        model(torch.randn(4, 2, 4, 4)).square().sum().backward()
        optimizer.step()
    model(torch.randn(1, 2, 4, 4))
    weight = model[0].effective_weight()
    assert not weight[~mask].any()
    settle(model)
    assert not hasattr(model[0], "sign_mask")
    assert torch.equal(model[0].effective_weight(), weight)


def test_settling_changes_no_weight_and_survives_half_precision() -> None:
    model = network()
    layer = model[0]
    layer.sign.data.flatten()[:3] = torch.tensor([0.50001, -0.50001, 0.49999])
    layer.exponent.data.flatten()[:3] = torch.tensor([-2.50001, -1.49999, 0.7])
    before = layer.effective_weight().detach()
    x = torch.randn(3, 2, 4, 4)
    wanted = model(x)
    settle(model)
    assert torch.equal(layer.effective_weight(), before)
    assert torch.equal(model(x), wanted)
    half = ShiftConv2d(2, 5, 3)
    half.load_state_dict({name: value.half().float() for name, value in
                          layer.state_dict().items()})
    assert torch.equal(half.effective_weight(), before)


@pytest.mark.parametrize("name", ["bias", "exponent"])
def test_settling_with_another_parameter_pruned(name: str) -> None:
    layer = ShiftLinear(6, 4)
    prune.random_unstructured(layer, name, 0.5)
    x = torch.randn(2, 6)
    wanted = layer(x)
    settle(layer)
    assert torch.equal(layer(x), wanted)
    assert torch.equal(layer.exponent, layer.exponent.round())


def test_settling_hides_no_nan() -> None:
    layer = ShiftLinear(2, 1)
    layer.sign.data[0, 0] = math.nan
    settle(layer)
    assert layer.effective_weight().isnan().tolist() == [[True, False]]


@pytest.mark.parametrize("share", [-0.1, 1.5, "0.5"])
def test_a_share_that_is_none(share: float) -> None:
    with pytest.raises(ValueError, match=rf"must be in 0\.\.1, not {share!r}"):
        prune_shifts(network(), share)


def test_nothing_to_prune() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 1))
    with pytest.raises(ValueError, match="nothing to prune: no shift layer of mode 'ps'"):
        prune_shifts(model, 0.5)
    settle(model)
    assert zeros(model) == 0
