"""Component -> Verilog or RTLIL text, byte for byte repeatable."""
import re

from amaranth.back import rtlil, verilog
from amaranth.lib import wiring


def verilog_text(component: wiring.Component, name: str, platform: object = None) -> str:
    """Verilog of ``component`` as module ``name``, for simulators and other tools.

    Made for a ``platform`` it may contain vendor primitives; `sim.vendor` has models of them.
    """
    return verilog.convert(component, name=name, platform=platform, emit_src=False,
                           strip_internal_attrs=True)


def rtlil_text(component: wiring.Component, name: str, platform: object = None) -> str:
    """RTLIL of ``component`` as module ``name``, for synthesis on ``platform``."""
    return free_collisions(rtlil.convert(component, name=name, platform=platform, emit_src=False))


def free_collisions(text: str) -> str:
    """Let a memory return anything when one address is read and written in the same cycle.

    Amaranth promises the old value, for which yosys adds a bypass of 20 LUTs and 36 registers
    to each block RAM. No unit of ours uses a word read in the cycle that writes it
    (tests/system/test_collisions.py), so synthesis may drop the promise. A port without a clock
    has none to drop, and yosys stops at one.
    """
    return re.sub(r"(parameter \\COLLISION_X_MASK )1'0\b((?:\n +parameter .*)*\n +parameter "
                  r"\\CLK_ENABLE 1\b)", r"\g<1>1'1\g<2>", text)
