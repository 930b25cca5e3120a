"""Weight scratchpad: a whole tile of weights at the array's own pace, and each row's offset."""
from amaranth.hdl import Cat, Module, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from accel.spec.link import offset_bits
from rtl.arith import delay, register
from rtl.ram import READ_LATENCY, Ram
from rtl.register import LocalRegister

#: Columns that share a memory. Their elements take their weights within as many cycles, so a
#: tile must stay for at least that long (`gemm.TILE_PERIOD`).
GROUP_COLS = 4


class WeightStore(wiring.Component):
    """Holds ``weight_depth`` tiles of ``rows`` x ``cols`` weight codes and ``rows`` offsets.

    There is no load phase: the memory itself is the second weight buffer of the array. A tile
    index travels through the store like a wave, down with the array's rows and one column group
    to the right per `GROUP_COLS` cycles, just ahead of the ``swap`` that makes the elements take
    it.

    Timing, for an index that appears at ``tile`` in cycle 0, with ``d = row_delay(r)`` of the
    array: ``offsets[r]`` holds from cycle ``OFFSET_LATENCY + d`` on, and ``weights[r][c]`` from
    cycle ``OFFSET_LATENCY + swap_delay + d + c - c % GROUP_COLS``, each until the next index has
    come as far.

    Members
    -------
    tile
        Index of the tile to present.
    weights, offsets
        Codes ``(rows, cols)``, and the elements that each row adds to its addresses.
    w_addr, w_data, w_en
        Host write of one row: ``tile * row_slots + row``; weights first, offset on top.
    """

    #: Cycles from ``tile`` to row 0's offset.
    OFFSET_LATENCY = READ_LATENCY

    def __init__(self, config: AccelConfig, swap_delay: int) -> None:
        self.config, self.swap_delay = config, swap_delay
        codes = data.ArrayLayout(config.weight_bits, config.cols)
        self.row_layout = data.StructLayout({"weights": codes, "offset": offset_bits(config)})
        super().__init__({
            "tile": In(range(config.weight_depth)),
            "weights": Out(data.ArrayLayout(codes, config.rows)),
            "offsets": Out(data.ArrayLayout(offset_bits(config), config.rows)),
            "w_addr": In(range(config.weight_depth * config.row_slots)),
            "w_data": In(self.row_layout), "w_en": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self.config
        row_bits = (c.row_slots - 1).bit_length()
        # Host writes travel down from row to row as well, so that rows share no wire; each has
        # its own register to say that it is meant.
        form = data.StructLayout({"address": self.w_addr.shape(), "word": self.row_layout,
                                  "enable": 1})
        above = data.View(form, Cat(self.w_addr, self.w_data, self.w_en))
        writes, meant = [], []
        for row in range(c.rows):
            meant.append(register(m, above.enable & (above.address[:row_bits] == row),
                                  f"meant_{row}"))
            writes.append(data.View(form, register(m, above.as_value(), f"write_{row}")))
            above = writes[-1]

        def bank(name: str, row: int, bits: int, tile: Value, value: Value) -> Value:
            """One memory of this row; returns what it reads at ``tile``."""
            m.submodules[f"{name}_{row}"] = ram = Ram(bits, c.weight_depth)
            m.d.comb += [ram.r0_addr.eq(tile), ram.w_addr.eq(writes[row].address[row_bits:]),
                         ram.w_data[0].eq(value), ram.w_en.eq(meant[row])]
            return ram.r0_data[0]

        offset_tile = self.tile
        for row in range(c.rows):
            m.d.comb += self.offsets[row].eq(
                bank("offset", row, offset_bits(c), offset_tile, writes[row].word.offset))
            offset_tile = delay(m, offset_tile, c.array.row_step(row + 1), f"offset_tile_{row}")
        group_tile = delay(m, self.tile, self.swap_delay, "group_tile")
        for first in range(0, c.cols, GROUP_COLS):
            cols = range(first, min(first + GROUP_COLS, c.cols))
            tile = group_tile
            for row in range(c.rows):
                value = Cat(writes[row].word.weights[col] for col in cols)
                read = bank(f"cols_{first}", row, len(value), tile, value)
                m.d.comb += [self.weights[row][col].eq(read[i * c.weight_bits:][:c.weight_bits])
                             for i, col in enumerate(cols)]
                tile = self._next_row(m, tile, row, f"tile_{first}_{row}")
            group_tile = delay(m, group_tile, GROUP_COLS, f"behind_{first}")
        return m

    def _next_row(self, m: Module, tile: Value, row: int, name: str) -> Value:
        """The index as it reaches the row below; a group's registers are its own."""
        for age in range(self.config.array.row_step(row + 1)):
            m.submodules[f"{name}_{age}"] = held = LocalRegister(len(tile))
            m.d.comb += held.i.eq(tile)
            tile = held.o
        return tile
