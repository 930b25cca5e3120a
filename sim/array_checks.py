"""Elements and whole arrays, and what torch says that they add up."""
from collections.abc import Callable

import torch

from accel.spec.array import ArraySpec
from accel.spec.cells import OFF, Operation
from accel.spec.numerics import limits
from rtl.array import SystolicArray
from rtl.pe import Pe
from sim.check import Expected, UnitCheck, Words, delayed, extremes, flags, pack, unsigned

#: Share of the random weights that are switched off.
OFF_SHARE = 0.1


def _weights(spec: ArraySpec, count: int, generator: torch.Generator,
             ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Codes, values and whether they count, ``(operations, count)``; first the extremes."""
    operations = spec.cell.operations
    codes, values, counts = (torch.zeros(len(operations), count, dtype=torch.int64)
                             for _ in range(3))
    for row, operation in enumerate(operations):
        known = spec.cell.weights_of(operation)
        pick = extremes(0, len(known) - 1, count, generator)
        values[row] = torch.tensor(known)[pick]
        codes[row] = torch.tensor([spec.cell.encode(int(v), operation) for v in values[row]])
        off = torch.rand(count, generator=generator) < OFF_SHARE
        off[:count // 2] = False
        counts[row] = ~off
        codes[row][off] = OFF
    return codes, values, counts


def _terms(spec: ArraySpec, distance: torch.Tensor, x: torch.Tensor, values: torch.Tensor,
           counts: torch.Tensor) -> torch.Tensor:
    """What the elements add, in torch; ``values`` are of the operation that is on."""
    always = spec.cell.operations == (Operation.DISTANCE,)
    return torch.where(distance.bool() | always, -(x - values).abs(), x * values) * counts


def pe_check(spec: ArraySpec) -> UnitCheck:
    """One element: a new weight every few cycles, every term and sum at its extremes."""
    generator, cycles, latency = torch.Generator().manual_seed(1), 2048, Pe.latency_of(spec)
    x = extremes(*limits(spec.act_bits), cycles, generator)
    swap = torch.rand(cycles, generator=generator) < 0.3
    swap[0] = True
    taken = torch.where(swap, torch.arange(cycles), 0).cummax(0).values
    distance = flags(cycles, generator) * spec.switched
    now = torch.arange(cycles)
    inputs = {"i_x": unsigned(x, spec.act_bits), "i_swap": swap.long().tolist()}
    if spec.switched:
        inputs["i_distance"] = distance.tolist()
    if spec.depthwise:
        lane = extremes(*limits(spec.act_bits), cycles, generator).roll(5)
        own = flags(cycles, generator)
        inputs |= {"lane": unsigned(lane, spec.act_bits), "i_depthwise": own.tolist()}
        x = torch.where(own.bool(), lane, x)
    # the sum above leaves room for one more term
    room = limits(spec.sum_bits)[1] - spec.cell.max_term(spec.act_bits)
    words, sums, above_words = [], [], []
    for _ in range(spec.span):
        codes, values, counts = _weights(spec, cycles, generator)
        chosen = codes[distance, now]
        terms = _terms(spec, distance[taken], x, values[distance, now][taken],
                       counts[distance, now][taken])
        above = extremes(-room, room, cycles, generator)
        words.append(chosen.tolist())
        above_words.append(unsigned(above, spec.sum_bits))
        sums.append(unsigned(terms[:-latency] + above[latency - 1:-1], spec.sum_bits))
    inputs |= {"w": pack(words, spec.cell.weight_bits),
               "i_sum": pack(above_words, spec.sum_bits)}
    return UnitCheck(f"pe {_name(spec)}", Pe(spec), inputs,
                     {"o_sum": delayed(pack(sums, spec.sum_bits), latency, cycles)})


def array_check(spec: ArraySpec) -> UnitCheck:
    """Tiles of random length, back to back; the first are all extremes."""
    generator, tiles = torch.Generator().manual_seed(2), 24
    rows, cols, latency = spec.rows, spec.cols, SystolicArray.latency_of(spec)
    lengths = torch.randint(1, 30, (tiles,), generator=generator)
    tile_of = torch.repeat_interleave(torch.arange(tiles), lengths)
    steps = len(tile_of)
    x = extremes(*limits(spec.act_bits), steps * rows, generator).reshape(steps, rows)
    # every operation in turn, the first tiles (the extremes) under each
    distance = (torch.arange(tiles) % 2) * spec.switched
    codes, values, counts = (each.reshape(-1, tiles, rows, cols)[distance, torch.arange(tiles)]
                             for each in _weights(spec, tiles * rows * cols, generator))
    taken, own = x[:, :, None], torch.zeros(steps, dtype=torch.int64)
    lanes = torch.zeros(steps, rows, cols, dtype=torch.int64)
    if spec.depthwise:      # every other step, at random
        own = flags(steps, generator)
        lanes = extremes(*limits(spec.act_bits), lanes.numel(), generator).reshape(lanes.shape)
        taken = torch.where(own[:, None, None].bool(), lanes, taken)
    sums = _terms(spec, distance[tile_of, None, None], taken, values[tile_of],
                  counts[tile_of]).sum(1)
    swap = torch.cat([torch.tensor([1]), (tile_of[1:] != tile_of[:-1]).long()])
    cycles = steps + latency + cols

    def late(values: Words, by: int) -> Words:
        return [0] * by + values + [values[-1]] * (cycles - len(values) - by)

    def rowwise(columns: Callable[[int], Words], bits: int) -> Words:
        return pack([late(columns(r), spec.row_delay(r)) for r in range(rows)], bits)

    quiet = [*swap.tolist(), 0]     # no swap behind the last step
    inputs = {
        "x": rowwise(lambda r: unsigned(x[:, r], spec.act_bits), spec.act_bits),
        "swap": rowwise(lambda r: quiet, 1),
        # an element of several columns takes all its weights with its first column
        "w": pack([late(codes[tile_of, r, c].tolist(), spec.row_delay(r) + spec.x_delay(c))
                    for r in range(rows) for c in range(cols)], spec.cell.weight_bits)}
    if spec.switched:
        inputs["distance"] = rowwise(lambda r: distance[tile_of].tolist(), 1)
    if spec.depthwise:
        inputs["depthwise"] = rowwise(lambda r: own.tolist(), 1)
        inputs["lanes"] = pack([late(unsigned(lanes[:, r, c], spec.act_bits),
                                      spec.row_delay(r) + spec.x_delay(c))
                                 for r in range(rows) for c in range(cols)], spec.act_bits)
    return UnitCheck(f"array {rows}x{cols} {_name(spec)}", SystolicArray(spec), inputs,
                     {"sums": _skewed_sums(sums, spec, latency, cycles)})


def _name(spec: ArraySpec) -> str:
    kind = spec.cell.kind + (f" {spec.multiplier}" if spec.cell.kind == "mac" else "")
    lanes = " depthwise" if spec.depthwise else ""
    return f"{kind} {spec.act_bits} x {spec.cell.weight_bits} bit{lanes}"


def _skewed_sums(sums: torch.Tensor, spec: ArraySpec, latency: int, cycles: int) -> Expected:
    """The packed port in every cycle in which all columns show a step's sum."""
    steps, cols, bits = *sums.shape, spec.sum_bits
    packed: Expected = []
    for cycle in range(cycles):
        lanes = [cycle - latency - spec.col_delay(col) for col in range(cols)]
        if all(0 <= step < steps for step in lanes):
            packed.append(sum((int(sums[step, col]) % (1 << bits)) << (bits * col)
                              for col, step in enumerate(lanes)))
        else:
            packed.append(None)
    return packed
