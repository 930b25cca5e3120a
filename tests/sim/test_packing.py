"""Two products in one DSP slice are exact for every triple of operands."""
import pytest
from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from rtl.arith import delay
from rtl.ecp5.target import Ecp5Target
from rtl.pair import PackedMultiplier
from sim.runner import run_bench

pytestmark = pytest.mark.slow


class EveryTriple(wiring.Component):
    """Counts through all triples, several multipliers side by side, and through differences."""

    def __init__(self, a_bits: int, b_bits: int, lanes_log2: int, error: int = 0) -> None:
        self.a_bits, self.b_bits, self.lanes_log2, self.error = a_bits, b_bits, lanes_log2, error
        self.steps = 1 << (a_bits + 2 * b_bits - lanes_log2)
        super().__init__({"done": Out(1), "wrong": Out(32)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        late = PackedMultiplier.latency_of(self.a_bits, self.b_bits)
        count = Signal(range(2 * self.steps))
        m.d.sync += [count.eq(count + 1), self.done.eq(count >= self.steps + late)]
        differ = Signal(1 << self.lanes_log2)
        for lane in range(1 << self.lanes_log2):
            m.submodules[f"lane_{lane}"] = dut = PackedMultiplier(self.a_bits, self.b_bits)
            triple = Cat(count[:self.steps.bit_length() - 1], Const(lane, self.lanes_log2))
            a = triple[:self.a_bits].as_signed()
            b = [triple[self.a_bits + self.b_bits * k:][:self.b_bits].as_signed()
                 for k in range(2)]
            m.d.comb += [dut.a.eq(a), dut.b[0].eq(b[0]), dut.b[1].eq(b[1])]
            expected = [delay(m, a * b[k] + self.error * (triple == 5), late, f"e_{lane}_{k}")
                        for k in range(2)]
            m.d.comb += differ[lane].eq((dut.products[0] != expected[0])
                                        | (dut.products[1] != expected[1]))
        with m.If((count >= late) & (count < self.steps + late)):
            m.d.sync += self.wrong.eq(self.wrong + sum(bit for bit in differ))
        return m


def differences(a_bits: int, b_bits: int, lanes_log2: int, error: int = 0) -> int:
    top = EveryTriple(a_bits, b_bits, lanes_log2, error)
    job = {"cycles": top.steps + 100, "compared": top.steps << lanes_log2}
    outcome = run_bench(top, "exhaustive", job, platform=Ecp5Target())
    assert outcome.compared == 1 << (a_bits + 2 * b_bits)
    return outcome.mismatches


def test_int8_pairs() -> None:
    assert differences(8, 8, 4) == 0


@pytest.mark.parametrize(("a_bits", "b_bits"), [(8, 4), (2, 2), (3, 6), (5, 7)])
def test_other_widths(a_bits: int, b_bits: int) -> None:
    assert differences(a_bits, b_bits, 2) == 0


def test_one_wrong_product_is_found() -> None:
    assert differences(3, 6, 2, error=1) == 1
