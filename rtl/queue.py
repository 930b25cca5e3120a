"""A queue of registers: slow to pass, but every wire in it is short."""
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class RegisterQueue(wiring.Component):
    """Holds up to ``depth`` words of ``bits`` bits; each moves on when the place ahead is empty.

    A word takes ``depth`` cycles to pass; one in two cycles can. That suits words that come
    seldom and go far, such as instructions.

    Members
    -------
    i, o
        Words in and out.
    empty
        It holds no word.
    """

    def __init__(self, bits: int, depth: int) -> None:
        self.bits, self.depth = bits, depth
        super().__init__({"i": In(stream.Signature(bits)), "o": Out(stream.Signature(bits)),
                          "empty": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words = [Signal(self.bits, name=f"word_{place}") for place in range(self.depth)]
        full = [Signal(name=f"full_{place}") for place in range(self.depth)]
        behind = [(self.i.valid, self.i.payload), *zip(full, words, strict=True)]
        for place, (valid, word) in enumerate(behind[:-1]):
            with m.If(~full[place]):
                m.d.sync += [full[place].eq(valid), words[place].eq(word)]
            with m.Elif(~full[place + 1] if place + 1 < self.depth else self.o.ready):
                m.d.sync += full[place].eq(0)
        m.d.comb += [self.i.ready.eq(~full[0]), self.o.valid.eq(full[-1]),
                     self.o.payload.eq(words[-1]), self.empty.eq(~Cat(full).any())]
        return m
