"""ECP5 primitives. The generic components that use them carry the behavioural twin."""
from amaranth.hdl import ClockSignal, Const, Instance, Module, Signal, Value

#: Operand width of a DSP slice, in bits.
DSP_BITS = 18


class Ecp5Target:
    """Stands for an ECP5 platform where no board is meant, as in area reports."""

    device = "LFE5U-85F"


def is_target(platform: object) -> bool:
    """Whether ``platform`` builds for an ECP5 device."""
    return str(getattr(platform, "device", "")).startswith("LFE5U")


def mult18x18d(m: Module, a: Value, b: Value, product: Value) -> Instance:
    """One DSP slice with its input and output registers: ``product`` follows in 2 cycles.

    yosys infers the block without registers and so costs half of the clock; the registers need
    the instance (Lattice FPGA-TN-02205, "ECP5 and ECP5-5G sysDSP Usage Guide").
    """
    def bus(name: str, value: Value) -> dict[str, Value]:
        return {f"i_{name}{bit}": value[min(bit, len(value) - 1)] for bit in range(DSP_BITS)}

    result = Signal(2 * DSP_BITS)
    m.d.comb += product.eq(result)      # the upper bits repeat the sign
    return Instance(
        "MULT18X18D", **bus("A", a), **bus("B", b),
        **{f"o_P{bit}": result[bit] for bit in range(2 * DSP_BITS)},
        i_CLK0=ClockSignal(), i_CE0=Const(1), i_RST0=Const(0),
        i_SIGNEDA=Const(1), i_SIGNEDB=Const(1), i_SOURCEA=Const(0), i_SOURCEB=Const(0),
        p_REG_INPUTA_CLK="CLK0", p_REG_INPUTA_CE="CE0", p_REG_INPUTA_RST="RST0",
        p_REG_INPUTB_CLK="CLK0", p_REG_INPUTB_CE="CE0", p_REG_INPUTB_RST="RST0",
        p_REG_PIPELINE_CLK="NONE", p_REG_OUTPUT_CLK="CLK0", p_REG_OUTPUT_CE="CE0",
        p_REG_OUTPUT_RST="RST0", p_CLK0_DIV="ENABLED", p_GSR="DISABLED",
        p_SOURCEB_MODE="B_SHIFT", p_RESETMODE="SYNC")
