"""Traffic of a program: by hand, against an emulator that counts what it touches, against RTL."""
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from accel import golden
from accel.compile import compile_graph
from accel.cost.cycles import steps
from accel.cost.traffic import (
    Access,
    Content,
    Count,
    Store,
    accesses,
    capacity,
    operations,
    traffic,
)
from accel.device import rtl_device
from accel.emulate import Emulator
from accel.graph import IntArray
from accel.pretrained import prepare
from accel.program import Program
from accel.spec.config import AccelConfig
from accel.spec.isa import Instruction, Isa, Opcode, Target
from accel.spec.link import Space, offset_bits, space_shape
from accel.spec.presets import PRESETS
from tests.accel.test_compile import (
    LARGE,
    NETWORKS,
    PLAIN,
    ROOMY,
    STREAMED,
    TIGHT,
    built,
    instructions,
)
from tests.configs import FIVE_BY_SEVEN, SWITCHED, TINY, TWO_BY_THREE
from tests.graphs import Layer, build, images

READ, WRITE = "read", "write"
CONFIGS = [ROOMY, STREAMED, PLAIN, TIGHT, replace(SWITCHED, name="switched", **LARGE),
           replace(FIVE_BY_SEVEN, name="packed", **LARGE),
           replace(TWO_BY_THREE, name="three-columns", **LARGE, activations=TINY.activations),
           replace(PRESETS["ecp5-shift"], name="ecp5-shift-streamed", **LARGE, weight_depth=16)]


class Watched:
    """An array or a list; counts the words that are read and written."""

    def __init__(self, memory: Any, name: str, tally: Counter[tuple[str, str]]) -> None:
        self.memory, self.name, self.tally = memory, name, tally

    def __getitem__(self, key: Any) -> Any:
        self.tally[self.name, READ] += _words(key)
        return self.memory[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        # a write to some lanes of a word is no word
        way = WRITE if not isinstance(key, tuple) or len(key) < 3 else "lanes"
        self.tally[self.name, way] += _words(key)
        self.memory[key] = value

    def __len__(self) -> int:
        return len(self.memory)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.memory, name)


def _words(key: Any) -> int:
    return int(np.size(key[1])) if isinstance(key, tuple) else 1


class Counting(Emulator):
    """Executes a GEMM tile by tile, as the array does, and counts what it and the others touch."""

    def __init__(self, config: AccelConfig) -> None:
        self.tally: Counter[tuple[str, str]] = Counter()
        super().__init__(config)

    def __setattr__(self, name: str, value: object) -> None:
        if name in {"_memory", "_act", "_out", "_acc", "_params"}:
            value = Watched(value, name, self.tally)
        super().__setattr__(name, value)

    def read_all(self, tensor: str) -> IntArray:
        before = self.tally.copy()      # the host reads
        codes = super().read_all(tensor)
        self.tally.clear()
        self.tally.update(before)
        return codes

    def _schedule(self) -> list[Instruction]:
        found = super()._schedule()
        self.tally.clear()              # so far, the host wrote
        self.tally["instructions", READ] = len(found) + 1
        return found

    def _gemm(self, **f: int) -> None:
        rounds = [(tile, group) for group in range(f["groups"]) for tile in range(f["tiles"])]
        if f["tiles_outer"]:
            rounds = [(tile, group) for tile in range(f["tiles"]) for group in range(f["groups"])]
        half = self.config.act_elements // 2
        for order, (tile, group) in enumerate(rounds):
            element = f["act_base"] + group * f["act_group_stride"]
            super()._gemm(**{
                **f, "tiles": 1, "groups": 1, "tiles_outer": 0,
                "weight_base": f["weight_base"] + order, "offset_base": f["offset_base"] + tile,
                "act_base": f["act_base"] // half * half + element % half,
                "acc_base": f["acc_base"] + group * f["acc_group_stride"],
                "accumulate": int(f["accumulate"] or tile > 0)})
            self.tally["weight rows", READ] += self.config.rows
            self.tally["offsets", READ] += 1
            self.tally["elements", READ] += f["rows"] * f["cols"] * self.config.rows

    def _load(self, **f: int) -> None:
        super()._load(**f)
        if f["target"] == Target.WEIGHT:
            self.tally["weight rows", WRITE] += f["rows"] * f["words"]


def counted(program: Program, config: AccelConfig, codes: IntArray, expected: IntArray,
            ) -> dict[tuple[Store, str], int]:
    """Bits per memory and direction, as executed; the result must be right."""
    device = Counting(config)
    device.load(program)
    np.testing.assert_array_equal(device.run(codes), expected)
    c, tally = config, device.tally
    word, acc = c.word_lanes * c.act_bits, c.cols * c.acc_bits
    lanes, row = c.vector_lanes * c.act_bits, c.cols * c.weight_bits
    _, params = space_shape(c, Space.PARAM)
    return {
        # tile rows lie in the memory too, where the emulator keeps them apart
        (Store.PORT, READ): (tally["_memory", READ] + tally["weight rows", WRITE]) * c.mem_bits,
        (Store.PORT, WRITE): tally["_memory", WRITE] * c.mem_bits,
        (Store.ACTIVATION, READ): tally["_act", READ] * word,
        (Store.ACTIVATION, WRITE): (tally["_act", WRITE] * word
                                    + tally["_act", "lanes"] * lanes) * c.rows,
        (Store.WEIGHT, READ): tally["weight rows", READ] * row,
        (Store.WEIGHT, WRITE): tally["weight rows", WRITE] * row,
        (Store.OFFSET, READ): tally["offsets", READ] * c.rows * offset_bits(c),
        (Store.ACCUMULATOR, READ): tally["_acc", READ] * acc,
        (Store.ACCUMULATOR, WRITE): tally["_acc", WRITE] * acc * 2,
        (Store.PARAM, READ): tally["_params", READ] * params,
        (Store.OUTPUT, READ): tally["_out", READ] * word,
        (Store.OUTPUT, WRITE): (tally["_out", WRITE] * word + tally["_out", "lanes"] * lanes)
        * (1 + c.residual),
        (Store.INSTRUCTION, READ): tally["instructions", READ] * Isa(c).word_bits}


def check(program: Program, config: AccelConfig, codes: IntArray, expected: IntArray) -> None:
    found = traffic(program, config)
    for (store, way), bits in counted(program, config, codes, expected).items():
        assert found.of(store, way) == bits, (store, way)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("name", ["residual blocks", "pointwise behind depthwise", "padded pool",
                                  "inverted residual", "tables", "means"])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_equals_what_the_emulator_touches(config: AccelConfig, name: str, keep: bool) -> None:
    assert name in NETWORKS
    graph = built(name, config)
    codes = images(config, graph.input.shape, 1, 3)
    program = compile_graph(graph, config, keep_tensors=keep)
    check(program, config, codes, golden.run(graph, codes, config)[program.output].numpy())


@pytest.mark.parametrize("preset", ["tiny", "tiny-shift", "ecp5"])
def test_a_network_on_a_preset(preset: str) -> None:
    config = PRESETS[preset]
    ready = prepare("lenet5-tanh", config, images=1)
    check(ready.program, config, ready.codes, ready.expected)
    found = traffic(ready.program, config, ready.graph)
    kind = Count.SHIFT if config.cell == "shift" else Count.MAC
    assert found.useful[kind] == ready.program.macs == 416_520
    assert found.executed[kind] > found.useful[kind]
    # two pooled layers of tanh, two fully connected ones, and the logits without
    tanh = 6 * 28 * 28 + 16 * 10 * 10 + 120 + 84
    assert found.useful[Count.ACTIVATION] == tanh
    assert found.useful[Count.REQUANTIZATION] == tanh + 10
    assert found.useful[Count.COMPARISON] == 2 * (tanh + 10) + 3 * (6 * 14 * 14 + 16 * 5 * 5)
    assert all(found.executed[each] >= count for each, count in found.useful.items())


def step(config: AccelConfig, opcode: Opcode, **fields: int) -> Instruction:
    """An instruction whose counts of loops are 1 and whose other fields are 0, unless given."""
    ones = {"groups", "lane_groups", "rows", "cols", "words", "tiles", "win_rows", "win_cols"}
    form = {field.name: int(field.name in ones) for field in Isa(config).formats[opcode]}
    return Instruction(opcode, {**form, **fields})


def test_a_gemm_by_hand() -> None:
    """4 x 4 elements of 8 bits, sums of 28 bits: 2 groups of 3 positions, 5 tiles each."""
    gemm = step(TINY, Opcode.GEMM, tiles=5, groups=2, cols=3)
    found = accesses(gemm, TINY)
    assert found == {
        Access(Store.ACTIVATION, READ, Content.ACTIVATION): 30 * 4 * 32,    # a word in each row
        Access(Store.WEIGHT, READ, Content.WEIGHT): 10 * 16 * 8,            # once per sweep
        Access(Store.OFFSET, READ, Content.OTHER): 10 * 4 * 12,
        Access(Store.ACCUMULATOR, READ, Content.OTHER): (30 - 6) * 4 * 28,
        Access(Store.ACCUMULATOR, WRITE, Content.OTHER): 2 * 30 * 4 * 28}
    assert operations(gemm, TINY) == {Count.MAC: 30 * 16, Count.ACCUMULATION: 24 * 4}
    again = accesses(step(TINY, Opcode.GEMM, tiles=5, groups=2, cols=3, accumulate=1), TINY)
    assert again[Access(Store.ACCUMULATOR, READ, Content.OTHER)] == 30 * 4 * 28


def test_a_load_by_hand() -> None:
    """Padding is written and not read; every row of the array has its copy."""
    load = step(TINY, Opcode.LOAD, rows=3, words=5, top=1, left=1, right=2)
    assert accesses(load, TINY) == {
        Access(Store.PORT, READ, Content.ACTIVATION): 15 * 32,
        Access(Store.ACTIVATION, WRITE, Content.ACTIVATION): 4 * 8 * 32 * 4}


@pytest.mark.parametrize(("distance", "kind"), [(0, Count.SHIFT), (1, Count.DISTANCE)])
def test_what_a_switched_array_computes(distance: int, kind: Count) -> None:
    gemm = step(SWITCHED, Opcode.GEMM, cols=7, distance=distance)
    assert operations(gemm, SWITCHED)[kind] == 7 * 3 * 4


def test_idle_lanes_are_not_useful() -> None:
    """5 channels on 4 columns with 2 lanes: 2 groups, the second with one channel of 2 lanes."""
    graph = build(ROOMY, (2, 5, 4), [Layer(5, (3, 3), activation="relu")], seed=1)
    found = traffic(compile_graph(graph, ROOMY), ROOMY, graph)
    assert found.useful[Count.REQUANTIZATION] == 5 * 3 * 2
    assert found.executed[Count.REQUANTIZATION] in {6 * 3 * 2, 8 * 3 * 2}
    assert found.useful[Count.MAC] == graph.macs == 5 * 18 * 6


def test_means_add_up_though_they_are_no_macs() -> None:
    graph = built("means", ROOMY)
    program = compile_graph(graph, ROOMY)
    without, found = traffic(program, ROOMY), traffic(program, ROOMY, graph)
    assert without.useful[Count.MAC] == program.macs < found.useful[Count.MAC]
    assert found.executed == without.executed


def test_nothing_behind_finish_counts() -> None:
    graph = build(ROOMY, (2, 5, 4), [Layer(3)], seed=1)
    program = compile_graph(graph, ROOMY)
    longer = replace(program, images=tuple(
        replace(image, words=(*image.words, image.words[0]))
        if image.space == Space.INSTRUCTION else image for image in program.images))
    assert traffic(longer, ROOMY) == traffic(program, ROOMY)


@pytest.mark.parametrize(("store", "bits"), [
    (Store.ACTIVATION, 512 * 4 * 8), (Store.WEIGHT, 1024 * 4 * 8), (Store.ACCUMULATOR, 512 * 32),
    (Store.OUTPUT, 512 * 128), (Store.PORT, 4096 * 128), (Store.OFFSET, 256 * 9 * 13)])
def test_sizes_of_single_memories(store: Store, bits: int) -> None:
    assert capacity(store, PRESETS["ecp5"]) == bits


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["tiny", "ecp5"])
def test_the_memory_port_equals_the_counters_of_the_rtl(preset: str) -> None:
    config = PRESETS[preset]
    ready, device = prepare("lenet5-tanh", config, images=1), rtl_device(config)
    device.load(ready.program)
    assert (device.run(ready.codes) == ready.expected).all()
    found = traffic(ready.program, config)
    assert device.counters["store_busy"] * config.mem_bits == found.of(Store.PORT, WRITE)
    # a LOAD counts what it writes: what it read, and padding
    program = instructions(ready.program, config)
    padding = sum(steps(each, config) - each.fields["rows"] * each.fields["words"]
                  for each in program if each.opcode == Opcode.LOAD)
    assert (device.counters["load_busy"] - padding) * config.mem_bits == found.of(Store.PORT, READ)
    # steps of the array: each reads a word in every row
    assert device.counters["gemm_busy"] * config.rows * config.word_lanes * config.act_bits == (
        found.of(Store.ACTIVATION, READ))
