"""Lanes of block RAM with one address passed from lane to lane."""
from amaranth.hdl import Cat, Module, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl.ram import READ_LATENCY, Ram
from rtl.register import LocalRegister

#: Cycles from ``read`` to the word of lane 0; each further lane adds one.
LATENCY = 1 + READ_LATENCY + 1


class RamLanes(wiring.Component):
    """``lanes`` memories of ``depth`` activations, each one cycle behind the lane before.

    It is how the rows of an array are fed, without their offsets: read address and writes go
    through a register in each lane, so that no wire spans the device. Lane ``n`` returns the word
    at a ``read`` that came ``n + LATENCY`` cycles before, and takes a write ``n + 1`` cycles after
    it came.

    Members
    -------
    read
        Address, one per cycle.
    write, w_data, w_en
        Address, word, and one enable per lane.
    o
        One word per lane.
    """

    def __init__(self, lanes: int, depth: int, bits: int) -> None:
        self.lanes, self.depth, self.bits = lanes, depth, bits
        super().__init__({
            "read": In(range(depth)), "write": In(range(depth)), "w_data": In(signed(bits)),
            "w_en": In(lanes), "o": Out(data.ArrayLayout(signed(bits), lanes))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        above = Cat(self.read, self.write, self.w_data, self.w_en)
        for lane in range(self.lanes):
            m.submodules[f"step_{lane}"] = step = LocalRegister(len(above))
            m.submodules[f"bank_{lane}"] = bank = Ram(signed(self.bits), self.depth)
            enables = len(self.read) + len(self.write) + self.bits
            m.d.comb += [
                step.i.eq(above), bank.w_en.eq(step.o[enables]),
                Cat(bank.r0_addr, bank.w_addr, bank.w_data).eq(step.o[:enables])]
            m.d.sync += self.o[lane].eq(bank.r0_data[0])
            above = Cat(step.o[:enables], step.o[enables + 1:])    # this lane's enable ends here
        return m
