"""The model of cycles: by hand, by what must hold of any schedule, and against the RTL."""
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from accel.compile import compile_graph
from accel.cost.cycles import (
    ACCUMULATE_GAP,
    ENTRY,
    FETCH,
    GAP,
    QUEUE,
    START,
    TOKEN,
    TRAVEL,
    latencies,
    simulate,
    steps,
)
from accel.cost.layers import layer_costs, total_cycles
from accel.cost.plain import plain_cycles
from accel.device import DeviceError
from accel.graph import Conv2d, IntArray, Tensor
from accel.host import converse, infer, read_counters, write_words
from accel.pretrained import prepare
from accel.program import Program
from accel.spec.config import AccelConfig
from accel.spec.isa import UNIT_OF, Instruction, Isa, Opcode, Unit
from accel.spec.link import Space
from accel.spec.presets import PRESETS
from sim.native import NativeDevice
from tests.accel.test_compile import NETWORKS, PLAIN, ROOMY, STREAMED, TIGHT, built, instructions

ECP5 = PRESETS["ecp5"]
CONFIGS = [ROOMY, STREAMED, PLAIN, TIGHT]


def step(opcode: Opcode, *tokens: str, **fields: int) -> Instruction:
    """An instruction whose counts of loops are 1 and whose other fields are 0, unless given."""
    ones = {"groups", "lane_groups", "rows", "cols", "words", "tiles", "win_rows", "win_cols"}
    form = {field.name: int(field.name in ones) for field in Isa(ECP5).formats[opcode]}
    return Instruction(opcode, {**form, **fields}, frozenset(tokens))


@pytest.mark.parametrize(("instruction", "cycles"), [
    (step(Opcode.LOAD), 1), (step(Opcode.LOAD, rows=3, words=5), 15),
    (step(Opcode.LOAD, rows=3, words=5, top=1, bottom=2, left=1, right=4), 60),
    (step(Opcode.LOAD, rows=0, words=0, top=2, left=7), 14), (step(Opcode.LOAD, rows=0), 0),
    (step(Opcode.STORE, rows=6, words=2), 12), (step(Opcode.STORE, rows=0), 0),
    (step(Opcode.GEMM), 1), (step(Opcode.GEMM, tiles=7), 7),
    (step(Opcode.GEMM, tiles=7, groups=3), 21),
    (step(Opcode.GEMM, rows=2, cols=3, tiles=4, groups=2), 48),
    # accumulators used again before 5 steps have passed: a pause in front of each further tile
    (step(Opcode.GEMM, cols=3, tiles=4), 12 + 3 * 2),
    (step(Opcode.GEMM, cols=3, tiles=4, groups=2), 24 + 2 * 3 * 2),
    (step(Opcode.GEMM, cols=3, tiles=4, groups=2, tiles_outer=1), 24),
    (step(Opcode.GEMM, cols=2, tiles=4, groups=2, tiles_outer=1), 16 + 3),
    (step(Opcode.GEMM, cols=4, groups=9), 36),
    (step(Opcode.VECTOR, rows=2, cols=5, groups=3), 12 * 4 - 12 + 3 * 2 - 12),
    (step(Opcode.VECTOR, rows=4, cols=5, groups=3), 60),
    (step(Opcode.VECTOR, rows=4, cols=5, win_rows=2, win_cols=3), 120),
    # 8 lanes take their parameters in 2 words, so 2 cycles pass at least from set to set
    (step(Opcode.VECTOR), 1), (step(Opcode.VECTOR, groups=5), 4 * 2 + 1),
    (step(Opcode.VECTOR, groups=5, cols=3), 15)], ids=str)
def test_steps_by_hand(instruction: Instruction, cycles: int) -> None:
    assert steps(instruction, ECP5) == cycles
    (span,) = simulate([instruction], ECP5)
    assert span.start == ENTRY + FETCH + TRAVEL + START[UNIT_OF[instruction.opcode]]
    assert span.end - span.start == cycles


def test_what_an_instruction_waits_for() -> None:
    """Fetching, its own unit, a token; and a queue that is full holds the others up."""
    long = step(Opcode.GEMM, "push_next", rows=10, cols=10)
    first, second, vector = simulate([long, long, step(Opcode.VECTOR, "pop_prev")], ECP5)
    assert first.held_by is None
    assert (second.start, second.held_by) == (first.end + GAP[Unit.GEMM], Unit.GEMM)
    assert first.landed == first.end + latencies(ECP5)[Unit.GEMM]
    assert (vector.start, vector.held_by) == (
        first.landed + TOKEN[Unit.VECTOR], Unit.GEMM)

    load = step(Opcode.LOAD, rows=9, words=100)
    *loads, gemm = simulate([load] * (QUEUE + 3) + [step(Opcode.GEMM)], ECP5)
    assert gemm.start > loads[2].start
    assert gemm.start - loads[2].start < 30
    for acc_base, pause in ((0, GAP[Unit.GEMM]), (98, ACCUMULATE_GAP), (99, ACCUMULATE_GAP),
                            (100, GAP[Unit.GEMM])):
        sums = simulate([long, step(Opcode.GEMM, accumulate=1, acc_base=acc_base)], ECP5)
        assert sums[1].start == sums[0].end + pause


@pytest.mark.parametrize(("changes", "tiles", "positions"), [
    ({}, 4 * 2, 42),                                            # 36 products, 20 channels
    ({"groups": 4, "weight": (20, 1, 3, 3)}, 4, 42),            # a group's taps fill the rows
    ({"groups": 20, "weight": (20, 1, 2, 2)}, 10, 42),          # two groups beside each other
    ({"output": (20, 1, 1), "weight": (20, 64, 1, 1)}, 8 * 2, 9)], ids=str)
def test_a_plain_array_by_hand(changes: dict[str, Any], tiles: int, positions: int) -> None:
    shapes = {"weight": (20, 4, 3, 3), "output": (20, 6, 7)} | changes
    source, output = (Tensor(name, shapes["output"], 1.0, 0) for name in ("x", "y"))
    zeros = np.zeros(20, np.int64)
    conv = Conv2d("conv", source, output, np.zeros(shapes["weight"], np.int64), zeros, zeros,
                  zeros, groups=changes.get("groups", 1))
    latency = latencies(ECP5)
    assert plain_cycles(conv, ECP5) == (tiles * positions + latency[Unit.GEMM]
                                        + latency[Unit.VECTOR])


def test_nothing_behind_finish_counts() -> None:
    program = [step(Opcode.GEMM), Instruction(Opcode.FINISH, {}), step(Opcode.GEMM)]
    assert len(simulate(program, ECP5)) == 1


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_any_program(config: AccelConfig, name: str) -> None:
    """Units one instruction at a time, tokens before those who take them, layers add up."""
    graph = built(name, config)
    program = compile_graph(graph, config)
    spans = simulate(instructions(program, config), config)
    assert len(spans) == len(program.instructions()) - 1
    tokens: dict[tuple[Unit, Unit], list[int]] = {}
    ends = dict.fromkeys(Unit, 0)
    for index, span in enumerate(spans):
        unit = UNIT_OF[span.instruction.opcode]
        assert span.start >= max(ends[unit], FETCH * (index + 1))
        waited = span.end - span.start - steps(span.instruction, config)
        assert waited == 0 or (waited > 0 and span.instruction.opcode == Opcode.LOAD)
        assert span.landed == span.end + latencies(config)[unit]
        ends[unit] = span.end
        for flag in span.instruction.tokens:
            verb, side = flag.split("_")
            other = unit.neighbour(1 if side == "next" else -1)
            if verb == "pop":
                assert tokens[other, unit].pop(0) < span.start
            else:
                tokens.setdefault((unit, other), []).append(span.landed)
    assert not any(tokens.values())
    adds_up(program, config)


def adds_up(program: Program, config: AccelConfig) -> None:
    rows = layer_costs(program, config)
    assert [row.name for row in rows] == [layer.name for layer in program.layers]
    assert sum(row.cycles for row in rows) == total_cycles(program, config)
    assert sum(row.macs for row in rows) == program.macs
    moved: Counter[Opcode] = Counter()
    for each in instructions(program, config):
        if each.opcode in (Opcode.LOAD, Opcode.STORE):
            moved[each.opcode] += each.fields["rows"] * each.fields["words"]
    size = config.mem_bits // 8
    assert sum(row.bytes_read for row in rows) == moved[Opcode.LOAD] * size
    assert sum(row.bytes_written for row in rows) == moved[Opcode.STORE] * size
    for row in rows:
        assert row.cycles > 0
        assert row.bound in {"compute", "weights", "input", "output", "fetch"}
        assert row.utilisation == row.macs / (row.cycles * config.rows * config.cols) < 1


def test_what_binds_a_layer() -> None:
    """A long convolution computes; a fully connected layer waits for weights from memory."""
    ready = prepare("lenet5-tanh", ECP5, images=1)
    rows = {row.name: row for row in layer_costs(ready.program, ECP5)}
    assert max(rows.values(), key=lambda row: row.utilisation).bound == "compute"
    streamed = replace(ECP5, name="streamed", weight_depth=64, mem_depth=8192)
    again = layer_costs(prepare("lenet5-tanh", streamed, images=1).program, streamed)
    assert {row.bound for row in again} >= {"weights"}
    assert sum(row.bytes_read for row in again) > sum(row.bytes_read for row in rows.values())


#: Networks that are simulated, and on which presets.
MEASURED = [("lenet5-tanh", "ecp5"), ("lenet5-selu", "ecp5"), ("resnet8", "ecp5"),
            ("ds_cnn", "ecp5-mem"), ("mobilenet", "ecp5-mem"), ("mlp", "ecp5-dense"),
            ("autoencoder", "ecp5-dense")]


@pytest.mark.slow
@pytest.mark.parametrize(("network", "name"), MEASURED, ids=["-".join(pair) for pair in MEASURED])
def test_every_layer_takes_as_long_on_the_rtl(network: str, name: str) -> None:
    config = PRESETS[name]
    ready, device = prepare(network, config, images=1), NativeDevice(config)
    device.load(ready.program)
    for measured, modelled in zip(*layer_ends(device, ready.program, ready.codes[0]), strict=True):
        assert abs(modelled - measured) <= max(2, 0.02 * measured)
    assert (device.run(ready.codes) == ready.expected).all()
    measured, modelled = device.counters["cycles"], total_cycles(ready.program, config)
    assert abs(modelled / measured - 1) < 0.005, (modelled, measured)
    program = instructions(ready.program, config)
    for opcode in (Opcode.LOAD, Opcode.STORE):
        assert device.counters[f"{opcode.name.lower()}_busy"] == sum(
            steps(each, config) for each in program if each.opcode == opcode)


def layer_ends(device: NativeDevice, program: Program, codes: IntArray,
               ) -> tuple[list[int], list[int]]:
    """Cycles that each layer adds: on the RTL, whose program ends behind it, and by the model."""
    config, words = device.config, program.instructions()
    finish = Isa(config).encode(Instruction(Opcode.FINISH, {}))
    measured, modelled = [0], [0]
    for layer in range(len(program.layers)):
        behind = 1 + max(index for index, owner in enumerate(program.owners) if owner == layer)
        converse(write_words(config, Space.INSTRUCTION, behind, [finish]), device.exchange)
        # tokens for instructions that do not come are left over, and no other fault is
        with nullcontext() if behind == len(words) - 1 else pytest.raises(
                DeviceError, match=f"stopped at instruction {behind}: BAD_TOKENS"):
            converse(infer(program, config, codes), device.exchange)
        measured.append(int(converse(read_counters(config), device.exchange)[0]))
        modelled.append(max(span.landed for span in simulate(
            instructions(program, config)[:behind], config)))
        converse(write_words(config, Space.INSTRUCTION, behind, [words[behind]]), device.exchange)
    return np.diff(measured).tolist(), np.diff(modelled).tolist()
