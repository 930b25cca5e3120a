"""Layers without multiplications, and the conversion of networks to them.

- `ShiftConv2d`, `ShiftLinear`: weights are powers of two (DeepShift).
- `AddConv2d`, `AddLinear`: minus the distance of input and weights (AdderNet).
- `ShiftAddConv2d`, `ShiftAddLinear`: one of each in a row (ShiftAddNet).
- `convert`: a network of ordinary layers with one of these kinds in their place.

All are exported by `torch.export`: a shift layer as an ordinary layer whose weights are computed
from its parameters, an add layer as the operator ``systolith::add_conv2d``. ``python -m
accel.nn.bench`` measures what they cost to train.
"""
from accel.nn.add import AddConv2d, AddLinear, add_conv2d
from accel.nn.convert import KINDS, convert
from accel.nn.prune import prune_shifts, settle, zeros
from accel.nn.shift import ShiftConv2d, ShiftLayer, ShiftLinear
from accel.nn.shiftadd import ShiftAddConv2d, ShiftAddLinear

__all__ = ["KINDS", "AddConv2d", "AddLinear", "ShiftAddConv2d", "ShiftAddLinear", "ShiftConv2d",
           "ShiftLayer", "ShiftLinear", "add_conv2d", "convert", "prune_shifts", "settle",
           "zeros"]
