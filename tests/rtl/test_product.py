"""Products of a signed and an unsigned number: extremes and random ones, in slices and in LUTs."""
import random
from itertools import product

import pytest

from accel.spec.numerics import limits
from rtl.product import Product
from sim import pysim
from sim.check import UnitCheck


def check(a_bits: int, b_bits: int, in_luts: bool) -> UnitCheck:
    draw, (low, high) = random.Random(a_bits * b_bits), limits(a_bits)
    most = (1 << b_bits) - 1
    pairs = [*product((low, low + 1, -1, 0, 1, high), (0, 1, most >> 1, (most >> 1) + 1, most)),
             *((draw.randint(low, high), draw.randint(0, most)) for _ in range(200))]
    unit = Product(a_bits, b_bits, in_luts=in_luts)
    words = {"a": [a % (1 << a_bits) for a, _ in pairs], "b": [b for _, b in pairs]}
    expected = [*[None] * unit.latency, *(a * b % (1 << (a_bits + b_bits)) for a, b in pairs)]
    return UnitCheck("product", unit, words, {"product": expected[:len(pairs)]})


@pytest.mark.parametrize("in_luts", [False, True], ids=["slices", "luts"])
@pytest.mark.parametrize(("a_bits", "b_bits"), [
    (9, 16), (18, 17), (19, 17), (33, 17), (9, 31), (18, 18), (3, 31), (30, 31), (33, 31)])
def test_equals_arithmetic(a_bits: int, b_bits: int, in_luts: bool) -> None:
    assert pysim.mismatches(check(a_bits, b_bits, in_luts)) == []


@pytest.mark.parametrize(("a_bits", "b_bits", "latency"), [
    (9, 16, 3), (18, 17, 3), (19, 17, 4), (9, 31, 4), (33, 31, 5)])
def test_cycles_in_slices(a_bits: int, b_bits: int, latency: int) -> None:
    assert Product.latency_of(a_bits, b_bits, in_luts=False) == latency
