"""A circuit between registers: its values, two cycles later, and how many registers there are."""
from amaranth.back import rtlil

from accel.circuits.network import Builder
from rtl.activation import LutFunction
from rtl.registered import Registered
from sim.check import UnitCheck
from tests.twins import HAS_ICARUS, check_on

SQUARES = [code * code % 16 for code in range(16)]


def squares() -> Registered:
    builder = Builder(4)
    return Registered(LutFunction(builder.network(builder.table(SQUARES, builder.inputs, 4))))


@HAS_ICARUS
def test_values_come_after_the_latency() -> None:
    inputs = [*range(16), *range(15, -1, -1), 7, 0, 7, 0]
    expected = [*[None] * Registered.latency,
                *(SQUARES[code] for code in inputs)][:len(inputs)]
    check_on(UnitCheck("squares", squares(), {"i": inputs}, {"o": expected}), "icarus", None)


def test_one_register_each_side() -> None:
    text = rtlil.convert(squares(), name="top")
    assert text.count("cell $dff ") == 2
