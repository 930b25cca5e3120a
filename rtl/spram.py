"""Single-port memory: large, with one address for reading and writing."""
from amaranth.hdl import Module
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from rtl.ice40 import spram
from rtl.ice40.target import is_target

#: Cycles from address to data, as in `rtl.ram`.
READ_LATENCY = 2
#: Bits behind one write enable.
NIBBLE_BITS = 4


class SinglePortRam(wiring.Component):
    """A memory of ``depth`` words, of which each cycle writes one or reads one.

    A cycle without a write enable reads: the word appears `READ_LATENCY` cycles later, as from a
    `rtl.ram.Ram`. What appears that long after a write is arbitrary, and so is a word that was
    never written. On iCE40 UltraPlus it is `rtl.ice40.spram`.

    Parameters
    ----------
    bits
        Width of a word; iCE40 takes a further column of blocks for each 16.
    depth
        Words; iCE40 takes a further bank of blocks for each 16384.

    Members
    -------
    addr, w_data
        Word to read or write, and what to write.
    w_en
        Write enables, one for every nibble of 4 bits, lowest first.
    r_data
        What was read.
    """

    def __init__(self, bits: int, depth: int) -> None:
        self.bits, self.depth, self.nibbles = bits, depth, -(-bits // NIBBLE_BITS)
        super().__init__({"addr": In(range(depth)), "w_data": In(bits), "w_en": In(self.nibbles),
                          "r_data": Out(bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if is_target(platform):
            spram.add_blocks(m, self)
            return m
        m.submodules.cells = cells = memory.Memory(
            shape=self.nibbles * NIBBLE_BITS, depth=self.depth, init=[])
        write, read = cells.write_port(granularity=NIBBLE_BITS), cells.read_port()
        m.d.comb += [write.addr.eq(self.addr), write.data.eq(self.w_data), write.en.eq(self.w_en),
                     read.addr.eq(self.addr), read.en.eq(~self.w_en.any())]
        m.d.sync += self.r_data.eq(read.data[:self.bits])
        return m
