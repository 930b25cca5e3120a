"""CCU2C: two LUT4s with a carry chain behind them (Lattice FPGA-TN-02203, "Slice").

Half slice ``k`` adds: ``S = L4 ^ carry_in``, and ``carry_out = carry_in if L4 else L2``, where L4
is the LUT's value and L2 what it gives with C = D = 0. With ``L4 = first(A, B) ^ second(B, C, D)``
and ``second(B, 0, 0) = 0`` this is the adder of `rtl.carry.FusedAdder`.
"""
from typing import TYPE_CHECKING

from amaranth.hdl import Const, Instance, Module, Signal, Value

if TYPE_CHECKING:
    from rtl.carry import FusedAdder

#: LUTs of the half slice that starts a chain: L4 = 0, so that the carry out is L2 of (A, B)
#: whatever carries in. A chain that needs no carry in saves the two LUTs that feed one.
START = {"none": 0x0000, "one": 0x000F, "port": 0x000A, "inverted": 0x0005}


def lut(adder: "FusedAdder") -> int:
    """INIT of one half slice."""
    init = 0
    for index in range(16):
        a, b, c, d = (index >> bit & 1 for bit in range(4))
        if adder.second(b, 0, 0) & 1:
            raise ValueError(f"{adder.second.__name__}(b, 0, 0) must be 0 in a FusedAdder")
        init |= ((adder.first(a, b) ^ adder.second(b, c, d)) & 1) << index
    return init


def add_chain(m: Module, adder: "FusedAdder") -> None:
    """Drive ``adder.sum``."""
    one = Const(1)
    start = adder.carry if hasattr(adder, "carry") else one
    halves: list[tuple[int, tuple[Value, ...], Value]] = [
        (START[adder.carry_kind], (start, one, one, one), Signal(name="unused_start"))]
    halves += [(lut(adder), (adder.a[bit], adder.b[bit], adder.c[bit], adder.d[bit]),
                adder.sum[bit]) for bit in range(adder.bits)]
    if len(halves) % 2:
        halves.append((START["none"], (one, one, one, one), Signal(name="unused_end")))
    carry: Value = Const(0)     # not looked at; boards.netlist disconnects it
    for index in range(0, len(halves), 2):
        ports = {f"{kind}_{name}{half}": value for half in (0, 1)
                 for kind, name, value in (
                     *zip("iiii", "ABCD", halves[index + half][1], strict=True),
                     ("o", "S", halves[index + half][2]))}
        carry_out = Signal(name=f"carry_{index}")
        m.submodules[f"slice_{index // 2}"] = Instance(
            "CCU2C", p_INIT0=Const(halves[index][0], 16), p_INIT1=Const(halves[index + 1][0], 16),
            p_INJECT1_0="NO", p_INJECT1_1="NO", i_CIN=carry, o_COUT=carry_out, **ports)
        carry = carry_out
