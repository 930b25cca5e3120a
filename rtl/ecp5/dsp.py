"""MULT18X18D: the DSP slice with its registers."""
from amaranth.hdl import ClockSignal, Const, Instance, Module, Signal, Value

#: Operand width of a DSP slice, in bits.
DSP_BITS = 18


def local_constant(m: Module, value: int, name: str) -> Signal:
    """A constant with a source of its own, a LUT.

    nextpnr routes all constants of DSP control pins as one net across the chip, and on a full
    array of DSPs its router then gives up.
    """
    constant = Signal(name=name)
    m.submodules += Instance("LUT4", p_INIT=Const(0xFFFF * value, 16), o_Z=constant,
                             **{f"i_{port}": Const(0) for port in "ABCD"})
    return constant


def mult18x18d(m: Module, a: Value, b: Value, product: Value, bel: str | None) -> Instance:
    """One DSP slice with its input and output registers: ``product`` follows in 2 cycles.

    yosys infers the block without registers and so costs half of the clock; the registers need
    the instance (Lattice FPGA-TN-02205, "ECP5 and ECP5-5G sysDSP Usage Guide").
    """
    def bus(name: str, value: Value) -> dict[str, Value]:
        return {f"i_{name}{bit}": value[min(bit, len(value) - 1)] for bit in range(DSP_BITS)}

    one, zero = local_constant(m, 1, "dsp_one"), local_constant(m, 0, "dsp_zero")
    result = Signal(2 * DSP_BITS)
    m.d.comb += product.eq(result)      # the upper bits repeat the sign
    return Instance(
        "MULT18X18D", **({"a_BEL": bel} if bel else {}), **bus("A", a), **bus("B", b),
        **{f"o_P{bit}": result[bit] for bit in range(2 * DSP_BITS)},
        i_CLK0=ClockSignal(), i_CE0=one, i_RST0=zero,
        i_SIGNEDA=one, i_SIGNEDB=one, i_SOURCEA=zero, i_SOURCEB=zero,
        p_REG_INPUTA_CLK="CLK0", p_REG_INPUTA_CE="CE0", p_REG_INPUTA_RST="RST0",
        p_REG_INPUTB_CLK="CLK0", p_REG_INPUTB_CE="CE0", p_REG_INPUTB_RST="RST0",
        p_REG_PIPELINE_CLK="NONE", p_REG_OUTPUT_CLK="CLK0", p_REG_OUTPUT_CE="CE0",
        p_REG_OUTPUT_RST="RST0", p_CLK0_DIV="ENABLED", p_GSR="DISABLED",
        p_SOURCEB_MODE="B_SHIFT", p_RESETMODE="SYNC")
