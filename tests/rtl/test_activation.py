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
def test_a_function_has_two_ports_wherever_it_is_used(target: Ecp5Target | None) -> None:
    """Seen from outside, a port that is a concatenation would be as many ports as it has parts."""
    text = verilog_text(ActivationUnit(CONFIG), "top", target)
    for spec in CONFIG.activation_specs[1:]:
        assert re.search(rf"^module \\top\.{spec.function} \((o, i|i, o)\);", text, re.M)


@pytest.mark.slow
def test_a_function_is_its_luts_and_nothing_else() -> None:
    for spec in CONFIG.activation_specs[1:]:
        network = of_activation(spec, CONFIG.act_bits).network
        harness = Harness(LutFunction(network))
        made = synthesise(rtlil_text(harness, "top", Ecp5Target()), ECP5, timeout_s=600, quiet=True)
        assert made.cells["LUT4"] == network.lut4 + harness.lut4
        assert set(made.cells) <= {"LUT4", "TRELLIS_FF", "$scopeinfo"}


@pytest.mark.slow
def test_a_unit_has_no_memory_no_multiplier_and_one_register_stage() -> None:
    unit = ActivationUnit(CONFIG)
    harness = Harness(unit)
    made = synthesise(rtlil_text(harness, "top", Ecp5Target()), ECP5, timeout_s=600, quiet=True)
    assert set(made.cells) <= {"LUT4", "CCU2C", "PFUMX", "L6MUX21", "TRELLIS_FF", "$scopeinfo"}
    assert unit.latency == 1
    bits = CONFIG.act_bits
    assert made.cells["TRELLIS_FF"] - harness.ff <= bits * 3 + 1    # plain, tanh, selu; below zero
