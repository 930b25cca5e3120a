"""DP16KD: block RAM with its output register, and how a memory is laid out in blocks.

Lattice FPGA-TN-02204, "ECP5 and ECP5-5G Memory Usage Guide". A block holds 16 Kbit, and 2 Kbit of
ninth bits that only ports of 9 bits and more reach. From 18 bits on, each byte of 9 bits has its
own write enable, on address pins that such a port leaves free. The pins are wired as in yosys'
lattice/brams_map_16kd.v, which infers the block without its output register: its data then come
5.83 ns after the clock instead of 0.96 ns (speed grade 6). nextpnr ties constant pins in the
block's own tile, so that they cost no routing (unlike those of `rtl.ecp5.dsp`).
"""
from itertools import islice, product
from typing import TYPE_CHECKING, NamedTuple

from amaranth.hdl import Array, Cat, ClockSignal, Const, Instance, Module, Signal, Value

from rtl.arith import delay
from rtl.ecp5.floorplan import DEVICE

if TYPE_CHECKING:
    from rtl.ram import Ram

#: Port widths of a block, in bits -> words.
DEPTHS = {1: 16384, 2: 8192, 4: 4096, 9: 2048, 18: 1024, 36: 512}
BYTE_BITS = 9
HALF_BITS = 18      # of data pins A and B, together the 36-bit port
ADDRESS_BITS = 14   # they count bits: a wider port leaves the lowest ones free
#: Cycles from address to data: the array, then the output register.
LATENCY = 2
#: Up to here a memory is made of LUTs, 2 x 16 words deep: the smaller share of a device.
LUT_RAM_DEPTH = 32


class Chunk(NamedTuple):
    """Bits ``start`` to ``stop - 1`` of a lane, which lie together behind one write enable."""

    lane: int
    start: int
    stop: int


class Mapping(NamedTuple):
    """A memory in blocks with ports of ``width`` bits.

    Members
    -------
    banks
        Blocks that share the words among them; more than one needs a multiplexer.
    columns
        For each block of a bank the chunks in it, lowest first.
    """

    width: int
    banks: int
    columns: list[list[Chunk]]

    @property
    def blocks(self) -> int:
        """Blocks for one read port."""
        return self.banks * len(self.columns)


def mapping(lane_bits: int, depth: int, lanes: int = 1) -> Mapping:
    """The layout with the fewest blocks, of those with the fewest banks, then narrowest ports."""
    return min((_mapping(width, lane_bits, depth, lanes) for width in DEPTHS),
               key=lambda layout: (layout.blocks, layout.banks, layout.width))


def block_count(lane_bits: int, depth: int, lanes: int = 1, read_ports: int = 1) -> int:
    """Block RAMs of a `rtl.ram.Ram`; 0 if it is made of LUTs."""
    if depth <= LUT_RAM_DEPTH:
        return 0
    return mapping(lane_bits, depth, lanes).blocks * read_ports


def _mapping(width: int, lane_bits: int, depth: int, lanes: int) -> Mapping:
    step = min(width, BYTE_BITS)
    chunks = iter([Chunk(lane, start, min(start + step, lane_bits))
                   for lane in range(lanes) for start in range(0, lane_bits, step)])
    columns = []
    while column := list(islice(chunks, width // step)):
        columns.append(column)
    return Mapping(width, -(-depth // DEPTHS[width]), columns)


def add_blocks(m: Module, ram: "Ram", device: str) -> None:
    """Make ``ram`` of blocks: a set of them for each read port."""
    bels = iter(ram.bels if device == DEVICE else ())
    layout = mapping(ram.lane_shape.width, ram.depth, ram.lanes)
    within = (DEPTHS[layout.width] - 1).bit_length()
    for index in range(ram.read_ports):
        address, o = (getattr(ram, f"r{index}_{name}") for name in ("addr", "data"))
        words = [Signal(len(o.as_value()), name=f"r{index}_bank_{bank}")
                 for bank in range(layout.banks)]
        for bank, (column, chunks) in product(range(layout.banks), enumerate(layout.columns)):
            bel = next(bels, None)
            enables = [ram.w_en[chunk.lane] & _is_bank(ram.w_addr[within:], bank)
                       for chunk in chunks]
            m.submodules[f"r{index}_block_{bank}_{column}"] = _dp16kd(
                bel, layout.width, ram.w_addr[:within], address[:within], enables,
                [_bits(ram, ram.w_data.as_value(), chunk) for chunk in chunks],
                [_bits(ram, words[bank], chunk) for chunk in chunks])
        if layout.banks > 1:
            words = [Array(words)[delay(m, address[within:], LATENCY, f"r{index}_bank")]]
        m.d.comb += o.as_value().eq(words[0])


def _bits(ram: "Ram", word: Value, chunk: Chunk) -> Value:
    base = chunk.lane * ram.lane_shape.width
    return word[base + chunk.start:base + chunk.stop]


def _is_bank(high: Value, bank: int) -> Value:
    return high == bank if len(high) else Const(1)


def _dp16kd(bel: str | None, width: int, w_addr: Value, r_addr: Value, enables: list[Value],
            w_data: list[Value], r_data: list[Value]) -> Instance:
    """A block that writes at port A and reads at port B, chunk ``k`` in byte ``k``."""
    wide = width > HALF_BITS
    enable = Cat(*enables)
    byte_enables = enable if width > BYTE_BITS else Cat()
    free = ADDRESS_BITS - (DEPTHS[width] - 1).bit_length()
    addresses = {"ADA": Cat(byte_enables, Const(0, free - len(byte_enables)), w_addr),
                 "ADB": Cat(Const(0, free), r_addr)}
    pins = {f"i_{name}{bit}": Const(0) for name, bits in (
        ("DIA", HALF_BITS), ("DIB", HALF_BITS), ("ADA", ADDRESS_BITS), ("ADB", ADDRESS_BITS),
        ("CSA", 3), ("CSB", 3)) for bit in range(bits)}
    pins |= {f"i_{name}{bit}": pin for name, bus in addresses.items()
             for bit, pin in enumerate(bus)}
    for byte, (i, o) in enumerate(zip(w_data, r_data, strict=True)):
        for bit in range(len(i)):
            half, pin = divmod(byte * BYTE_BITS + bit, HALF_BITS)
            pins[f"i_DI{'AB'[half]}{pin}"] = i[bit]
            # the 36-bit port reads at both halves' pins, any other at B
            pins[f"o_DO{'AB'[half] if wide else 'B'}{pin}"] = o[bit]
    return Instance(
        "DP16KD", **({"a_BEL": bel} if bel else {}), p_DATA_WIDTH_A=width, p_DATA_WIDTH_B=width,
        p_REGMODE_A="OUTREG" if wide else "NOREG", p_REGMODE_B="OUTREG",
        p_WRITEMODE_A="NORMAL", p_WRITEMODE_B="NORMAL", p_RESETMODE="SYNC",
        p_ASYNC_RESET_RELEASE="SYNC", p_CSDECODE_A="0b000", p_CSDECODE_B="0b000", p_GSR="AUTO",
        i_CLKA=ClockSignal(), i_CEA=Const(1), i_OCEA=Const(1), i_RSTA=Const(0),
        i_CLKB=ClockSignal(), i_CEB=Const(1), i_OCEB=Const(1), i_RSTB=Const(0),
        # the 36-bit form (Lattice's PDPW16KD) has byte enables, but no write enable
        i_WEA=Const(1) if wide else enable.any(), i_WEB=Const(0), **pins)
