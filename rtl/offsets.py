"""Offset memory: what each row adds to the activation addresses of a tile."""
from amaranth.hdl import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from accel.spec.link import offset_bits
from rtl.arith import delay, register
from rtl.ram import READ_LATENCY, Ram


class OffsetStore(wiring.Component):
    """Holds ``offset_depth`` words of one address offset per row; shows a word per cycle.

    ``offsets[r]`` is the row's part of the word whose index was at ``index`` `latency` +
    ``row_delay(r)`` cycles before: when that step comes to the row.

    Members
    -------
    index
        Word to present.
    offsets
        In elements, one per row.
    w_addr, w_data, w_en
        Host write of a word; row 0 lies in the low bits.
    """

    latency = READ_LATENCY

    def __init__(self, config: AccelConfig) -> None:
        self.config = config
        word = data.ArrayLayout(offset_bits(config), config.rows)
        super().__init__({
            "index": In(range(config.offset_depth)), "offsets": Out(word),
            "w_addr": In(range(config.offset_depth)), "w_data": In(word), "w_en": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self.config
        m.submodules.ram = ram = Ram(self.w_data.as_value().shape(), c.offset_depth)
        m.d.comb += [
            ram.r0_addr.eq(self.index), ram.w_addr.eq(register(m, self.w_addr, "write_address")),
            ram.w_data[0].eq(register(m, self.w_data.as_value(), "write_word")),
            ram.w_en.eq(register(m, self.w_en, "write_enable"))]
        bits = offset_bits(c)
        for row in range(c.rows):
            part = ram.r0_data[0][row * bits:][:bits]
            m.d.comb += self.offsets[row].eq(
                delay(m, part, c.array.row_delay(row), f"offset_{row}"))
        return m
