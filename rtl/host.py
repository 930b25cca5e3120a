"""Executes host commands: checks them whole, then writes or reads word by word."""
from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from accel.spec.link import (
    CRC_BYTES,
    HEADER_BYTES,
    READABLE,
    REGISTER_BITS,
    Command,
    Space,
    Status,
    space_shape,
    word_bytes,
)
from rtl.arith import delay, register, unsigned_as_signed
from rtl.carry import is_less
from rtl.link import COUNT_BYTES, FrameReceiver, FrameSender
from rtl.ram import READ_LATENCY

#: Cycles until what is registered about a frame is right.
SETTLE_CYCLES = 4


def bus_signature(config: AccelConfig) -> wiring.Signature:
    """Accesses to the address spaces, one word at a time.

    ``write`` strobes ``data`` to ``address`` of ``space``; ``read_data`` answers ``address``
    after the `HostPort`'s ``read_cycles`` at the latest.
    """
    shapes = [space_shape(config, space) for space in Space]
    widest = max(8 * word_bytes(config, space) for space in Space)
    readable = max(8 * word_bytes(config, space) for space in READABLE)
    return wiring.Signature({
        "space": Out(Space), "address": Out(range(max(words for words, _ in shapes))),
        "write": Out(1), "data": Out(widest), "read_data": In(readable)})


class HostPort(wiring.Component):
    """Frames in, bus accesses, frames out.

    Parameters
    ----------
    config
        The accelerator's.
    read_cycles
        Cycles from an address to its data on the bus.

    Members
    -------
    i, o
        Byte streams from and to the host.
    bus
        See `bus_signature`.
    running
        The core runs: only registers may be accessed.
    bad_frames
        Frames rejected since reset.
    """

    def __init__(self, config: AccelConfig, read_cycles: int) -> None:
        self.config, self.read_cycles = config, read_cycles
        super().__init__({
            "i": In(stream.Signature(8)), "o": Out(stream.Signature(8)),
            "bus": Out(bus_signature(config)), "running": In(1),
            "bad_frames": Out(REGISTER_BITS)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self.config
        m.submodules.receiver = receiver = FrameReceiver(c.frame_bytes)
        m.submodules.sender = sender = FrameSender()
        wiring.connect(m, receiver.i, wiring.flipped(self.i))
        wiring.connect(m, wiring.flipped(self.o), sender.o)
        header, bus = receiver.header, self.bus

        # what the addressed space is like, a cycle after its number has come
        size, most, depth = (Signal(range(c.frame_bytes + 1), name="word_bytes"),
                             Signal(range(c.frame_bytes + 1), name="most_words"),
                             Signal(32, name="space_words"))
        known, readable = Signal(), Signal()
        m.d.sync += known.eq(0)
        with m.Switch(header.space):
            for space in Space:
                with m.Case(space.value):
                    in_word = word_bytes(c, space)
                    m.d.sync += [size.eq(in_word), most.eq(c.frame_bytes // in_word),
                                 depth.eq(space_shape(c, space)[0]), known.eq(1),
                                 readable.eq(space in READABLE)]

        status = Signal(Status)
        words, left = Signal(16), Signal(range(receiver.depth + 1))
        reading = header.command == Command.READ
        payload = receiver.length - (HEADER_BYTES + CRC_BYTES)

        # Judgements come from registers, each a step further; states wait until they have settled.
        damaged = register(m, ~receiver.sound | (receiver.length < HEADER_BYTES + CRC_BYTES),
                           "damaged")
        busy = register(m, self.running & (header.space != Space.REGISTER), "busy")
        fits_frame = register(m, words <= most, "fits_frame")
        may_read = register(m, reading & readable & (left == COUNT_BYTES), "may_read")
        enough = register(m, left >= size, "enough")
        empty = register(m, ~words.any(), "no_words")
        end = register(m, header.address + words, "end_address")
        beyond = register(m, is_less(m, unsigned_as_signed(depth), unsigned_as_signed(end),
                                     "bound"), "beyond_space")
        pause = Signal(range(SETTLE_CYCLES))
        m.d.sync += pause.eq(pause - pause.any())

        last_byte, last_word = register(m, size - 1, "last_byte"), register(m, words == 1,
                                                                            "last_word")
        # registers between the states here and those of the sender
        outbox = sender.i.signature.create(path=("outbox",))
        m.d.comb += [sender.i.valid.eq(outbox.valid), sender.i.payload.eq(outbox.payload)]
        with m.If(sender.i.ready):
            m.d.sync += outbox.valid.eq(0)
        m.d.sync += receiver.take.eq(0)
        asking = Signal()       # for one more byte of the frame
        self._assemble(m, receiver, size, words, asking)

        def reply(code: Status) -> None:
            m.d.sync += status.eq(code)
            m.next = "STATUS"

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [bus.address.eq(header.address), bus.space.eq(header.space),
                             words.eq(Mux(reading, header.count, 0)), left.eq(payload)]
                with m.If(receiver.waiting & ~receiver.take):
                    m.d.sync += pause.eq(SETTLE_CYCLES - 1)
                    m.next = "CHECK"
            with m.State("CHECK"):
                with m.If(pause.any()):
                    pass
                with m.Elif(damaged):
                    m.d.sync += self.bad_frames.eq(self.bad_frames + 1)
                    reply(Status.BAD_FRAME)
                with m.Elif(~known):
                    reply(Status.BAD_COMMAND)
                with m.Elif(busy):
                    reply(Status.BUSY)
                with m.Elif(header.command == Command.WRITE):
                    m.next = "COUNT"
                with m.Elif(may_read & fits_frame):
                    m.next = "BOUNDS"
                with m.Else():
                    reply(Status.BAD_COMMAND)
            with m.State("COUNT"):      # the data's words, by subtraction
                with m.If(pause.any()):
                    pass
                with m.Elif(enough):
                    m.d.sync += [left.eq(left - size), words.eq(words + 1), pause.eq(1)]
                with m.Elif(left.any()):
                    reply(Status.BAD_COMMAND)
                with m.Else():
                    m.d.sync += pause.eq(SETTLE_CYCLES - 1)
                    m.next = "BOUNDS"
            with m.State("BOUNDS"):
                m.d.sync += left.eq(payload)
                with m.If(pause.any()):
                    pass
                with m.Elif(empty):
                    reply(Status.BAD_COMMAND)
                with m.Elif(beyond):
                    reply(Status.BAD_ADDRESS)
                with m.Elif(reading):
                    reply(Status.OK)
                with m.Else():
                    m.next = "WRITE"
            with m.State("WRITE"):
                m.d.comb += asking.eq(left.any())
                with m.If(asking):
                    m.d.sync += left.eq(left - 1)
                with m.If(~words.any()):
                    reply(Status.OK)
            self._answer(m, receiver, outbox, last_byte, last_word, words, status, reading)
        return m

    def _assemble(self, m: Module, receiver: FrameReceiver, size: Signal, words: Signal,
                  asking: Signal) -> None:
        """While ``asking``: bytes out of the frame, a byte per cycle, and a write per word."""
        source = Signal(range(receiver.depth), init=HEADER_BYTES)
        byte_index = Signal.like(size, name="byte_index")
        at_last = byte_index == size - 1
        m.d.comb += receiver.address.eq(source)
        m.d.sync += [source.eq(Mux(asking, source + 1, HEADER_BYTES)), self.bus.write.eq(0)]
        with m.If(delay(m, asking, READ_LATENCY, "asked")):
            m.d.sync += [self.bus.data.word_select(byte_index, 8).eq(receiver.byte),
                         byte_index.eq(Mux(at_last, 0, byte_index + 1)),
                         self.bus.write.eq(at_last)]
        with m.If(self.bus.write):
            m.d.sync += [self.bus.address.eq(self.bus.address + 1), words.eq(words - 1)]

    def _answer(self, m: Module, receiver: FrameReceiver, outbox: stream.Interface,
                last_byte: Signal, last_word: Signal, words: Signal, status: Signal,
                reading: Value) -> None:
        """States STATUS, FETCH and SEND: the status, then the words of a READ."""
        more = (status == Status.OK) & reading
        wait = Signal(range(self.read_cycles + 1))
        word = Signal(len(self.bus.read_data))
        sent_bytes = Signal.like(last_byte, name="sent_bytes")

        def offer(byte: Value, last: Value) -> None:
            m.d.sync += [outbox.payload.byte.eq(byte), outbox.payload.last.eq(last),
                         outbox.valid.eq(1)]

        with m.State("STATUS"):
            with m.If(~outbox.valid):
                offer(status, ~more)
                m.d.sync += wait.eq(self.read_cycles)
                with m.If(more):
                    m.next = "FETCH"
                with m.Else():
                    m.d.sync += receiver.take.eq(1)
                    m.next = "IDLE"
        with m.State("FETCH"):
            m.d.sync += [wait.eq(wait - 1), word.eq(self.bus.read_data), sent_bytes.eq(0)]
            with m.If(wait == 0):
                m.next = "SEND"
        with m.State("SEND"):
            at_last = sent_bytes == last_byte
            with m.If(~outbox.valid):
                offer(word[:8], at_last & last_word)
                m.d.sync += [word.eq(word >> 8), sent_bytes.eq(sent_bytes + 1),
                             wait.eq(self.read_cycles)]
                with m.If(at_last):
                    m.d.sync += [words.eq(words - 1), self.bus.address.eq(self.bus.address + 1)]
                    with m.If(last_word):
                        m.d.sync += receiver.take.eq(1)
                        m.next = "IDLE"
                    with m.Else():
                        m.next = "FETCH"
