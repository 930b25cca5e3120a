"""Block RAM with an output register: the only memory of the design."""
from collections.abc import Sequence

from amaranth.hdl import Module, Shape, ShapeLike
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from rtl.ecp5 import bram
from rtl.ecp5.target import is_target

#: Cycles from address to data: the array itself, then its output register.
READ_LATENCY = 2


class Ram(wiring.Component):
    """A memory of ``depth`` words with one write port and independent read ports.

    A read takes an address every cycle and returns the word `READ_LATENCY` cycles later. A word
    read in the cycle that writes it is not to be used: block RAM then returns anything. On ECP5
    it is `rtl.ecp5.bram`, unless it has so few words that LUTs hold it better.

    Parameters
    ----------
    shape
        Shape of one lane.
    lanes
        Lanes of a word, each with its own write enable.
    depth
        Words.
    bels
        Block RAMs of the LFE5U-85F that it takes, as far as they go (`ecp5.floorplan`).
    read_ports
        Ports ``r0``, ``r1``, ...; each further one costs a copy of the memory.

    Members
    -------
    w_addr, w_data, w_en
        Write the lanes whose enable is set.
    r0_addr, r0_data, ...
        Read ports.
    """

    def __init__(self, shape: ShapeLike, depth: int, *, lanes: int = 1, read_ports: int = 1,
                 bels: Sequence[str] = ()) -> None:
        self.lane_shape, self.depth, self.lanes = Shape.cast(shape), depth, lanes
        self.read_ports, self.bels = read_ports, bels
        self.word = data.ArrayLayout(self.lane_shape, lanes)
        ports = {"w_addr": In(range(depth)), "w_data": In(self.word), "w_en": In(lanes)}
        for index in range(read_ports):
            ports[f"r{index}_addr"] = In(range(depth))
            ports[f"r{index}_data"] = Out(self.word)
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if is_target(platform) and self.depth > bram.LUT_RAM_DEPTH:
            bram.add_blocks(m, self, platform.device)
            return m
        m.submodules.cells = cells = memory.Memory(shape=self.word, depth=self.depth, init=[])
        write = cells.write_port(granularity=1)
        m.d.comb += [write.addr.eq(self.w_addr), write.data.eq(self.w_data),
                     write.en.eq(self.w_en)]
        for index in range(self.read_ports):
            read = cells.read_port()
            m.d.comb += read.addr.eq(getattr(self, f"r{index}_addr"))
            m.d.sync += getattr(self, f"r{index}_data").eq(read.data)
        return m
