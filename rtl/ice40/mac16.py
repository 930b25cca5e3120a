"""SB_MAC16 as two 8 x 8 multipliers (Lattice FPGA-TN-02007, "DSP Function Usage Guide")."""
from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal, Value

from rtl.arith import extended

#: Operand width of one half, in bits.
HALF_BITS = 8
#: Cycles: input registers, the registers of the halves, and one in the fabric.
LATENCY = 3

_PARAMETERS = {
    "MODE_8x8": 1, "A_SIGNED": 1, "B_SIGNED": 1, "A_REG": 1, "B_REG": 1, "C_REG": 0, "D_REG": 0,
    "TOP_8x8_MULT_REG": 1, "BOT_8x8_MULT_REG": 1, "PIPELINE_16x16_MULT_REG1": 0,
    "PIPELINE_16x16_MULT_REG2": 0, "NEG_TRIGGER": 0, "TOPADDSUB_UPPERINPUT": 0,
    "TOPADDSUB_CARRYSELECT": 0, "BOTADDSUB_UPPERINPUT": 0, "BOTADDSUB_CARRYSELECT": 0,
    "TOPADDSUB_LOWERINPUT": 0, "BOTADDSUB_LOWERINPUT": 0,
    "TOPOUTPUT_SELECT": 2, "BOTOUTPUT_SELECT": 2}       # 2: the halves' products
_TWO_BITS = ("SELECT", "LOWERINPUT")
_UNUSED = ("C", "D", "AHOLD", "BHOLD", "CHOLD", "DHOLD", "IRSTTOP", "IRSTBOT", "ORSTTOP",
           "ORSTBOT", "OLOADTOP", "OLOADBOT", "ADDSUBTOP", "ADDSUBBOT", "OHOLDTOP", "OHOLDBOT",
           "CI", "ACCUMCI", "SIGNEXTIN")


def dual_products(m: Module, a: Value, b: tuple[Value, Value], products: Value) -> None:
    """``products[k]`` is ``a * b[k]``, `LATENCY` cycles later; operands of at most 8 bits."""
    def width(name: str) -> int:
        return 2 if any(part in name and "CARRY" not in name for part in _TWO_BITS) else 1

    result = Signal(4 * HALF_BITS)
    m.submodules.mac16 = Instance(
        "SB_MAC16", **{f"p_{name}": Const(value, width(name))
                       for name, value in _PARAMETERS.items()},
        **{f"i_{name}": Const(0, 16 if name in "CD" else 1) for name in _UNUSED},
        i_CLK=ClockSignal(), i_CE=Const(1), i_A=extended(a, HALF_BITS).replicate(2),
        i_B=Cat(*(extended(value, HALF_BITS) for value in b)), o_O=result)
    for index in range(2):
        half = result[2 * HALF_BITS * index:][:2 * HALF_BITS]
        m.d.sync += products[index].eq(half[:len(products[index])].as_signed())
