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
from rtl.queue import RegisterQueue
from rtl.ram import READ_LATENCY

#: Cycles until what is registered about a frame is right.
SETTLE_CYCLES = 5


def bus_signature(config: AccelConfig) -> wiring.Signature:
    """Accesses to the address spaces, one word at a time.

    ``write`` strobes ``data`` to ``address`` of ``space``, ``read`` asks for ``read_data`` from
    there. All but the strobes hold still until ``done``, a strobe, says that the word is written
    or that ``read_data`` is there; only then comes the next access.
    """
    shapes = [space_shape(config, space) for space in Space]
    widest = max(8 * word_bytes(config, space) for space in Space)
    readable = max(8 * word_bytes(config, space) for space in READABLE)
    return wiring.Signature({
        "space": Out(Space), "address": Out(range(max(words for words, _ in shapes))),
        "write": Out(1), "data": Out(widest), "read": Out(1), "read_data": In(readable),
        "done": In(1)})


class Countdown:
    """Counts the bytes of a word; that it is at the last one is known from a register.

    ``last`` is the index of the last byte, and holds still.
    """

    def __init__(self, m: Module, last: Signal, name: str) -> None:
        self.last, self.left = last, Signal.like(last, name=name)
        self.single = register(m, last == 0, f"{name}_single")
        self.at_last = Signal(name=f"{name}_at_last")

    def restart(self, m: Module) -> None:
        """The next byte is the first."""
        m.d.sync += [self.left.eq(self.last), self.at_last.eq(self.single)]

    def step(self, m: Module) -> None:
        """A byte has gone; behind the last one comes the first."""
        m.d.sync += [self.left.eq(Mux(self.at_last, self.last, self.left - 1)),
                     self.at_last.eq(Mux(self.at_last, self.single, self.left == 1))]


class HostPort(wiring.Component):
    """Frames in, bus accesses, frames out.

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

    def __init__(self, config: AccelConfig) -> None:
        self.config = config
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
        # the sender must not wait for the wire's far end
        m.submodules.outgoing = outgoing = RegisterQueue(8, 1)
        wiring.connect(m, sender.o, outgoing.i)
        wiring.connect(m, outgoing.o, wiring.flipped(self.o))
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
        some_left = register(m, left.any(), "some_left")
        less = register(m, (left - size)[:len(left)], "left_less_a_word")
        empty = register(m, ~words.any(), "no_words")
        end = register(m, header.address + words, "end_address")
        beyond = register(m, is_less(m, unsigned_as_signed(depth), unsigned_as_signed(end),
                                     "bound"), "beyond_space")
        verdict, refused = Signal(Status), Signal()
        m.d.sync += refused.eq(1)
        with m.If(damaged):
            m.d.sync += verdict.eq(Status.BAD_FRAME)
        with m.Elif(~known):
            m.d.sync += verdict.eq(Status.BAD_COMMAND)
        with m.Elif(busy):
            m.d.sync += verdict.eq(Status.BUSY)
        with m.Elif((header.command == Command.WRITE) | (may_read & fits_frame)):
            m.d.sync += [verdict.eq(Status.OK), refused.eq(0)]
        with m.Else():
            m.d.sync += verdict.eq(Status.BAD_COMMAND)
        pause, settled = Signal(range(SETTLE_CYCLES)), Signal(init=1)
        m.d.sync += [pause.eq(pause - pause.any()), settled.eq(pause <= 1)]

        last_byte, last_word = register(m, size - 1, "last_byte"), register(m, words == 1,
                                                                            "last_word")
        # registers between the states here and those of the sender
        outbox = sender.i.signature.create(path=("outbox",))
        m.d.comb += [sender.i.valid.eq(outbox.valid), sender.i.payload.eq(outbox.payload)]
        with m.If(sender.i.ready):
            m.d.sync += outbox.valid.eq(0)
        m.d.sync += receiver.take.eq(0)
        asking = Signal()       # for one more byte of the frame
        countdown = Countdown(m, last_byte, "bytes_to_go")
        m.d.sync += [bus.read.eq(0), bus.write.eq(0)]
        with m.If(bus.done):
            m.d.sync += [bus.address.eq(bus.address + 1), words.eq(words - 1)]

        def settle(cycles: int) -> None:
            m.d.sync += [pause.eq(cycles), settled.eq(0)]

        def reply(code: Status | Signal) -> None:
            m.d.sync += status.eq(code)
            m.next = "STATUS"

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [bus.address.eq(header.address), bus.space.eq(header.space),
                             words.eq(Mux(reading, header.count, 0)), left.eq(payload)]
                with m.If(receiver.waiting & ~receiver.take):
                    settle(SETTLE_CYCLES - 1)
                    m.next = "CHECK"
            with m.State("CHECK"):
                with m.If(~settled):
                    pass
                with m.Elif(refused):
                    m.d.sync += self.bad_frames.eq(self.bad_frames + damaged)
                    reply(verdict)
                with m.Elif(reading):
                    m.next = "BOUNDS"
                with m.Else():
                    m.next = "COUNT"
            with m.State("COUNT"):      # the data's words, by subtraction
                with m.If(~settled):
                    pass
                with m.Elif(enough):
                    m.d.sync += [left.eq(less), words.eq(words + 1)]
                    settle(1)
                with m.Elif(some_left):
                    reply(Status.BAD_COMMAND)
                with m.Else():
                    settle(SETTLE_CYCLES - 1)
                    m.next = "BOUNDS"
            with m.State("BOUNDS"):
                with m.If(~settled):
                    pass
                with m.Elif(empty):
                    reply(Status.BAD_COMMAND)
                with m.Elif(beyond):
                    reply(Status.BAD_ADDRESS)
                with m.Elif(reading):
                    reply(Status.OK)
                with m.Else():
                    countdown.restart(m)
                    m.next = "WRITE"
            with m.State("WRITE"):      # a word's bytes out of the frame
                m.d.comb += asking.eq(1)
                countdown.step(m)
                with m.If(countdown.at_last):
                    m.next = "WRITTEN"
            with m.State("WRITTEN"):
                with m.If(bus.done):
                    m.next = "WRITE"
                    with m.If(last_word):
                        reply(Status.OK)
            self._answer(m, receiver, outbox, countdown, last_word, status, reading)
        self._assemble(m, receiver, last_byte, asking)
        return m

    def _assemble(self, m: Module, receiver: FrameReceiver, last_byte: Signal, asking: Signal,
                  ) -> None:
        """While ``asking``: bytes out of the frame, a byte per cycle, and a write per word."""
        bus = self.bus
        source = Signal(range(receiver.depth), init=HEADER_BYTES)
        m.d.comb += receiver.address.eq(source)
        m.d.sync += source.eq(Mux(receiver.take, HEADER_BYTES, source + asking))
        place = Signal(len(bus.data) // 8, init=1)      # of the byte that comes, one-hot
        to_come = Countdown(m, last_byte, "bytes_to_come")
        with m.If(delay(m, asking, READ_LATENCY, "asked")):
            for index, here in enumerate(place):
                with m.If(here):
                    m.d.sync += bus.data.word_select(index, 8).eq(receiver.byte)
            m.d.sync += [place.eq(place << 1), bus.write.eq(to_come.at_last)]
            to_come.step(m)
        with m.Else():
            m.d.sync += place.eq(1)
            to_come.restart(m)

    def _answer(self, m: Module, receiver: FrameReceiver, outbox: stream.Interface,
                countdown: Countdown, last_word: Signal, status: Signal, reading: Value) -> None:
        """States STATUS, FETCH and SEND: the status, then the words of a READ."""
        more = (status == Status.OK) & reading
        word, last = Signal(len(self.bus.read_data)), Signal()

        def offer(byte: Value, is_last: Value) -> None:
            m.d.sync += [outbox.payload.byte.eq(byte), outbox.payload.last.eq(is_last),
                         outbox.valid.eq(1)]

        with m.State("STATUS"):
            with m.If(~outbox.valid):
                offer(status, ~more)
                with m.If(more):
                    m.d.sync += self.bus.read.eq(1)
                    m.next = "FETCH"
                with m.Else():
                    m.d.sync += receiver.take.eq(1)
                    m.next = "IDLE"
        with m.State("FETCH"):
            m.d.sync += [word.eq(self.bus.read_data), last.eq(last_word)]
            countdown.restart(m)
            with m.If(self.bus.done):
                m.next = "SEND"
        with m.State("SEND"):
            with m.If(~outbox.valid):
                offer(word[:8], countdown.at_last & last)
                m.d.sync += word.eq(word >> 8)
                countdown.step(m)
                with m.If(countdown.at_last):
                    with m.If(last):
                        m.d.sync += receiver.take.eq(1)
                        m.next = "IDLE"
                    with m.Else():
                        m.d.sync += self.bus.read.eq(1)
                        m.next = "FETCH"
