"""Host link: SLIP frames with a CRC-32, in and out (`accel.spec.link`)."""
from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from accel.spec.link import CRC_BYTES, END, ESC, ESC_END, ESC_ESC, HEADER_BYTES
from rtl.pick import chosen
from rtl.ram import Ram

#: Command, space, address and, in a READ, the word count.
HEADER = data.StructLayout({"command": 8, "space": 8, "address": 32, "count": 16})
COUNT_BYTES = 2


class FrameReceiver(wiring.Component):
    """Undoes SLIP, checks the CRC and keeps the frame until ``take``.

    Takes a byte per cycle while no frame waits. Nothing reaches the rest of the core before the
    whole frame has proved sound.

    Parameters
    ----------
    data_bytes
        Longest data of a frame; a longer one is not ``sound``.

    Members
    -------
    i
        Bytes from the host.
    waiting, sound, length
        A frame waits; its CRC is right; its bytes, header and CRC included.
    header
        Its first bytes.
    address, byte
        Read port of the frame's bytes, `READ_LATENCY` cycles.
    take
        Drop the frame and listen again.
    """

    def __init__(self, data_bytes: int) -> None:
        self.depth = data_bytes + HEADER_BYTES + CRC_BYTES
        super().__init__({
            "i": In(stream.Signature(8)), "waiting": Out(1), "sound": Out(1),
            "length": Out(range(self.depth + 1)), "header": Out(HEADER),
            "address": In(range(self.depth)), "byte": Out(8), "take": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.buffer = buffer = Ram(8, self.depth)
        m.submodules.crc = crc = CRC32_ISO_HDLC(data_width=8).create()
        # A byte is held, then decoded, then used: a register behind each step.
        held, held_valid, escaped, damaged = Signal(8), Signal(), Signal(), Signal()
        byte, is_data, is_end, is_bad = Signal(8), Signal(), Signal(), Signal()
        marks = {}      # what the held byte is
        for name, mark in (("end", END), ("esc", ESC), ("esc_end", ESC_END), ("esc_esc", ESC_ESC)):
            marks[name] = Signal(name=f"held_{name}")
            with m.If(self.i.ready):
                m.d.sync += marks[name].eq(self.i.payload == mark)
        decode = held_valid & ~self.waiting & ~is_end   # never while a frame waits to be taken
        m.d.comb += self.i.ready.eq(~held_valid | decode)
        with m.If(self.i.ready):
            m.d.sync += [held.eq(self.i.payload), held_valid.eq(self.i.valid)]

        m.d.sync += [is_data.eq(0), is_end.eq(0), is_bad.eq(0)]
        with m.If(decode):
            with m.If(marks["end"]):
                m.d.sync += [is_end.eq(1), is_bad.eq(escaped)]
            with m.Elif(marks["esc"] & ~escaped):
                m.d.sync += escaped.eq(1)
            with m.Else():
                known = marks["esc_end"] | marks["esc_esc"]
                m.d.sync += [
                    escaped.eq(0), is_data.eq(1), is_bad.eq(escaped & ~known),
                    byte.eq(Mux(escaped, Mux(marks["esc_end"], END, ESC), held))]

        header = Signal(HEADER.size)
        room = Signal(init=1)
        m.d.comb += [
            self.header.eq(header),
            self.sound.eq(crc.match_detected & ~damaged & (self.length > CRC_BYTES)),
            crc.data.eq(byte), crc.valid.eq(is_data), crc.start.eq(self.take),
            buffer.w_addr.eq(self.length), buffer.w_data[0].eq(byte),
            buffer.w_en.eq(is_data & room),
            buffer.r0_addr.eq(self.address), self.byte.eq(buffer.r0_data[0])]
        m.d.sync += damaged.eq(damaged | is_bad | (is_data & ~room))
        with m.If(is_end):
            m.d.sync += self.waiting.eq(self.length.any() | is_bad)
        with m.If(is_data & room):
            m.d.sync += [self.length.eq(self.length + 1), room.eq(self.length != self.depth - 1)]
        for index in range(HEADER.size // 8):
            with m.If(is_data & (self.length == index)):
                m.d.sync += header[8 * index:][:8].eq(byte)
        with m.If(self.take):
            m.d.sync += [self.waiting.eq(0), self.length.eq(0), damaged.eq(0), escaped.eq(0),
                         room.eq(1)]
        return m


class FrameSender(wiring.Component):
    """Frames bytes: END, the bytes and their CRC escaped, END. A byte in two cycles at most.

    Members
    -------
    i
        Bytes of a body; ``last`` marks its end.
    o
        Bytes to the host.
    """

    def __init__(self) -> None:
        super().__init__({
            "i": In(stream.Signature(data.StructLayout({"byte": 8, "last": 1}))),
            "o": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.crc = crc = CRC32_ISO_HDLC(data_width=8).create()
        byte, special = Signal(8), Signal()     # the byte to send; it needs an ESC
        last, replaced = Signal(), Signal()     # it is the body's last; its ESC has gone
        sent = Signal()                         # it has gone, escaped or not
        position = Signal(range(CRC_BYTES))
        loaded = Signal()                       # a byte of the body, in this cycle
        m.d.sync += loaded.eq(0)
        m.d.comb += [crc.data.eq(byte), crc.valid.eq(loaded)]

        def load(value: Value) -> None:
            m.d.sync += [byte.eq(value), special.eq((value == END) | (value == ESC))]

        def offer() -> None:
            m.d.comb += [self.o.valid.eq(1), sent.eq(self.o.ready & (~special | replaced))]
            with m.If(replaced):
                m.d.comb += self.o.payload.eq(Mux(byte == END, ESC_END, ESC_ESC))
            with m.Else():
                m.d.comb += self.o.payload.eq(Mux(special, ESC, byte))
            with m.If(self.o.ready):
                m.d.sync += replaced.eq(special & ~replaced)

        def delimit(following: str) -> None:
            m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(END)]
            with m.If(self.o.ready):
                m.next = following

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += crc.start.eq(1)
                with m.If(self.i.valid):
                    m.next = "OPEN"
            with m.State("OPEN"):
                delimit("BODY")
            with m.State("BODY"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += loaded.eq(self.i.valid)
                m.d.sync += [last.eq(self.i.payload.last), position.eq(0)]
                load(self.i.payload.byte)
                with m.If(self.i.valid):
                    m.next = "BODY BYTE"
            with m.State("BODY BYTE"):
                offer()
                with m.If(sent):
                    m.next = "BODY"
                    with m.If(last):
                        m.next = "CRC"
            with m.State("CRC"):
                load(chosen([crc.crc[8 * index:][:8] for index in range(CRC_BYTES)], position))
                m.d.sync += last.eq(position == CRC_BYTES - 1)
                m.next = "CRC BYTE"
            with m.State("CRC BYTE"):
                offer()
                with m.If(sent):
                    m.d.sync += position.eq(position + 1)
                    m.next = "CRC"
                    with m.If(last):
                        m.next = "CLOSE"
            with m.State("CLOSE"):
                delimit("IDLE")
        return m
