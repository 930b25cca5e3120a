"""Requantizer and addition against numerics, however they round and scale.

Extremes, every shift, ties, and every multiplier that is a sum of powers of two.
"""
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise, product

import pytest
from amaranth.hdl import Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.spec import numerics
from accel.spec.config import AccelConfig
from accel.spec.numerics import ROUNDINGS, limits, saturate
from accel.spec.presets import PRESETS
from accel.spec.scales import SUMMAND_EXPONENT_MAX, TERM_BITS, Scales
from rtl.adder import SIDES
from rtl.arith import saturate as saturated
from rtl.ecp5.target import Ecp5Target
from rtl.params import param_layout
from rtl.product import Product
from rtl.scaling import scaling
from rtl.term_product import PowerProduct, TermProduct
from rtl.tflite import HighMultiply
from sim import pysim
from sim.check import UnitCheck
from sim.lane_checks import stored
from sim.runner import simulators
from tests.configs import NARROW, ONE_BY_ONE, TINY
from tests.twins import check_on

#: Multipliers in slices and in carry chains, narrow and as wide as TensorFlow Lite's.
SHAPES = [replace(TINY, name="slices", acc_bits=32),
          replace(PRESETS["tiny-shift"], name="luts", acc_bits=32, cols=8, vector_lanes=8,
                  scale_terms=0),
          replace(NARROW, acc_bits=9), replace(ONE_BY_ONE, name="odd", act_bits=5, acc_bits=21)]
CONFIGS = [replace(config, name=f"{config.name}-{rounding}", rounding=rounding)
           for config in SHAPES for rounding in ROUNDINGS]
#: Multipliers of either sign, and such that are sums of powers of two.
DISTANCES = {"cell": "add", "weight_bits": 9, "multiplier": "dsp"}
SIGNED = [replace(shape, name=f"{shape.name}-signed", **DISTANCES) for shape in SHAPES[:2]]
SUMS = [replace(config, name=f"{config.name}-{terms}-terms", scale_terms=terms)
        for terms in (1, 2, 3) for config in (SHAPES[0], *SHAPES[2:], SIGNED[0])]

Step = dict[str, int]


def aligned(values: Sequence[int], bits: int, stage: int) -> list[int]:
    """Words of ``bits`` bits, ``stage`` cycles late."""
    return [*[0] * stage, *(value % (1 << bits) for value in values)][:len(values)]


def unit_check(unit: wiring.Component, steps: Sequence[Step], stages: dict[str, int],
               wanted: Sequence[int], latency: int) -> UnitCheck:
    """Inputs of each step, those in ``stages`` so many cycles behind the others."""
    steps = [*steps, *[dict.fromkeys(steps[0], 0)] * latency]
    words = {name: aligned([step[name] for step in steps], len(Value.cast(getattr(unit, name))),
                           stages.get(name, 0)) for name in steps[0]}
    bits = len(unit.o)
    seen = [*[None] * latency, *(value % (1 << bits) for value in wanted), None]
    return UnitCheck("scaling", unit, words, {"o": seen[:len(steps)]})


# --- the requantizer ----------------------------------------------------------------------------
def near(total: float, ends: Sequence[int], rng: random.Random) -> int:
    """A total between ``ends`` close to one, and mostly at it."""
    return max(ends[0], min(ends[-1], round(total) + rng.choice((-2, -1, 0, 0, 0, 0, 1, 2))))


def totals(config: AccelConfig, rng: random.Random) -> Iterator[tuple[int, int, int]]:
    """Totals (one bit wider than an accumulator), multipliers and shifts."""
    one, most = 1 << (config.scales.magnitude_bits - 1), (1 << config.scales.magnitude_bits) - 1
    extremes, known = (0, 1, one, most), []
    if config.scale_terms:
        known = list(config.scales.codes)
        extremes, one, most = (min(known), one, max(known)), min(known), max(known)
    largest_shift = (1 << numerics.SHIFT_BITS) - 1 - (config.rounding == "tflite")
    low, high = (2 * limit for limit in limits(config.acc_bits))
    ends = (low, low + 1, -1, 0, 1, high)
    for shift in range(1, largest_shift + 1):
        yield from ((end, multiplier, shift) for end, multiplier in product(
            ends, extremes))
        several = known or (one, one, most, one + 1, rng.randint(one, most), rng.randint(1, most))
        for multiplier in several:
            for _ in range(max(1, 48 // len(several))):     # results inside the range, and halves
                result = rng.randint(*limits(config.act_bits + 2)) / 2
                yield near(result * 2.0 ** shift / multiplier, ends, rng), multiplier, shift


def parts(total: int, bits: int, rng: random.Random, reserve: int) -> tuple[int, int]:
    """Accumulator and bias of ``bits`` bits with that sum; no bias among the ``reserve`` least."""
    low, high = limits(bits)
    acc = rng.randint(max(low, total - high), min(high, total - low - reserve))
    return acc, total - acc


def requantizer_check(config: AccelConfig) -> UnitCheck:
    rng = random.Random(config.name)
    kind, steps, wanted = scaling(config).requantizer, [], []
    for total, multiplier, shift in totals(config, rng):
        reserve = 0
        if config.scales.signed and rng.random() < 0.5:     # then 1 - bias must fit
            multiplier, reserve = -multiplier, 2
            total = max(total, 2 * limits(config.acc_bits)[0] + reserve)
        acc, bias = parts(total, config.acc_bits, rng, reserve)
        zero_point = rng.choice((*limits(config.act_bits), 0, -1))
        steps.append({"acc": acc, **stored(config, bias, multiplier, shift),
                      "zero_point": zero_point})
        wanted.append(numerics.requantize(total, multiplier, shift, zero_point, config.act_bits,
                                          config.rounding))
    assert len(set(wanted)) > 0.9 * (1 << config.act_bits)
    return unit_check(kind(config), steps, {"zero_point": kind.zero_point_stage(config)}, wanted,
                      kind.latency_of(config))


# --- the addition -------------------------------------------------------------------------------
class Saturated(wiring.Component):
    """An addition as its user sees it: what is far outside of the range is only known to be."""

    def __init__(self, unit: wiring.Component, bits: int) -> None:
        self.unit, self.inputs = unit, [
            name for name, member in unit.signature.members.items() if member.flow is In]
        super().__init__({**{name: unit.signature.members[name] for name in self.inputs},
                          "o": Out(bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.unit = self.unit
        m.d.comb += [getattr(self.unit, name).eq(getattr(self, name)) for name in self.inputs]
        m.d.comb += self.o.eq(saturated(self.unit.o, len(self.o)))
        return m


def factors(config: AccelConfig, rng: random.Random,
            ) -> tuple[tuple[int, int], tuple[int, int], int, int]:
    """Multipliers and shifts of the summands, multiplier and shift of the sum."""
    if config.scale_terms:
        one, two = (rng.choice((0, *(1 << power for power in range(SUMMAND_EXPONENT_MAX + 1))))
                    for _ in SIDES)
        return (one, two), (0, 0), 1, rng.choice((*range(1, 11), numerics.ADD_MAX_SHIFT))
    if config.rounding == "single":
        most = (1 << numerics.ADD_MULTIPLIER_BITS) - 1
        one, two = (rng.choice((0, 1, 1 << 14, 1 << 15, most, rng.randint(0, most)))
                    for _ in SIDES)
        return (one, two), (0, 0), 1, rng.choice((1, 14, 15, 16, 17, 18, numerics.ADD_MAX_SHIFT))
    most = (1 << numerics.TFLITE_MULTIPLIER_BITS) - 1
    one, two, last = (rng.choice((0, 1, 1 << 30, 1 << 30, most, rng.randint(1 << 30, most)))
                      for _ in range(3))
    first, second = (rng.choice((31, 31, 32, 33, 40, 51, 61, 62, rng.randint(31, 62)))
                     for _ in SIDES)
    around = 50 - min(first, second) + 31     # what brings the larger summand into the range
    return (one, two), (first, second), last, rng.choice(
        (31, 62, *(max(31, min(62, around + change)) for change in (-2, -1, -1, 0, 0, 1))))


def summed(config: AccelConfig, codes: tuple[int, int], zero_points: tuple[int, int],
           zero_point: int, rng: random.Random) -> tuple[Step, int]:
    """Inputs of one addition, by the names of instruction fields, and its result."""
    multipliers, shifts, multiplier, shift = factors(config, rng)
    step = {"add_multiplier": multiplier, "add_shift": shift, "drop": shift - 1,
            "zero_point": zero_point}
    for side, code, zero, scale, by in zip(SIDES, codes, zero_points, multipliers, shifts,
                                           strict=True):
        step |= {side: code, f"{side}_zero_point": zero, f"{side}_shift": by,
                 f"{side}_multiplier": config.scales.encode_summand(scale)}
    return step, numerics.add(codes, zero_points, multipliers, shifts, multiplier, shift,
                              zero_point, config.act_bits, config.rounding)


def summand_words(config: AccelConfig, steps: Sequence[Step]) -> list[int]:
    """Zero points come with the summands, multipliers a cycle behind them: one more word."""
    layout = scaling(config).addition.constants(config)["summands"]
    words = []
    for before, step in pairwise([steps[0], *steps, steps[-1]]):
        word = 0
        for name, field in layout:
            value = (before if name.endswith("multiplier") else step)[name]
            word |= (value % (1 << field.width)) << field.offset
        words.append(word)
    return words


def addition_check(config: AccelConfig) -> UnitCheck:
    rng, kind = random.Random(config.name), scaling(config).addition
    low, high = limits(config.act_bits)
    steps, wanted = [], []

    def code() -> int:
        return rng.choice((low, high, 0, -1, rng.randint(low, high), rng.randint(low, high)))

    for _ in range(2000):
        step, result = summed(config, (code(), code()), (code(), code()), code(), rng)
        steps.append(step)
        wanted.append(result)
    assert len(set(wanted)) > 0.9 * (1 << config.act_bits)
    unit, latency = Saturated(kind(config), config.act_bits), kind.latency_of(config)
    stages = {"zero_point": kind.zero_point_stage(config)} | {
        name: stage for stage, members in kind.taps(config).values() for name in members}
    words = summand_words(config, steps)
    kept = [{name: (step | {"summands": word})[name] for name in unit.inputs}
            for step, word in zip([*steps, steps[-1]], words, strict=True)]
    return unit_check(unit, kept, stages, wanted, latency)


each_check = pytest.mark.parametrize("check", [requantizer_check, addition_check],
                                     ids=["requantizer", "addition"])


@pytest.mark.parametrize("config", [*CONFIGS, *SIGNED, *SUMS], ids=lambda config: config.name)
@each_check
def test_equals_numerics(config: AccelConfig, check: Callable[[AccelConfig], UnitCheck]) -> None:
    assert pysim.mismatches(check(config)) == []


@pytest.mark.slow
@pytest.mark.parametrize("config", [*(c for c in CONFIGS[:4] if c.rounding == "tflite"),
                                    SIGNED[1], SUMS[-1]],
                         ids=lambda config: config.name)
@each_check
def test_on_ecp5_equals_numerics(config: AccelConfig,
                                 check: Callable[[AccelConfig], UnitCheck]) -> None:
    check_on(check(config), simulators()[-1], Ecp5Target())


def test_a_multiplier_of_one_term_has_no_code() -> None:
    """Only its sign, if it has one."""
    one = replace(TINY, scale_terms=1)
    layouts = [param_layout(each) for each in (one, replace(one, **DISTANCES))]
    assert [layout["multiplier"].width for layout in layouts] == [0, 1]


# --- what both are made of ----------------------------------------------------------------------
@pytest.mark.parametrize("terms", [1, 2, 3])
def test_every_multiplier_of_so_many_terms(terms: int) -> None:
    """Every bit of the product, whatever the code: also such that `Scales.encode` never gives."""
    scales, ends, bits = Scales(terms, False, "single"), limits(9), (terms - 1) * TERM_BITS
    steps = [{"a": a, "b": code} for code in range(1 << bits) for a in (*ends, 1, -1, 85, 0)]
    unit = TermProduct(9, terms)
    words = {"a": [step["a"] % (1 << 9) for step in steps]}
    if bits:
        words["b"] = [step["b"] for step in steps]
    latency, mask = TermProduct.latency_of(terms), (1 << len(unit.product)) - 1
    products = [None] * latency + [
        step["a"] * scales.decode(step["b"]) & mask for step in steps]
    check = UnitCheck("terms", unit, words, {"product": products[:len(steps)]})
    assert pysim.mismatches(check) == []
    assert scales.decode((1 << bits) - 1) == {1: 128, 2: 127, 3: 126}[terms]


def test_every_power_of_two() -> None:
    scales, unit = Scales(1, False, "single"), PowerProduct(5)
    steps = [(a, code) for code in range(16) for a in range(-16, 16)]
    products = [None, *(a * scales.decode_summand(code) % (1 << len(unit.product))
                        for a, code in steps)]
    words = {"a": [a % 32 for a, _ in steps], "b": [code for _, code in steps]}
    check = UnitCheck("powers", unit, words, {"product": products[:len(steps)]})
    assert pysim.mismatches(check) == []


@pytest.mark.parametrize("in_luts", [False, True], ids=["slices", "luts"])
@pytest.mark.parametrize(("value_bits", "bits", "fraction", "least"), [
    (9, 29, 20, 31), (3, 23, 20, 31), (30, 30, 0, 31), (33, 33, 0, 1), (12, 12, 0, 1)])
def test_high_multiply(value_bits: int, bits: int, fraction: int, least: int, in_luts: bool,
                       ) -> None:
    """Every bit of the result, where nothing is out of range."""
    rng, values = random.Random(value_bits), limits(value_bits)
    most = (1 << numerics.TFLITE_MULTIPLIER_BITS) - 1
    steps, wanted = [], []
    for shift in range(least, 63):
        for value in (*values, values[0] + 1, -1, 0, 1, *(rng.randint(*values) for _ in range(6))):
            multiplier = rng.choice((1 << 30, most, rng.randint(0, most)))
            zero_point = rng.choice((0, 0, *limits(bits)))
            result = zero_point + numerics.high_multiply(value << fraction, multiplier, shift)
            if saturate(result - zero_point, bits) == result - zero_point:
                steps.append({"value": value, "multiplier": multiplier, "shift": shift,
                              "zero_point": zero_point})
                wanted.append(result)
    unit = HighMultiply(value_bits, bits, in_luts=in_luts, fraction=fraction, below_31=least < 31)
    stage = HighMultiply.shift_stage(value_bits, in_luts=in_luts)
    assert stage == Product.latency_of(value_bits, 31, in_luts=in_luts)
    stages = {"shift": stage, "zero_point": stage + HighMultiply.ZERO_POINT_STAGE}
    check = unit_check(unit, steps, stages, wanted, stage + HighMultiply.LATENCY)
    assert pysim.mismatches(check) == []
