"""Weight scratchpad: a whole tile of weights per cycle, at the array's own pace."""
from amaranth.hdl import Cat, Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from rtl.arith import delay, register
from rtl.ecp5.floorplan import weight_bels
from rtl.ram import READ_LATENCY, Ram
from rtl.register import local_delay

#: Columns that share a memory.
GROUP_COLS = 4


class WeightStore(wiring.Component):
    """Holds ``weight_depth`` tiles of ``rows`` x ``cols`` weight codes; shows a tile per cycle.

    There is no load phase: the memory itself is the second weight buffer of the array. A tile
    index travels through the store like a wave, down with the array's rows and to the right with
    its columns, just ahead of the ``swap`` that makes the elements take it. Columns in groups of
    `GROUP_COLS` share a memory; registers bring each column of a group to its own cycle.

    Timing, for an index that is at ``tile`` in cycle 0: ``weights[r][c]`` is there in cycle
    ``latency + row_delay(r) + x_delay(c)``, when the element (r, c) of the array takes it.
    A write is seen by every index that comes after it.

    Members
    -------
    tile
        Index of the tile to present.
    weights
        Codes ``(rows, cols)``.
    w_addr, w_data, w_en
        Write of one row: ``tile * row_slots + row``; always taken.

    Parameters
    ----------
    latency
        Cycles from ``tile`` to the weight of row 0, column 0; at least READ_LATENCY.
    """

    def __init__(self, config: AccelConfig, latency: int) -> None:
        self.config, self.latency = config, latency
        codes = data.ArrayLayout(config.weight_bits, config.cols)
        super().__init__({
            "tile": In(range(config.weight_depth)),
            "weights": Out(data.ArrayLayout(codes, config.rows)),
            "w_addr": In(range(config.weight_depth * config.row_slots)),
            "w_data": In(codes), "w_en": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self.config
        row_bits = (c.row_slots - 1).bit_length()
        # Writes travel down from row to row as well, so that rows share no wire; each has its own
        # register to say that it is meant.
        form = data.StructLayout({"address": self.w_addr.shape(), "codes": self.w_data.shape(),
                                  "enable": 1})
        above = data.View(form, Cat(self.w_addr, self.w_data, self.w_en))
        writes, meant = [], []
        for row in range(c.rows):
            meant.append(register(m, above.enable & (above.address[:row_bits] == row),
                                  f"meant_{row}"))
            writes.append(data.View(form, register(m, above.as_value(), f"write_{row}")))
            above = writes[-1]

        group_tile, spec = delay(m, self.tile, self.latency - READ_LATENCY, "group_tile"), c.array
        for first in range(0, c.cols, GROUP_COLS):
            cols = range(first, min(first + GROUP_COLS, c.cols))
            tile = group_tile
            for row in range(c.rows):
                codes = Cat(writes[row].codes[col] for col in cols)
                m.submodules[f"cols_{first}_{row}"] = ram = Ram(
                    len(codes), c.weight_depth,
                    bels=weight_bels(spec, row, first))
                m.d.comb += [ram.r0_addr.eq(tile), ram.w_data[0].eq(codes),
                             ram.w_addr.eq(writes[row].address[row_bits:]),
                             ram.w_en.eq(meant[row])]
                for col in cols:
                    code = ram.r0_data[0][(col - first) * c.weight_bits:][:c.weight_bits]
                    late = spec.x_delay(col) - spec.x_delay(first)
                    m.d.comb += self.weights[row][col].eq(
                        delay(m, code, late, f"code_{row}_{col}"))
                # a group's registers are its own
                tile = local_delay(m, tile, spec.row_step(row + 1), f"tile_{first}_{row}")
            group_tile = delay(m, group_tile,
                               spec.x_delay(first + GROUP_COLS) - spec.x_delay(first),
                               f"behind_{first}")
        return m
