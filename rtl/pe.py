"""Processing element: the frame around a term, one for all kinds."""
from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.spec.array import ArraySpec
from rtl.carry import FusedAdder
from rtl.ecp5.floorplan import Place
from rtl.register import LocalRegister
from rtl.terms import term_of


class Pe(wiring.Component):
    """``sum + term(x, weight)`` for ``spec.span`` columns of a weight-stationary array.

    ``x`` and the flags leave to the right when the next element takes them: a cycle after they
    came, or ``span`` cycles where every column has a cycle of its own. In the cycle of
    ``swap`` the element takes over ``w`` and ``distance``, and that cycle's ``x`` is the first to
    meet them. ``o_sum`` includes the term of an ``x`` that came `latency_of` cycles
    before; ``i_sum`` joins one cycle earlier, so the element below must see its ``x`` one cycle
    later than this one.

    Members
    -------
    i_x, i_swap, o_x, o_swap
        Activation stream, from left to right.
    i_distance, o_distance
        Its terms are distances; only in an array that is switched at run time.
    i_depthwise, o_depthwise, lane
        This cycle's ``x`` is ``lane`` and not ``i_x``; only in a depthwise array.
    i_sum, o_sum
        Partial sums of each column, from top to bottom; they cannot overflow
        (`ArraySpec.sum_bits`).
    w
        The next weight's code for each column.

    Parameters
    ----------
    place
        Position in its array, which some devices' placement uses.
    """

    def __init__(self, spec: ArraySpec, place: Place | None = None) -> None:
        self.spec, self.place = spec, place
        sums = data.ArrayLayout(signed(spec.sum_bits), spec.span)
        ports: dict[str, Any] = {
            "i_x": In(signed(spec.act_bits)), "o_x": Out(signed(spec.act_bits)), "i_swap": In(1),
            "o_swap": Out(1), "w": In(data.ArrayLayout(spec.cell.weight_bits, spec.span)),
            "i_sum": In(sums), "o_sum": Out(sums)}
        if spec.switched:
            ports |= {"i_distance": In(1), "o_distance": Out(1)}
        if spec.depthwise:
            ports |= {"i_depthwise": In(1), "o_depthwise": Out(1),
                      "lane": In(signed(spec.act_bits))}
        super().__init__(ports)

    @staticmethod
    def latency_of(spec: ArraySpec) -> int:
        """Cycles from ``i_x`` to the ``o_sum`` that includes its term."""
        return term_of(spec).latency_of(spec) + 2

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.term = term = term_of(self.spec)(self.spec, self.place)
        codes = data.ArrayLayout(self.spec.cell.weight_bits, self.spec.span)
        weights = Signal(codes)
        with m.If(self.i_swap):
            m.d.sync += weights.eq(self.w)
        i_x = self.i_x
        if self.spec.depthwise:
            i_x = Mux(self.i_depthwise, self.lane, i_x)
            self._pass_on(m, self.i_depthwise, self.o_depthwise, "depthwise")
        x = self._pass_on(m, i_x, self.o_x, "x")
        m.d.comb += [term.x.eq(x), term.w.eq(weights)]
        self._pass_on(m, self.i_swap, self.o_swap, "swap")
        if self.spec.switched:
            distance = Signal()
            with m.If(self.i_swap):
                m.d.sync += distance.eq(self.i_distance)
            m.d.comb += term.distance.eq(distance)
            self._pass_on(m, self.i_distance, self.o_distance, "distance")

        for col in range(self.spec.span):
            m.submodules[f"adder_{col}"] = adder = FusedAdder(
                self.spec.sum_bits, term.second, carry=term.carry)
            operands = term.operands[col]
            m.d.comb += [adder.a.eq(self.i_sum[col]), adder.b.eq(operands.b),
                         adder.c.eq(operands.c), adder.d.eq(operands.d)]
            if hasattr(adder, "carry"):
                m.d.comb += adder.carry.eq(operands.carry)
            m.d.sync += self.o_sum[col].eq(adder.sum.as_signed())
        return m

    def _pass_on(self, m: Module, i: Value, o: Value, name: str) -> Value:
        """Drive ``o``, so many cycles behind ``i``; returns what is one cycle behind."""
        cycles = self.spec.span if self.spec.band_cols == 1 else 1
        stages = [LocalRegister(len(i)) for _ in range(cycles)]
        for age, held in enumerate(stages):
            m.submodules[f"{name}_{age}"] = held
            m.d.comb += held.i.eq(stages[age - 1].o if age else i)
        m.d.comb += o.eq(stages[-1].o)
        return stages[0].o.as_signed()
