"""LUT networks: evaluation, measures, records, and what the builder makes."""
import itertools
import random

import pytest

from accel.circuits.network import Builder, Lut, Network


def test_evaluate_and_measures() -> None:
    """A full adder and a constant: y0 the sum, y1 the carry, y2 one."""
    network = Network(3, (Lut((0, 1, 2), 0b10010110), Lut((0, 1, 2), 0b11101000), Lut((), 1)),
                      (3, 4, 5))
    assert network.table() == tuple(4 + bin(code).count("1") for code in range(8))
    assert (network.lut4, network.levels) == (2, 1)
    assert Network.from_record(network.record()) == network


def test_levels_count_the_longest_way() -> None:
    network = Network(2, (Lut((0, 1), 8), Lut((2, 0), 6), Lut((), 0)), (3, 1, 4))
    assert network.levels == 2
    assert Network(2, (), (0,)).levels == 0


@pytest.mark.parametrize("inputs", [1, 4, 5, 7])
def test_table(inputs: int) -> None:
    rng = random.Random(inputs)
    words = [rng.randrange(32) for _ in range(1 << inputs)]
    builder = Builder(inputs)
    network = builder.network(builder.table(words, builder.inputs, 5))
    assert network.table() == tuple(words)
    assert all(len(lut.fanins) <= 4 for lut in network.luts)
    assert network.narrowed().table() == tuple(words)
    assert all(len(lut.fanins) <= 2 for lut in network.narrowed().luts)


def test_add_wraps() -> None:
    builder = Builder(6)
    network = builder.network(builder.add(builder.inputs[:3], builder.inputs[3:]))
    for a, b in itertools.product(range(8), repeat=2):
        assert network.evaluate(a | b << 3) == (a + b) % 8


def test_equal_luts_are_made_once() -> None:
    builder = Builder(5)
    assert len(set(builder.table([0b101 * (code % 2) for code in range(32)],
                                 builder.inputs, 3))) == 2


def test_gates_count_an_exclusive_or_twice() -> None:
    network = Network(2, (Lut((0, 1), 0b0110), Lut((0, 1), 0b0001), Lut((0,), 0b01)), (2, 3, 4))
    assert network.gates == 3
