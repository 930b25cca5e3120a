"""The systolic array: mesh wiring only, the same for every kind of cell."""
from typing import Any

from amaranth.hdl import Module, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.spec.array import ArraySpec
from rtl.arith import delay
from rtl.ecp5.floorplan import Place
from rtl.pe import Pe


class SystolicArray(wiring.Component):
    """``rows`` x ``cols`` cells: activations go right, sums go down.

    Row ``r`` expects the activation of a step ``spec.row_delay(r)`` cycles after row 0; column
    ``c`` returns the sum of a step ``latency_of(spec) + spec.col_delay(c)`` cycles after row 0 took
    it. Weights
    are per cell; those of (r, c) are taken ``row_delay(r) + x_delay(c)`` cycles after row 0's
    ``swap``, as an element takes all of its columns' weights with the first.

    Members
    -------
    x, swap
        One activation and swap flag per row.
    distance
        One flag per row, if the array is switched at run time.
    depthwise, lanes
        One flag per row, and an activation for each element, ``(rows, cols)``, that takes the
        place of the one from the left; only in a depthwise array. That of (r, c) is taken
        ``row_delay(r) + x_delay(c)`` cycles after row 0's ``x``.
    w
        Weight codes, ``(rows, cols)``.
    sums
        One sum per column.
    """

    def __init__(self, spec: ArraySpec) -> None:
        self.spec = spec
        rows, cols = spec.rows, spec.cols
        ports: dict[str, Any] = {
            "x": In(data.ArrayLayout(signed(spec.act_bits), rows)), "swap": In(rows),
            "w": In(data.ArrayLayout(data.ArrayLayout(spec.cell.weight_bits, cols), rows)),
            "sums": Out(data.ArrayLayout(signed(spec.sum_bits), cols))}
        if spec.switched:
            ports["distance"] = In(rows)
        if spec.depthwise:
            lanes = data.ArrayLayout(signed(spec.act_bits), cols)
            ports |= {"depthwise": In(rows), "lanes": In(data.ArrayLayout(lanes, rows))}
        super().__init__(ports)

    @staticmethod
    def latency_of(spec: ArraySpec) -> int:
        """Cycles from row 0's activation to the sum of column 0."""
        return spec.row_delay(spec.rows - 1) + Pe.latency_of(spec)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        blocks = -(-spec.cols // spec.span)
        mesh = [[Pe(spec, Place(row, block, spec.rows, blocks)) for block in range(blocks)]
                for row in range(spec.rows)]
        for r, row in enumerate(mesh):
            for block, pe in enumerate(row):
                m.submodules[f"pe_{r}_{block}"] = pe
                # a band's elements take what left the one before the band
                band = block - block % max(1, spec.band_cols // spec.span)
                left = row[band - 1] if band else None
                m.d.comb += [pe.i_x.eq(left.o_x if left else self.x[r]),
                             pe.i_swap.eq(left.o_swap if left else self.swap[r])]
                if spec.switched:
                    m.d.comb += pe.i_distance.eq(left.o_distance if left else self.distance[r])
                if spec.depthwise:
                    m.d.comb += [pe.i_depthwise.eq(left.o_depthwise if left
                                                   else self.depthwise[r]),
                                 pe.lane.eq(self.lanes[r][block])]
                for index, col in enumerate(self._columns(block)):
                    above = delay(m, mesh[r - 1][block].o_sum[index], spec.row_step(r) - 1,
                                  f"crossing_{r}_{col}") if r else 0
                    m.d.comb += [pe.w[index].eq(self.w[r][col]), pe.i_sum[index].eq(above)]
        for block, pe in enumerate(mesh[-1]):
            for index, col in enumerate(self._columns(block)):
                late = spec.col_delay(col) - spec.x_delay(col)
                m.d.comb += self.sums[col].eq(delay(m, pe.o_sum[index], late, f"sum_{col}"))
        return m

    def _columns(self, block: int) -> range:
        """Columns of an element; the last one may lack its second."""
        return range(block * self.spec.span,
                     min((block + 1) * self.spec.span, self.spec.cols))
