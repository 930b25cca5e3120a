"""The checkable units: a component, its stimuli, and what torch says must come out.

Stimuli begin with the extremes (all lowest, all highest, alternating) and go on at random with a
fixed seed. Words are unsigned, as ports carry them.
"""
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from amaranth.lib import wiring

from accel import golden
from accel.graph import Activation, Graph, Tensor
from accel.spec.config import AccelConfig
from accel.spec.numerics import MULTIPLIER_BITS, SHIFT_BITS, limits
from rtl.activation import ActivationUnit
from rtl.array import SystolicArray
from rtl.pe import Pe
from rtl.requantize import Requantizer

Words = list[int]
Expected = list[int | None]


@dataclass(frozen=True)
class UnitCheck:
    """One run of the bench `sim.hdl.vectors`."""

    name: str
    component: wiring.Component
    inputs: dict[str, Words]
    expected: dict[str, Expected]

    @property
    def job(self) -> dict[str, Any]:
        """The bench's job."""
        return {"name": self.name, "inputs": self.inputs, "expected": self.expected}


def checks(config: AccelConfig) -> Iterator[UnitCheck]:
    """All units of a configuration."""
    for make in CHECKS:
        yield make(config)


def _extremes(low: int, high: int, count: int, generator: torch.Generator) -> torch.Tensor:
    """``count`` numbers: runs of the lowest, the highest, the two in turn, then random ones."""
    run = count // 8
    alternating = torch.tensor([low, high]).repeat(run // 2 + 1)[:run]
    rest = torch.randint(low, high + 1, (count - 3 * run,), generator=generator)
    return torch.cat([torch.full((run,), low), torch.full((run,), high), alternating, rest])


def _unsigned(values: torch.Tensor, bits: int) -> Words:
    words: Words = (values % (1 << bits)).tolist()
    return words


def _delayed(values: Words, cycles: int, total: int) -> Expected:
    """What is seen when a value appears ``cycles`` after its cause."""
    padded: Expected = [None] * cycles + list(values)
    return padded[:total] + [None] * (total - len(padded))


def _pack(columns: list[Words], bits: int) -> Words:
    """Per cycle the lanes of an array port, lane 0 lowest."""
    return [sum(word << (bits * lane) for lane, word in enumerate(lanes))
            for lanes in zip(*columns, strict=True)]


def _pe(config: AccelConfig) -> UnitCheck:
    """One element: a new weight every few cycles, every term and sum at its extremes."""
    generator, cycles = torch.Generator().manual_seed(1), 2048
    cell, latency = config.cell_spec, Pe.latency_of(config)
    x = _extremes(*limits(config.act_bits), cycles, generator)
    swap = torch.rand(cycles, generator=generator) < 0.3
    swap[0] = True
    pick = _extremes(0, len(cell.weights) - 1, cycles, generator)[torch.arange(cycles) // 3 * 3]
    weights = torch.tensor(cell.weights)[pick]
    taken = torch.where(swap, torch.arange(cycles), 0).cummax(0).values
    # the sum above leaves room for one more term
    room = limits(config.sum_bits)[1] - cell.max_term(config.act_bits)
    above = _extremes(-room, room, cycles, generator)
    total = x[:-latency] * weights[taken][:-latency] + above[latency - 1:-1]
    return UnitCheck(
        f"pe {config.cell}", Pe(config),
        {"i_x": _unsigned(x, config.act_bits), "i_swap": swap.long().tolist(),
         "w": [cell.encode(weight) for weight in weights.tolist()],
         "i_sum": _unsigned(above, config.sum_bits)},
        {"o_sum": _delayed(_unsigned(total, config.sum_bits), latency, cycles)})


def _array(config: AccelConfig) -> UnitCheck:
    """Tiles of random length, back to back; the first are all extremes."""
    generator, tiles = torch.Generator().manual_seed(2), 24
    rows, cols, cell = config.rows, config.cols, config.cell_spec
    lengths = torch.randint(1, 30, (tiles,), generator=generator)
    tile_of = torch.repeat_interleave(torch.arange(tiles), lengths)
    steps = len(tile_of)
    x = _extremes(*limits(config.act_bits), steps * rows, generator).reshape(steps, rows)
    pick = _extremes(0, len(cell.weights) - 1, tiles * rows * cols, generator)
    weights = torch.tensor(cell.weights)[pick].reshape(tiles, rows, cols)
    sums = torch.einsum("sr,src->sc", x, weights[tile_of])
    swap = torch.cat([torch.tensor([1]), (tile_of[1:] != tile_of[:-1]).long()])
    latency = SystolicArray.latency(config)
    cycles = steps + latency + cols

    def late(values: Words, by: int) -> Words:
        return [0] * by + values + [values[-1]] * (cycles - len(values) - by)

    codes = [[[cell.encode(int(w)) for w in weights[tile_of, r, c]] for c in range(cols)]
             for r in range(rows)]
    quiet = [*swap.tolist(), 0]     # no swap behind the last step
    return UnitCheck(
        f"array {rows}x{cols} {config.cell}", SystolicArray(config),
        {"x": _pack([late(_unsigned(x[:, r], config.act_bits), r) for r in range(rows)],
                    config.act_bits),
         "swap": _pack([late(quiet, r) for r in range(rows)], 1),
         "w": _pack([late(codes[r][c], r + c) for r in range(rows) for c in range(cols)],
                    config.weight_bits)},
        {"sums": _skewed_sums(sums, config, latency, cycles)})


def _skewed_sums(sums: torch.Tensor, config: AccelConfig, latency: int, cycles: int) -> Expected:
    """The packed port in every cycle in which all columns show a step's sum."""
    steps, cols, bits = *sums.shape, config.sum_bits
    packed: Expected = []
    for cycle in range(cycles):
        lanes = [cycle - latency - col for col in range(cols)]
        if all(0 <= step < steps for step in lanes):
            packed.append(sum((int(sums[step, col]) % (1 << bits)) << (bits * col)
                              for col, step in enumerate(lanes)))
        else:
            packed.append(None)
    return packed


def _activation(config: AccelConfig) -> UnitCheck:
    """Every function on every input code; relu at the extremes of its zero point as well."""
    low, high = limits(config.act_bits)
    codes = torch.arange(low, high + 1)
    inputs: dict[str, Words] = {"i": [], "zero_point": [], "select": []}
    expected: Words = []
    for select, function in enumerate(["none", *(s.function for s in config.activation_specs)]):
        for zero_point in (low, -1, 0, high // 2, high) if function == "relu" else (0,):
            tensor = Tensor("x", (1, 1, len(codes)), 1.0, zero_point)
            out = codes
            if function != "none":
                graph = Graph("unit", tensor, (
                    Activation("f", tensor, Tensor("y", tensor.shape, 1.0, zero_point), function),))
                out = golden.run(graph, codes.reshape(1, 1, 1, -1), config)["y"].reshape(-1)
            inputs["i"] += _unsigned(codes, config.act_bits)
            inputs["zero_point"] += [zero_point % (1 << config.act_bits)] * len(codes)
            inputs["select"] += [select] * len(codes)
            expected += _unsigned(out, config.act_bits)
    names = " ".join(spec.function for spec in config.activation_specs)
    return UnitCheck(f"activation {names}", ActivationUnit(config), inputs, {"o": list(expected)})


def _requantizer(config: AccelConfig) -> UnitCheck:
    """Totals, multipliers and shifts at their extremes and around every rounding tie."""
    generator, latency = torch.Generator().manual_seed(3), Requantizer.latency
    inputs: dict[str, Words] = {name: [] for name in
                                ("acc", "bias", "multiplier", "shift", "zero_point")}
    expected: Expected = [None] * latency
    low, high = limits(config.acc_bits)
    for zero_point in (*limits(config.act_bits), -1, 0):
        count = 1024
        acc = _extremes(low, high, count, generator)
        acc[count // 2:] = torch.randint(-1 << 14, 1 << 14, (count // 2,), generator=generator)
        bias = _extremes(low, high, count, generator).roll(37)
        bias[count // 2:] = 0
        multiplier = _extremes(0, (1 << MULTIPLIER_BITS) - 1, count, generator).roll(11)
        multiplier[-count // 4:] = 1 << (MULTIPLIER_BITS - 1)   # powers of two: exact ties
        shift = torch.randint(1, 1 << SHIFT_BITS, (count,), generator=generator)
        shift[count // 2:] = torch.randint(15, 26, (count // 2,), generator=generator)
        out = golden.requantize(acc + bias, multiplier, shift, zero_point, config.act_bits)
        pause = [0] * latency       # the zero point must hold still until the last result
        inputs["acc"] += _unsigned(acc, config.acc_bits) + pause
        inputs["bias"] += _unsigned(bias, config.acc_bits) + pause
        inputs["multiplier"] += multiplier.tolist() + pause
        inputs["shift"] += shift.tolist() + [1] * latency
        inputs["zero_point"] += [zero_point % (1 << config.act_bits)] * (count + latency)
        expected += [*_unsigned(out, config.act_bits), *[None] * latency]
    cycles = len(inputs["acc"])
    return UnitCheck("requantizer", Requantizer(config), inputs, {"o": expected[:cycles]})


CHECKS: tuple[Callable[[AccelConfig], UnitCheck], ...] = (_pe, _array, _activation, _requantizer)
