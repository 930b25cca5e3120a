"""Queues: one whose every wire is short, and one that takes in what a memory reads."""
from amaranth.hdl import Cat, Module, ShapeLike, Signal
from amaranth.lib import memory, stream, wiring
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
    flush
        Drop every word, and what comes in this cycle.
    """

    def __init__(self, bits: int, depth: int) -> None:
        self.bits, self.depth = bits, depth
        super().__init__({"i": In(stream.Signature(bits)), "o": Out(stream.Signature(bits)),
                          "empty": Out(1), "flush": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words = [Signal(self.bits, name=f"word_{place}") for place in range(self.depth)]
        full = [Signal(name=f"full_{place}") for place in range(self.depth)]
        behind = [(self.i.valid, self.i.payload), *zip(full, words, strict=True)]
        for place, (valid, word) in enumerate(behind[:-1]):
            with m.If(~full[place]):
                m.d.sync += [full[place].eq(valid & ~self.flush), words[place].eq(word)]
            with m.Elif(self.flush | (~full[place + 1] if place + 1 < self.depth
                                      else self.o.ready)):
                m.d.sync += full[place].eq(0)
        m.d.comb += [self.i.ready.eq(~full[0]), self.o.valid.eq(full[-1]),
                     self.o.payload.eq(words[-1]), self.empty.eq(~Cat(full).any())]
        return m


class ReadQueue(wiring.Component):
    """Takes in the words of a memory with fixed latency, for a reader that may pause.

    A place is reserved with each address that goes to the memory, so that every word finds room.
    With ``depth`` at least the cycles from ``reserve`` to ``put`` plus 5, a word passes in every
    cycle; from ``put`` to ``o`` it takes 2.

    Members
    -------
    room
        A place can be reserved in this cycle. From a register.
    reserve
        An address goes to the memory; only when there is ``room``.
    put, word
        The word for the oldest reserved place has come.
    o
        The words, in order.
    empty
        No place is reserved or taken.
    """

    def __init__(self, shape: ShapeLike, depth: int) -> None:
        self.shape, self.depth = shape, 1 << (depth - 1).bit_length()
        super().__init__({
            "room": Out(1), "reserve": In(1), "put": In(1), "word": In(shape),
            "o": Out(stream.Signature(shape)), "empty": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # so few words that LUTs hold them; they are read without a clock
        m.submodules.cells = cells = memory.Memory(shape=self.shape, depth=self.depth, init=[])
        write, read = cells.write_port(), cells.read_port(domain="comb")
        head, tail = Signal(range(self.depth)), Signal(range(self.depth))
        stored = Signal(range(self.depth + 1))
        taken, load = Signal(), Signal()
        m.d.comb += [
            write.addr.eq(tail), write.data.eq(self.word), write.en.eq(self.put),
            read.addr.eq(head), taken.eq(self.o.valid & self.o.ready),
            load.eq(stored.any() & (~self.o.valid | self.o.ready))]
        m.d.sync += [tail.eq(tail + self.put), head.eq(head + load),
                     stored.eq(stored + self.put - load)]
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += [self.o.valid.eq(stored.any()), self.o.payload.eq(read.data)]

        places = Signal(range(self.depth + 1))      # reserved or taken
        m.d.sync += [places.eq(places + self.reserve - taken),
                     # two may still be reserved until the register below shows it
                     self.room.eq(places < self.depth - 1)]
        m.d.comb += self.empty.eq(~places.any())
        return m
