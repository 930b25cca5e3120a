"""Processing elements: one frame for all kinds, and the term that each kind computes."""
from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from rtl.arith import register
from rtl.ecp5 import Place
from rtl.multiplier import Multiplier


class MacTerm(wiring.Component):
    """``x * w``, with ``w`` in two's complement (`CellSpec` kind ``mac``)."""

    latency = Multiplier.latency + 1    # and one register between multiplier and adder

    def __init__(self, config: AccelConfig, place: Place | None) -> None:
        self.config, self.place = config, place
        super().__init__({"x": In(signed(config.act_bits)), "w": In(config.weight_bits),
                          "term": Out(signed(config.act_bits + config.weight_bits))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.multiplier = multiplier = Multiplier(
            self.config.act_bits, self.config.weight_bits, self.place)
        m.d.comb += [multiplier.a.eq(self.x), multiplier.b.eq(self.w.as_signed())]
        m.d.sync += self.term.eq(multiplier.product)
        return m


class ShiftTerm(wiring.Component):
    """``±x * 2**p`` or zero (`CellSpec` kind ``shift``), without a multiplier."""

    latency = 2

    def __init__(self, config: AccelConfig, place: Place | None) -> None:
        self.config, self.place = config, place
        bits = config.act_bits + config.cell_spec.max_exponent
        # one bit more than the shifted activation: the negative of the smallest one
        super().__init__({"x": In(signed(config.act_bits)), "w": In(config.weight_bits),
                          "term": Out(signed(bits + 1))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        exponent, nonzero, negative = self.w[:-2], self.w[-2], self.w[-1]
        shifted = register(m, Mux(nonzero, self.x << exponent, 0), "shifted")
        negative = register(m, negative, "negative")
        m.d.sync += self.term.eq(Mux(negative, -shifted, shifted))
        return m


TERMS = {"mac": MacTerm, "shift": ShiftTerm}


class Pe(wiring.Component):
    """``sum + term(x, weight)``: one element of a weight-stationary systolic array.

    ``x`` and ``swap`` leave to the right one cycle after they came. In the cycle of ``swap`` the
    element takes over ``w``, and that cycle's ``x`` is the first to meet it. ``o_sum`` includes
    the term of an ``x`` that came `latency` cycles before; ``i_sum`` joins one cycle earlier, so
    the element below must see its ``x`` one cycle later than this one.

    Members
    -------
    i_x, i_swap, o_x, o_swap
        Activation stream, from left to right.
    i_sum, o_sum
        Partial sums, from top to bottom; wide enough for every row (`AccelConfig.sum_bits`).
    w
        The next weight's code.

    Parameters
    ----------
    place
        Position in its array, which some devices' placement uses.
    """

    def __init__(self, config: AccelConfig, place: Place | None = None) -> None:
        self.config, self.place = config, place
        act, total = signed(config.act_bits), signed(config.sum_bits)
        super().__init__({"i_x": In(act), "i_swap": In(1), "o_x": Out(act), "o_swap": Out(1),
                          "w": In(config.weight_bits), "i_sum": In(total), "o_sum": Out(total)})

    @staticmethod
    def latency_of(config: AccelConfig) -> int:
        """Cycles from ``i_x`` to the ``o_sum`` that includes its term."""
        return TERMS[config.cell].latency + 2

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.term = term = TERMS[self.config.cell](self.config, self.place)
        weight = Signal(self.config.weight_bits)
        m.d.sync += [self.o_x.eq(self.i_x), self.o_swap.eq(self.i_swap)]
        with m.If(self.i_swap):
            m.d.sync += weight.eq(self.w)
        m.d.comb += [term.x.eq(self.o_x), term.w.eq(weight)]
        m.d.sync += self.o_sum.eq(self.i_sum + term.term)   # cannot wrap: AccelConfig.sum_bits
        return m
