"""Products in trees of carry chains: all operands of few bits, and the extremes of many."""
import random
from itertools import product

import pytest

from rtl.tree import TreeMultiplier
from sim import pysim
from sim.check import UnitCheck


def check(a_bits: int, b_bits: int, b_unsigned: bool, pairs: list[tuple[int, int]]) -> UnitCheck:
    unit = TreeMultiplier(a_bits, b_bits, b_unsigned=b_unsigned)
    words = {name: [value % (1 << bits) for value in values] for name, bits, values in (
        ("a", a_bits, (a for a, _ in pairs)), ("b", b_bits, (b for _, b in pairs)),
        ("product", a_bits + b_bits, (a * b for a, b in pairs)))}
    expected = [*[None] * unit.latency_of(a_bits, b_bits), *words.pop("product")][:len(pairs)]
    return UnitCheck("tree", unit, words, {"product": expected})


def codes(bits: int, unsigned: bool) -> range:
    return range(1 << bits) if unsigned else range(-(1 << (bits - 1)), 1 << (bits - 1))


@pytest.mark.parametrize("b_unsigned", [False, True])
@pytest.mark.parametrize(("a_bits", "b_bits"), [(2, 2), (4, 3), (3, 4), (4, 5), (2, 6), (3, 7)])
def test_every_pair(a_bits: int, b_bits: int, b_unsigned: bool) -> None:
    pairs = [*product(codes(a_bits, False), codes(b_bits, b_unsigned))]
    pairs += [(0, 0)] * TreeMultiplier.latency_of(a_bits, b_bits)
    assert pysim.mismatches(check(a_bits, b_bits, b_unsigned, pairs)) == []


@pytest.mark.parametrize(("a_bits", "b_bits", "b_unsigned"), [
    (33, 17, True), (29, 17, True), (18, 9, False), (17, 17, False), (41, 16, True)])
def test_wide_operands(a_bits: int, b_bits: int, b_unsigned: bool) -> None:
    draw = random.Random(a_bits * b_bits)
    sides = [codes(a_bits, False), codes(b_bits, b_unsigned)]
    ends = [sorted({side[0], side[0] + 1, side[-1] - 1, side[-1], side[len(side) // 3], 0, 1})
            for side in sides]
    pairs = [*product(*ends), *((draw.choice(sides[0]), draw.choice(sides[1]))
                                for _ in range(300)), *[(0, 0)] * 6]
    assert pysim.mismatches(check(a_bits, b_bits, b_unsigned, pairs)) == []


@pytest.mark.parametrize(("a_bits", "b_bits", "latency"), [
    (20, 2, 1), (20, 4, 1), (20, 5, 2), (20, 9, 2), (20, 17, 3), (21, 2, 1), (21, 9, 4),
    (33, 16, 4), (33, 17, 5)])
def test_a_register_behind_two_levels_of_narrow_adders_or_one(a_bits: int, b_bits: int,
                                                              latency: int) -> None:
    assert TreeMultiplier.latency_of(a_bits, b_bits) == latency
