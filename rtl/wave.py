"""What belongs to an instruction, on its way through a pipeline."""
from collections.abc import Iterable

from amaranth.hdl import Module, ShapeLike, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl.arith import delay


class Wave(wiring.Component):
    """An instruction's constants follow its first step down a pipeline.

    Where steps are in stage ``n`` of the pipeline ``n`` cycles after they were ``first`` seen, the
    constants at ``o.sn`` are right for stages ``n``, ``n + 1`` and ``n + 2``. That takes a few
    registers in place of one for every stage, as instructions come seldom: between the last step
    of one and the first step of the next there are at least `IDLE_CYCLES`.

    Parameters
    ----------
    shape
        The constants.
    stages
        Where they are needed; from 1 on.

    Members
    -------
    i
        Constants; they hold still from ``first`` until the cycle after it.
    first
        The first step of an instruction.
    """

    IDLE_CYCLES = 2
    #: Stages that one register serves, and least cycles from one ``first`` to the next.
    SPAN = IDLE_CYCLES + 1

    def __init__(self, shape: ShapeLike, stages: Iterable[int]) -> None:
        self.shape, self.stages = shape, sorted(set(stages))
        super().__init__({
            "i": In(shape), "first": In(1),
            "o": Out(data.StructLayout({f"s{stage}": shape for stage in self.stages}))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        constants, place, passing, passed = self.i, 0, self.first, 0
        for stage in self.stages:
            while place < stage:
                # what is at the port may leave it a cycle sooner than what is on its way
                place = min(stage, place + (self.SPAN if place else self.SPAN - 1))
                passing = delay(m, passing, place - 1 - passed, f"passing_{place}")
                passed = place - 1
                held = Signal(self.shape, name=f"held_{place}")
                with m.If(passing):
                    m.d.sync += held.eq(constants)
                constants = held
            m.d.comb += self.o[f"s{stage}"].eq(constants)
        return m
