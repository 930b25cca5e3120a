"""Activation units: what synthesis makes of them. Their values: tests/rtl/test_units.py."""
import re
from dataclasses import replace

import pytest
from amaranth.hdl import Fragment

from accel.circuits.store import of_activation
from accel.spec.presets import PRESETS
from boards.devices import ECP5
from boards.implement import synthesise
from rtl.activation import ActivationUnit, LutFunction, TableFunction, function_of
from rtl.ecp5.target import Ecp5Target
from rtl.emit import rtlil_text, verilog_text
from rtl.harness import Harness

CONFIG = PRESETS["ecp5"]


def test_wide_codes_stay_tables() -> None:
    """No circuit of 14 bits is searched for; synthesis minimizes the table."""
    spec = replace(CONFIG, act_bits=14, acc_bits=40, activations=("tanh",)).activation_specs[0]
    units = function_of(spec, 14), function_of(CONFIG.activation_specs[1], 8)
    assert [*map(type, units)] == [TableFunction, LutFunction]
    for unit in units:      # Amaranth warns of a component that is made and never used
        Fragment.get(unit, None)


@pytest.mark.parametrize("target", [None, Ecp5Target()], ids=["plain", "ecp5"])
def test_a_function_has_its_ports_wherever_it_is_used(target: Ecp5Target | None) -> None:
    """Seen from outside, a port that is a concatenation would be as many ports as it has parts."""
    text = verilog_text(ActivationUnit(CONFIG), "top", target)
    for spec in CONFIG.activation_specs[1:]:
        ports = re.search(rf"^module \\top\.{spec.function} \((.*)\);", text, re.M)[1]
        assert sorted(ports.split(", "))[:3] == ["clk", "i", "o"]


@pytest.mark.parametrize("function", [1, 2])
def test_a_cut_halves_the_way(function: int) -> None:
    network = of_activation(CONFIG.activation_specs[function], CONFIG.act_bits).network
    unit = LutFunction(network, cut=True)
    Fragment.get(unit, None)
    assert max(unit.cut_level, network.levels - unit.cut_level) == -(-network.levels // 2)


@pytest.mark.slow
def test_a_function_is_its_luts_and_nothing_else() -> None:
    for spec in CONFIG.activation_specs[1:]:
        network = of_activation(spec, CONFIG.act_bits).network
        harness = Harness(LutFunction(network))
        made = synthesise(rtlil_text(harness, "top", Ecp5Target()), ECP5, timeout_s=600, quiet=True)
        assert made.cells["LUT4"] == network.lut4 + harness.lut4
        assert set(made.cells) <= {"LUT4", "TRELLIS_FF", "$scopeinfo"}


@pytest.mark.slow
def test_a_unit_has_no_memory_no_multiplier_and_two_register_stages() -> None:
    unit = ActivationUnit(CONFIG)
    harness = Harness(unit)
    made = synthesise(rtlil_text(harness, "top", Ecp5Target()), ECP5, timeout_s=600, quiet=True)
    assert set(made.cells) <= {"LUT4", "CCU2C", "PFUMX", "L6MUX21", "TRELLIS_FF", "$scopeinfo"}
    assert unit.latency == 2
    bits = CONFIG.act_bits
    # plain, tanh, selu; below zero; across the middle of tanh and selu
    assert made.cells["TRELLIS_FF"] - harness.ff <= bits * (2 + 1 + 1) + 2 + 30 + 22
