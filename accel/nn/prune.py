"""Pruning of shift layers, whose weight 0 adds nothing, and the end of their training."""
import torch
from torch import nn
from torch.nn.utils import prune

from accel.nn.shift import ShiftLayer, ternary


@torch.no_grad()
def prune_shifts(network: nn.Module, share: float) -> None:
    """Keep that ``share`` (0..1) of each shift layer's weights 0, the smallest; mode ``ps`` only.

    Of equal powers of two, those go first whose sign is nearest to 0 already. `settle` makes
    ordinary parameters of the result. Source of the experiment: H. You et al., "ShiftAddNet",
    NeurIPS 2020, which prunes shift layers by magnitude. Raises a ValueError for another share, or
    if there is no such layer.
    """
    if not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ValueError(f"the share of pruned weights must be in 0..1, not {share!r}")
    if not (layers := _trained_by_sign(network)):
        raise ValueError("there is nothing to prune: no shift layer of mode 'ps' is in the network")
    for layer in layers:
        size = layer.effective_weight().abs() + 2.0 ** layer.low * layer.sign.abs() / 2
        kept = torch.ones_like(size).flatten()
        kept[size.flatten().argsort(stable=True)[:round(share * size.numel())]] = 0
        prune.custom_from_mask(     # type: ignore[no-untyped-call]
            layer, "sign", kept.view_as(size))


@torch.no_grad()
def settle(network: nn.Module) -> None:
    """Round the signs and exponents of trained shift layers, which changes no weight.

    Trained ones come to lie where they are rounded up or down, so that the least change, as by
    another number format, would make another network of them.
    """
    for layer in _trained_by_sign(network):
        for name in ("sign", "exponent"):
            if hasattr(layer, f"{name}_orig"):      # pruned
                prune.remove(layer, name)   # type: ignore[no-untyped-call]
        layer.sign.copy_(ternary(layer.sign))
        layer.exponent.copy_(layer.exponent.clamp(layer.low, 0).round())


def zeros(network: nn.Module) -> float:
    """Share (0..1) of the shift layers' weights that are 0, as none of mode ``q`` is."""
    weights = [layer.effective_weight() for layer in network.modules()
               if isinstance(layer, ShiftLayer)]
    count = sum(weight.numel() for weight in weights)
    return sum(int((weight == 0).sum()) for weight in weights) / count if count else 0.0


def _trained_by_sign(network: nn.Module) -> list[ShiftLayer]:
    return [layer for layer in network.modules()
            if isinstance(layer, ShiftLayer) and layer.mode == "ps"]
