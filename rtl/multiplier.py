"""The multiplier of every unit: registers before and behind, so that a DSP block can hold them."""
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl import ecp5


class Multiplier(wiring.Component):
    """``product = a * b``, exact and signed, `latency` cycles later, a pair every cycle.

    On ECP5 it is one MULT18X18D with its own input and output registers where the operands fit
    18 bits; elsewhere registers and a ``*`` with the same latency. ``place`` says where in an
    array it stands, for a generator that places its slices.
    """

    latency = 2

    def __init__(self, a_bits: int, b_bits: int, place: ecp5.Place | None = None) -> None:
        self.a_bits, self.b_bits, self.place = a_bits, b_bits, place
        super().__init__({"a": In(signed(a_bits)), "b": In(signed(b_bits)),
                          "product": Out(signed(a_bits + b_bits))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if ecp5.is_target(platform) and max(self.a_bits, self.b_bits) <= ecp5.DSP_BITS:
            bel = ecp5.dsp_bel(self.place, platform.device) if self.place else None
            m.submodules.dsp = ecp5.mult18x18d(m, self.a, self.b, self.product, bel)
            return m
        a, b = Signal(signed(self.a_bits)), Signal(signed(self.b_bits))
        m.d.sync += [a.eq(self.a), b.eq(self.b), self.product.eq(a * b)]
        return m
