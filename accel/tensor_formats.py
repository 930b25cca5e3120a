"""Scale and zero point of every tensor of a float graph.

Relu, limits, maximum pooling and concatenation only choose among the codes that they read, so
such a layer's tensors share one format: they are one *group*. (All of them rise with their input,
hence commute with rounding and saturation.) Tables have fixed formats. A group that a table's
output begins has that format; one that nothing but tables of one input format read has theirs;
any other gets the range that the calibration images show where its values are used. What a table
and its neighbour cannot agree on, an identity in between requantizes.

A sum of distances compares its input with its weights, so that both share a format, the input's
(what of a weight is beyond its range changes no difference: `integer_nodes`). Where nothing can be
multiplied by (``scale_terms``), scales are powers of two, which additions then only shift by.
"""
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from accel.layers import (
    INPUT,
    FloatActivation,
    FloatAvgPool,
    FloatClamp,
    FloatConcat,
    FloatGraph,
    FloatMaxPool,
    Layer,
)
from accel.spec.config import AccelConfig
from accel.spec.errors import InputError
from accel.spec.numerics import limits
from accel.spec.tables import PLAIN, ActivationSpec

#: Scale and zero point of a tensor.
Format = tuple[float, int]
#: Smallest and largest value of a tensor.
Range = tuple[float, float]


class QuantizeError(InputError):
    """A network or calibration data that cannot be quantized."""


def separate(network: FloatGraph, config: AccelConfig) -> FloatGraph:
    """``network`` with an identity wherever two formats meet that a table fixes.

    Raises `QuantizeError` naming every activation that the configuration does not have.
    """
    specs = {spec.function: spec for spec in config.activation_specs}
    if faults := [f"{layer.name}: activation {layer.function!r} is not in config {config.name!r}, "
                  f"which has {', '.join(specs) or 'none'}" for layer in network.layers
                  if isinstance(layer, FloatActivation) and layer.function not in specs]:
        raise QuantizeError("; ".join(faults))
    layers = _separate_concats(network.layers, specs)
    return replace(network, layers=tuple(_separate_tables(layers, specs)))


def formats(network: FloatGraph, ranges: Mapping[str, Range], config: AccelConfig,
            ) -> dict[str, Format]:
    """Format of each tensor of what `separate` returned; ``ranges`` are the tensors'."""
    specs = {spec.function: spec for spec in config.activation_specs}
    groups = _groups(network.layers)
    fixed = _fixed(network.layers, groups, specs)
    used = [name for layer in network.layers if not _keeps_format(layer) for name in layer.inputs]
    spans: dict[str, Range] = {}
    for name in (*used, network.layers[-1].name):
        low, high = spans.get(groups[name], (0.0, 0.0))
        spans[groups[name]] = min(low, ranges[name][0]), max(high, ranges[name][1])
    return {name: fixed.get(group) or calibrated(*spans[group], config.act_bits,
                                                 power_of_two=config.scale_terms > 0)
            for name, group in groups.items()}


def calibrated(low: float, high: float, bits: int, *, power_of_two: bool = False) -> Format:
    """Format over a range that holds zero, which it represents exactly."""
    scale = (high - low) / ((1 << bits) - 1) or 1.0
    if power_of_two:
        scale = 2.0 ** math.ceil(math.log2(scale))
    smallest, largest = limits(bits)
    return scale, max(smallest, min(largest, smallest - round(low / scale)))


def _keeps_format(layer: Layer) -> bool:
    return isinstance(layer, FloatMaxPool | FloatClamp | FloatConcat) or (
        isinstance(layer, FloatActivation) and layer.function in PLAIN)


def _table(layer: Layer, specs: Mapping[str, ActivationSpec]) -> tuple[Format, Format] | None:
    """Formats that ``layer`` reads and gives, if it is a table."""
    if not isinstance(layer, FloatActivation) or _keeps_format(layer):
        return None
    spec = specs[layer.function]
    return (2.0 ** -spec.in_frac, 0), (2.0 ** -spec.out_frac, 0)


def _identity(source: str, reader: str) -> FloatAvgPool:
    return FloatAvgPool(f"{reader}.requantize.{source}", (source,), (1, 1), (1, 1))


def _separate_concats(layers: Sequence[Layer], specs: Mapping[str, ActivationSpec]) -> list[Layer]:
    """With identities between tables and the concatenations whose other inputs differ."""
    given: dict[str, Format | None] = {INPUT: None}     # by tables, through what keeps formats
    result: list[Layer] = []
    for layer in layers:
        found = {given[name] for name in layer.inputs}
        if isinstance(layer, FloatConcat) and len(found) > 1:
            identities = {name: _identity(name, layer.name) for name in layer.inputs if given[name]}
            result += identities.values()
            layer = replace(layer, inputs=tuple(
                identities[name].name if name in identities else name for name in layer.inputs))
            given[layer.name] = None
        elif _keeps_format(layer):
            given[layer.name] = found.pop()
        else:
            table = _table(layer, specs)
            given[layer.name] = table[1] if table else None
        result.append(layer)
    return result


def _separate_tables(layers: Sequence[Layer], specs: Mapping[str, ActivationSpec]) -> list[Layer]:
    """With identities before the tables whose input cannot have their format."""
    groups = _groups(layers)
    fixed = _fixed(layers, groups, specs)
    result: list[Layer] = []
    for layer in layers:
        table = _table(layer, specs)
        if table and isinstance(layer, FloatActivation):
            (source,) = layer.inputs
            if fixed.get(groups[source]) != table[0]:
                identity = _identity(source, layer.name)
                result.append(identity)
                layer = replace(layer, inputs=(identity.name,))
        result.append(layer)
    return result


def _groups(layers: Sequence[Layer]) -> dict[str, str]:
    """Tensor -> its group, which goes by the name of one member."""
    groups = {INPUT: INPUT}
    for layer in layers:
        if _keeps_format(layer):
            first, *others = (groups[name] for name in layer.inputs)
            groups = {name: first if group in others else group for name, group in groups.items()}
            groups[layer.name] = first
        else:
            groups[layer.name] = layer.name
    return groups


def _fixed(layers: Sequence[Layer], groups: Mapping[str, str],
           specs: Mapping[str, ActivationSpec]) -> dict[str, Format]:
    """Group -> its format, where tables decide: the one it begins with, or all that read it."""
    uses: dict[str, set[Format | None]] = {groups[layers[-1].name]: {None}}
    given: dict[str, Format] = {}
    for layer in layers:
        table = _table(layer, specs)
        if table:
            given[groups[layer.name]] = table[1]
        for name in layer.inputs if not _keeps_format(layer) else ():
            uses.setdefault(groups[name], set()).add(table[0] if table else None)
    agreed = {group: form for group, forms in uses.items()
              if len(forms) == 1 and (form := next(iter(forms)))}
    return agreed | given
