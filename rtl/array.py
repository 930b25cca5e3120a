"""The systolic array: mesh wiring only, the same for every kind of cell."""
from amaranth.hdl import Module, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from rtl.ecp5 import Place
from rtl.pe import Pe


class SystolicArray(wiring.Component):
    """``rows`` x ``cols`` elements: activations go right, sums go down.

    Row ``r`` expects the activation of a step ``r`` cycles after row 0; column ``c`` returns the
    sum of a step ``latency(config) + c`` cycles after row 0 took it. Weights are per element, and
    element (r, c) takes its weight ``r + c`` cycles after row 0's ``swap``.

    Members
    -------
    x, swap
        One activation and swap flag per row.
    w
        Weight codes, ``(rows, cols)``.
    sums
        One sum per column.
    """

    def __init__(self, config: AccelConfig) -> None:
        self.config = config
        rows, cols = config.rows, config.cols
        super().__init__({
            "x": In(data.ArrayLayout(signed(config.act_bits), rows)), "swap": In(rows),
            "w": In(data.ArrayLayout(data.ArrayLayout(config.weight_bits, cols), rows)),
            "sums": Out(data.ArrayLayout(signed(config.sum_bits), cols))})

    @staticmethod
    def latency(config: AccelConfig) -> int:
        """Cycles from row 0's activation to the sum of column 0."""
        return config.rows - 1 + Pe.latency_of(config)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rows, cols = self.config.rows, self.config.cols
        mesh = [[Pe(self.config, Place(row, col, rows, cols)) for col in range(cols)]
                for row in range(rows)]
        for r, row in enumerate(mesh):
            for c, pe in enumerate(row):
                m.submodules[f"pe_{r}_{c}"] = pe
                x, swap = (row[c - 1].o_x, row[c - 1].o_swap) if c else (self.x[r], self.swap[r])
                above = mesh[r - 1][c].o_sum if r else 0
                m.d.comb += [pe.i_x.eq(x), pe.i_swap.eq(swap), pe.w.eq(self.w[r][c]),
                             pe.i_sum.eq(above)]
        m.d.comb += [self.sums[c].eq(mesh[-1][c].o_sum) for c in range(cols)]
        return m
