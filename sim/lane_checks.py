"""Vector lanes and their parts, and what torch says that they compute."""
from itertools import accumulate

import torch
from amaranth.lib import data

from accel import golden
from accel.graph import Activation, Add, Graph, Tensor
from accel.spec.config import AccelConfig
from accel.spec.link import param_code
from accel.spec.numerics import (
    ADD_MAX_SHIFT,
    ADD_MULTIPLIER_BITS,
    SHIFT_BITS,
    TFLITE_MULTIPLIER_BITS,
    limits,
)
from accel.spec.scales import FRACTION_BITS
from rtl.activation import ActivationUnit
from rtl.adder import SIDES
from rtl.lane import VectorLane
from rtl.scaling import scaling
from sim.check import Expected, UnitCheck, Words, extremes, unsigned


def activation_check(config: AccelConfig) -> UnitCheck:
    """Every function on every input code; relu at the extremes of its zero point as well."""
    low, high = limits(config.act_bits)
    codes = torch.arange(low, high + 1)
    inputs: dict[str, Words] = {"i": [], "zero_point": [], "select": []}
    expected: Expected = []
    pause = ActivationUnit.latency      # the selection must hold still until the last result
    for select, function in enumerate(["none", *(s.function for s in config.activation_specs)]):
        for zero_point in (low, -1, 0, high // 2, high) if function == "relu" else (0,):
            inputs["i"] += unsigned(codes, config.act_bits) + [0] * pause
            count = len(codes) + pause
            inputs["zero_point"] += [zero_point % (1 << config.act_bits)] * count
            inputs["select"] += [select] * count
            out = _function(function, codes, zero_point, config)
            expected += [*[None] * pause, *unsigned(out, config.act_bits)]
    names = " ".join(spec.function for spec in config.activation_specs)
    return UnitCheck(f"activation {names}", ActivationUnit(config), inputs, {"o": expected})


def _function(function: str, codes: torch.Tensor, zero_point: int, config: AccelConfig,
              ) -> torch.Tensor:
    """An activation, or ``none``, in torch."""
    if function == "none":
        return codes
    tensor = Tensor("x", (1, 1, len(codes)), 1.0, zero_point)
    graph = Graph("unit", tensor, (
        Activation("f", tensor, Tensor("y", tensor.shape, 1.0, zero_point), function),))
    return golden.run(graph, codes.reshape(1, 1, 1, -1), config)["y"].reshape(-1)


def _totals(config: AccelConfig, count: int, generator: torch.Generator,
            ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Accumulators, biases, multipliers and shifts at their extremes and around rounding ties."""
    low, high = limits(config.acc_bits)
    acc = extremes(low, high, count, generator)
    acc[count // 2:] = torch.randint(-1 << 14, 1 << 14, (count - count // 2,), generator=generator)
    bias = extremes(low, high, count, generator).roll(37)
    bias[count // 2:] = 0
    multiplier = _multipliers(config, count, generator)
    bias[multiplier < 0] = bias[multiplier < 0].clamp(min=low + 2)     # as it must be stored
    tflite = config.rounding == "tflite"
    shift = torch.randint(1, (1 << SHIFT_BITS) - tflite, (count,), generator=generator)
    shift[count // 2:] = config.scales.magnitude_bits + torch.randint(
        -2, 9, (count - count // 2,), generator=generator)
    # a left shift has no bits for more
    left = (TFLITE_MULTIPLIER_BITS - shift).clamp(min=0) * tflite
    return acc >> left, bias >> left, multiplier, shift


def _multipliers(config: AccelConfig, count: int, generator: torch.Generator) -> torch.Tensor:
    """Legal multipliers: extremes, random ones, and at the end powers of two, for exact ties."""
    scales = config.scales
    one, most = 1 << (scales.magnitude_bits - 1), (1 << scales.magnitude_bits) - 1
    if scales.terms:
        known = sorted({sign * value for value in scales.codes for sign in (1, -scales.signed)
                        if sign})
        pick = extremes(0, len(known) - 1, count, generator)
        multiplier = torch.tensor(known)[pick].roll(11)
    else:
        multiplier = extremes(-most * scales.signed, most, count, generator).roll(11)
    multiplier[-count // 4:] = one
    if scales.signed:
        multiplier[-count // 8:] = -one
    return multiplier


def stored(config: AccelConfig, bias: int, multiplier: int, shift: int) -> dict[str, int]:
    """What the requantizer's ports get of a channel: `link.param_code`, in its parts."""
    code, bits = param_code(config, bias, multiplier, shift), config.scales.code_bits
    parts = {"bias": code % (1 << config.acc_bits),
             "multiplier": (code >> config.acc_bits) % (1 << bits),
             "shift": code >> (config.acc_bits + bits)}
    return {name: part for name, part in parts.items() if name != "multiplier" or bits}


def requantizer_check(config: AccelConfig) -> UnitCheck:
    """Totals, multipliers and shifts at their extremes and around every rounding tie."""
    generator, kind = torch.Generator().manual_seed(3), scaling(config).requantizer
    inputs: dict[str, Words] = {name: [] for name in
                                ("acc", *stored(config, 0, 1 << FRACTION_BITS, 1), "zero_point")}
    expected: Expected = [None] * kind.latency_of(config)
    for zero_point in (*limits(config.act_bits), -1, 0):
        acc, bias, multiplier, shift = _totals(config, 1024, generator)
        out = golden.requantize(acc + bias, multiplier, shift, zero_point, config.act_bits,
                                config.rounding)
        inputs["acc"] += unsigned(acc, config.acc_bits)
        for param in zip(bias.tolist(), multiplier.tolist(), shift.tolist(), strict=True):
            for name, word in stored(config, *param).items():
                inputs[name].append(word)
        inputs["zero_point"] += [zero_point % (1 << config.act_bits)] * len(acc)
        expected += unsigned(out, config.act_bits)
    cycles = len(inputs["acc"])
    stage = kind.zero_point_stage(config)
    inputs["zero_point"] = ([0] * stage + inputs["zero_point"])[:cycles]
    return UnitCheck("requantizer", kind(config), inputs, {"o": expected[:cycles]})


def lane_check(config: AccelConfig) -> UnitCheck:
    """A whole lane: each activation, addition at its extremes, limits, windows."""
    generator, latency = torch.Generator().manual_seed(4), VectorLane.latency_of(config)
    component, count = VectorLane(config), 128
    stages = {"acc": 0, "param": 0, "window_first": VectorLane.first_stage(config)}
    if config.residual:
        stages["other"] = VectorLane.other_stage(config)
    inputs: dict[str, Words] = {name: [] for name in (*stages, "constants")}
    expected: Expected = []
    functions = ["none", *(spec.function for spec in config.activation_specs), "none", "none"]
    for block, function in enumerate(functions):
        zero_point = (0, *limits(config.act_bits), -1)[block % 4]
        acc, bias, multiplier, shift = _totals(config, count, generator)
        code = golden.requantize(acc + bias, multiplier, shift, zero_point, config.act_bits,
                                 config.rounding)
        other = extremes(*limits(config.act_bits), count, generator).roll(5)
        code, constants = _behind_scaling(block, function, code, other, zero_point, config)
        first = torch.rand(count, generator=generator) < 0.5
        first[0] = True
        params = zip(bias.tolist(), multiplier.tolist(), shift.tolist(), strict=True)
        words = {"acc": unsigned(acc, config.acc_bits), "window_first": first.long().tolist(),
                 "param": [param_code(config, *param) for param in params],
                 "other": unsigned(other, config.act_bits)}
        for name, stage in stages.items():
            inputs[name] += [0] * stage + words[name] + [0] * (latency - stage)
        # constants hold still until the last result
        inputs["constants"] += [_bits(component.constants, constants)] * (count + latency)
        largest = list(accumulate(
            zip(code.tolist(), first.tolist(), strict=True),
            lambda before, step: step if step[1] else (max(before[0], step[0]), False)))
        expected += [*[None] * latency,
                     *unsigned(torch.tensor([code for code, _ in largest]), config.act_bits)]
    return UnitCheck("vector lane", component, inputs, {"o": expected})


def _behind_scaling(block: int, function: str, code: torch.Tensor, other: torch.Tensor,
                    zero_point: int, config: AccelConfig) -> tuple[torch.Tensor, dict[str, int]]:
    """What a lane makes of requantized codes before the maximum, and the constants for that."""
    low, high = limits(config.act_bits)
    if block % 3:       # the limits cut something off
        low, high = low // 2, high // 2
    position = [spec.function for spec in config.activation_specs].index(function) + 1 if (
        function != "none") else 0
    constants = {"zero_point": zero_point, "low": low, "high": high, "activation": position}
    code = _function(function, code, zero_point, config)
    if config.residual:
        f = (_tflite_sum if config.rounding == "tflite" else
             _shifted_sum if config.scale_terms else _single_sum)(block, config)
        own, rest = (Tensor(side, (1, 1, len(code)), 1.0, f[f"{side}_zero_point"])
                     for side in SIDES)
        node = Add("sum", (own, rest), Tensor("sum", own.shape, 1.0, f["add_zero_point"]),
                   (f["own_multiplier"], f["other_multiplier"]),
                   (f.get("own_shift", 0), f.get("other_shift", 0)), f.get("add_multiplier", 1),
                   f["add_shift"])
        code = golden.compute(node, [code, other], config)
        codes = {name: config.scales.encode_summand(f[name])
                 for name in ("own_multiplier", "other_multiplier")}
        constants |= {**f, **codes, "drop": f["add_shift"] - 1}
    return code.clamp(low, high), constants


def _tflite_sum(block: int, config: AccelConfig) -> dict[str, int]:
    """Fields of an addition with TensorFlow Lite's roundings."""
    low, high = limits(config.act_bits)
    one, most = 1 << (TFLITE_MULTIPLIER_BITS - 1), (1 << TFLITE_MULTIPLIER_BITS) - 1
    names = ("own_zero_point", "own_multiplier", "own_shift", "other_zero_point",
             "other_multiplier", "other_shift", "add_multiplier", "add_shift", "add_zero_point")
    return dict(zip(names, (
        (0, one, 31, 0, 0, 31, one, 49, 0), (low, most, 31, high, most, 31, most, 50, low),
        (high, most, 31, low, most, 32, most, 49, high), (1, one, 32, -2, one, 33, one, 48, -1),
        (0, most, 62, 0, 1, 31, most, 62, 0), (low, one + 3, 40, low, one + 5, 45, one + 1, 38, 0),
    )[block % 6], strict=True))


def _single_sum(block: int, config: AccelConfig) -> dict[str, int]:
    """Fields of an addition that rounds once."""
    low, high = limits(config.act_bits)
    most = (1 << ADD_MULTIPLIER_BITS) - 1
    own, other, one, two, shift, zero_point = (
        (0, 0, 2, 0, 1, 0), (low, high, most, most, 17, low), (high, low, most, most, 16, high),
        (1, -2, 1 << 15, 1 << 14, 16, -1), (0, 0, most, 1, ADD_MAX_SHIFT, 0),
        (low, low, 3, 5, 1, 0))[block % 6]
    return {"own_zero_point": own, "other_zero_point": other, "own_multiplier": one,
            "other_multiplier": two, "add_shift": shift, "add_zero_point": zero_point}


def _shifted_sum(block: int, config: AccelConfig) -> dict[str, int]:
    """Fields of an addition whose summands are shifted."""
    low, high = limits(config.act_bits)
    own, other, one, two, shift, zero_point = (
        (0, 0, 2, 0, 1, 0), (low, high, 128, 128, 8, low), (high, low, 128, 64, 7, high),
        (1, -2, 8, 1, 4, -1), (0, 0, 0, 128, ADD_MAX_SHIFT, 0), (low, low, 1, 4, 1, 0))[block % 6]
    return {"own_zero_point": own, "other_zero_point": other, "own_multiplier": one,
            "other_multiplier": two, "add_shift": shift, "add_zero_point": zero_point}


def _bits(view: data.View, values: dict[str, int]) -> int:
    """A port's word, from the values of its fields, however deep they lie."""
    def word(layout: data.Layout) -> int:
        total = 0
        for name, field in layout:
            value = word(field.shape) if isinstance(field.shape, data.Layout) else values[name]
            total |= (value & ((1 << field.width) - 1)) << field.offset
        return total

    return word(view.shape())
