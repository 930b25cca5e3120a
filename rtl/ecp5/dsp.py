"""MULT18X18D: the DSP slice with its registers, and where an array's slices lie."""
from typing import NamedTuple

from amaranth.hdl import ClockSignal, Const, Instance, Module, Signal, Value

#: Operand width of a DSP slice, in bits.
DSP_BITS = 18


class Place(NamedTuple):
    """An element's position in an array, and the array's size."""

    row: int
    col: int
    rows: int
    cols: int


#: Columns and rows of the DSP blocks of the LFE5U-85F in nextpnr's grid; a block holds 4 slices.
DSP_COLUMNS = (4, 13, 22, 31, 40, 49, 58, 69, 78, 87, 96, 105, 114)
DSP_ROWS = (10, 34, 58)
DSP_SLICES = (0, 1, 4, 5)


def dsp_bel(place: Place, device: str) -> str | None:
    """Location of an array element's DSP slice, or None if the array does not fit the scheme.

    The array's rows are cut into as many bands as the device has rows of DSPs, and an array
    column takes neighbouring slices of each: activations and sums then travel short ways. nextpnr
    by itself scatters the slices and hardly finds routes for a full array.
    """
    band = -(-place.rows // len(DSP_ROWS))
    slot = place.col * band + place.row % band
    if device != "LFE5U-85F" or place.cols * band > len(DSP_COLUMNS) * len(DSP_SLICES):
        return None
    block, slice_ = DSP_COLUMNS[slot // len(DSP_SLICES)], DSP_SLICES[slot % len(DSP_SLICES)]
    return f"X{block + slice_}/Y{DSP_ROWS[place.row // band]}/MULT18_{slice_}"


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
