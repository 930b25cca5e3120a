"""Memories: the twin and what it becomes on a device give the same words, in so many blocks."""
import random
from dataclasses import replace
from math import prod

import pytest
from amaranth.back import rtlil

from rtl.ecp5 import bram
from rtl.ecp5.target import Ecp5Target
from rtl.ice40 import spram
from rtl.ice40.target import Ice40Target
from rtl.ram import READ_LATENCY, Ram
from rtl.spram import NIBBLE_BITS, SinglePortRam
from rtl.spram import READ_LATENCY as SPRAM_LATENCY
from sim import pysim
from sim.check import UnitCheck
from sim.runner import run_bench
from tests.twins import SIMULATORS, check_on, on_simulators

Shape = tuple[int, int, int, int]   # lane bits, words, lanes, read ports
#: Every port width, several banks, lanes that share a block and lanes that do not.
SHAPES: list[Shape] = [(6, 37, 5, 1), (40, 700, 1, 2), (17, 1030, 3, 1), (8, 512, 16, 1),
                       (55, 256, 4, 1), (7, 900, 2, 1), (3, 4096, 2, 1), (2, 8192, 1, 1),
                       (1, 16384, 2, 1), (9, 3000, 1, 2), (1, 40000, 1, 1), (8, 32, 2, 2)]
#: Block RAMs that yosys 0.70 infers for these (`synth_ecp5` on the twin).
INFERRED = {(8, 512, 16, 1): 4, (32, 512, 1, 2): 2, (32, 512, 1, 1): 1, (55, 256, 4, 1): 7,
            (128, 128, 1, 1): 4, (13, 512, 1, 1): 1, (8, 1024, 4, 1): 2, (40, 700, 1, 1): 3,
            (8, 2048, 16, 1): 16, (13, 4096, 1, 1): 4, (9, 3000, 1, 1): 2, (32, 3000, 1, 1): 6,
            (8, 20000, 1, 1): 10, (8, 16, 1, 1): 0}


def make(shape: Shape) -> Ram:
    bits, depth, lanes, read_ports = shape
    return Ram(bits, depth, lanes=lanes, read_ports=read_ports)


def dp16kds(shape: Shape) -> int:
    """Blocks in what is built, all of them in the fast form."""
    text = rtlil.convert(make(shape), platform=Ecp5Target(), name="top")
    count = text.count("cell \\DP16KD ")
    assert text.count('\\REGMODE_B "OUTREG"') == count
    assert "READBEFOREWRITE" not in text
    assert "$mem" not in text or not count
    return count


def ram_check(shape: Shape, *, collide: bool = False, cycles: int = 600) -> UnitCheck:
    """Random writes and reads of few addresses, against a dictionary.

    ``collide`` also expects the old word where a read meets a write: no device keeps that.
    """
    bits, depth, lanes, read_ports = shape
    rng = random.Random(str(shape))
    addresses = [0, depth - 1, *(rng.randrange(depth) for _ in range(14))]
    words: dict[int, int] = {}
    inputs: dict[str, list[int]] = {name: [] for name in ("w_addr", "w_data", "w_en")}
    inputs |= {f"r{port}_addr": [] for port in range(read_ports)}
    expected: dict[str, list[int | None]] = {
        f"r{port}_data": [None] * READ_LATENCY for port in range(read_ports)}
    for _ in range(cycles):
        address, data = rng.choice(addresses), rng.getrandbits(bits * lanes)
        enables = rng.choice([0, (1 << lanes) - 1, rng.getrandbits(lanes)])
        for name, value in (("w_addr", address), ("w_data", data), ("w_en", enables)):
            inputs[name].append(value)
        for port in range(read_ports):
            read = rng.choice(addresses)
            inputs[f"r{port}_addr"].append(read)
            spoiled = read == address and enables and not collide
            expected[f"r{port}_data"].append(None if spoiled else words.get(read, 0))
        mask = sum(((1 << bits) - 1) << bits * lane for lane in range(lanes) if enables >> lane & 1)
        words[address] = words.get(address, 0) & ~mask | data & mask
    return UnitCheck(f"ram {shape}", make(shape), inputs,
                     {name: values[:cycles] for name, values in expected.items()})


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_twin(shape: Shape) -> None:
    assert pysim.mismatches(ram_check(shape)) == []


@pytest.mark.parametrize(("shape", "simulator"), on_simulators(
    SHAPES[:4], SHAPES[4:], [SHAPES[0], SHAPES[2], SHAPES[9]]), ids=str)
def test_ecp5_equals_twin(shape: Shape, simulator: str) -> None:
    check_on(ram_check(shape), simulator, Ecp5Target())


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_who_relies_on_a_collision_is_found(simulator: str) -> None:
    check = ram_check((8, 512, 2, 1), collide=True)
    assert pysim.mismatches(check) == []
    outcome = run_bench(check.component, "vectors", check.job, simulator=simulator,
                        platform=Ecp5Target())
    assert outcome.mismatches > 10


def test_a_lane_written_with_its_neighbour_is_found() -> None:
    check = ram_check((8, 512, 4, 1))
    enables = [0xF if word else 0 for word in check.inputs["w_en"]]
    wrong = replace(check, inputs=check.inputs | {"w_en": enables})
    assert pysim.mismatches(wrong)


def test_latency() -> None:
    assert READ_LATENCY == bram.LATENCY


@pytest.mark.parametrize("shape", INFERRED, ids=str)
def test_block_count(shape: Shape) -> None:
    """No more blocks than yosys infers, and as many as are counted."""
    assert bram.block_count(*shape) == dp16kds(shape)
    assert bram.block_count(*shape) <= INFERRED[shape]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_bit_has_one_place(shape: Shape) -> None:
    bits, depth, lanes, read_ports = shape
    layout = bram.mapping(bits, depth, lanes)
    chunks = [chunk for column in layout.columns for chunk in column]
    places = [(c.lane, bit) for c in chunks for bit in range(c.start, c.stop)]
    assert sorted(places) == [(lane, bit) for lane in range(lanes) for bit in range(bits)]
    assert all(len(column) <= max(1, layout.width // bram.BYTE_BITS) for column in layout.columns)
    assert all(c.stop - c.start <= min(layout.width, bram.BYTE_BITS) for c in chunks)
    assert layout.banks * bram.DEPTHS[layout.width] >= depth
    assert dp16kds(shape) == bram.block_count(*shape) == (
        0 if depth <= bram.LUT_RAM_DEPTH else layout.blocks * read_ports)


def test_all_port_widths_are_covered() -> None:
    layouts = [bram.mapping(bits, depth, lanes) for bits, depth, lanes, _ in SHAPES
               if depth > bram.LUT_RAM_DEPTH]
    assert {layout.width for layout in layouts} == set(bram.DEPTHS)
    assert max(layout.banks for layout in layouts) > 2


def spram_check(bits: int, depth: int, cycles: int = 600) -> UnitCheck:
    """Whole words first, for nothing else is defined, then random nibbles and reads."""
    rng = random.Random(f"{bits} {depth}")
    nibbles = -(-bits // NIBBLE_BITS)
    addresses = sorted({0, depth - 1, depth // 2, *(rng.randrange(depth) for _ in range(13))})
    words: dict[int, int] = {}
    inputs: dict[str, list[int]] = {"addr": [], "w_data": [], "w_en": []}
    expected: list[int | None] = [None] * SPRAM_LATENCY
    for cycle in range(cycles):
        first = cycle < len(addresses)
        address = addresses[cycle] if first else rng.choice(addresses)
        enables = (1 << nibbles) - 1 if first else rng.choice([0, 0, rng.getrandbits(nibbles)])
        data = rng.getrandbits(bits)
        for name, value in (("addr", address), ("w_data", data), ("w_en", enables)):
            inputs[name].append(value)
        expected.append(None if enables else words[address])
        mask = sum(0xF << NIBBLE_BITS * n for n in range(nibbles) if enables >> n & 1)
        words[address] = words.get(address, 0) & ~mask | data & mask
    return UnitCheck(f"spram {bits} x {depth}", SinglePortRam(bits, depth), inputs,
                     {"r_data": expected[:cycles]})


@pytest.mark.parametrize(("size", "simulator"), on_simulators(
    [(38, 16385)], [(16, 50), (32, 16384), (6, 60000)], [(32, 20000)]), ids=str)
def test_spram_equals_twin(size: tuple[int, int], simulator: str) -> None:
    check = spram_check(*size)
    assert pysim.mismatches(check) == []
    check_on(check, simulator, Ice40Target())


@pytest.mark.parametrize(("bits", "depth", "blocks"), [(16, 50, 1), (32, 16384, 2),
                                                       (38, 16385, 6), (6, 60000, 4)])
def test_spram_blocks(bits: int, depth: int, blocks: int) -> None:
    text = rtlil.convert(SinglePortRam(bits, depth), platform=Ice40Target(), name="top")
    assert text.count("cell \\SB_SPRAM256KA ") == blocks
    assert prod(spram.banks_and_columns(bits, depth)) == blocks
