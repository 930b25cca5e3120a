"""PLL dividers obey the data sheet and make exactly what was asked for."""
from fractions import Fraction

import pytest
from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Module, Signal

from accel.spec.config import ConfigError
from boards.ecp5_pll import ClockGenerator, plan_pll
from boards.registry import BOARDS


@pytest.mark.parametrize(("source", "target"), [
    (25.0, 60.0), (25.0, 25.0), (25.0, 62.5), (25.0, 100.0), (25.0, 12.5), (12.0, 48.0),
    (100.0, 33.75), (25.0, 400.0), (400.0, 400.0), (25.0, 3.125)])
def test_plans_are_exact_and_legal(source: float, target: float) -> None:
    plan = plan_pll(source, target)
    dividers = (plan.clki_div, plan.clkfb_div, plan.clkop_div, plan.clkos_div)
    assert all(1 <= divider <= 128 for divider in dividers)
    vco = Fraction(str(source)) / plan.clki_div * plan.clkfb_div * plan.clkop_div
    assert 400 <= vco <= 800
    assert 10 <= Fraction(str(source)) / plan.clki_div <= 400
    assert vco / plan.clkos_div == plan.output_mhz == Fraction(str(target))


def test_board_clocks_can_be_made() -> None:
    for spec in BOARDS.values():
        assert plan_pll(spec.clock_input_mhz, spec.clock_mhz).output_mhz == spec.clock_mhz


@pytest.mark.parametrize(("source", "target", "message"), [
    (25.0, 61.0, r"cannot make 61 MHz from 25 MHz; nearest: 60.9375 or 61.1111 MHz"),
    (25.0, 500.0, r"nearest: 400 MHz"), (25.0, 1.0, r"nearest: 3.125 MHz"),
    (25.0, -5.0, r"nearest: 3.125 MHz"), (5.0, 50.0, r"input must be at least 10 MHz"),
    (25.0, float("nan"), r"must be finite")])
def test_impossible_requests_name_the_nearest(source: float, target: float, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_pll(source, target)


def test_generator_instantiates_the_plan() -> None:
    plan = plan_pll(25.0, 60.0)
    m = Module()
    m.domains.sync = ClockDomain(reset_less=True)
    m.submodules.clock = ClockGenerator(plan)
    counter = Signal(4)
    m.d.sync += counter.eq(counter + 1)
    text = rtlil.convert(m, ports=[counter])
    for name, value in (("CLKI_DIV", plan.clki_div), ("CLKFB_DIV", plan.clkfb_div),
                        ("CLKOP_DIV", plan.clkop_div), ("CLKOS_DIV", plan.clkos_div)):
        assert f"parameter signed \\{name} {value}\n" in text or f"\\{name} {value}\n" in text
    assert '\\FREQUENCY_PIN_CLKOS "60"' in text
