"""Bytes over a serial line: 8 data bits from the low bit up, no parity, one stop bit."""
from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from accel.spec.config import ConfigError

#: Fewest clock cycles per bit: the receiver finds the start bit to one cycle, and with 2 % between
#: the two clocks the last sample still lies within its bit.
MIN_DIVISOR = 8
MAX_ERROR = 0.01
FRAME_BITS = 10


def uart_divisor(clock_hz: float, baud: int) -> int:
    """Clock cycles per bit; `ConfigError` when the rounded rate is more than 1 % off."""
    divisor = max(1, round(clock_hz / baud))
    error = abs(clock_hz / divisor / baud - 1)
    if divisor < MIN_DIVISOR or error > MAX_ERROR:
        raise ConfigError(f"baud {baud} cannot be made from a clock of {clock_hz / 1e6:g} MHz: "
                          f"{divisor} cycles per bit (at least {MIN_DIVISOR}), {error:.1%} off (at "
                          f"most {MAX_ERROR:.0%}); nearest: "
                          f"{clock_hz / max(divisor, MIN_DIVISOR):.0f}")
    return divisor


class UartTransmitter(wiring.Component):
    """Sends each byte of `i` on `tx`; takes one per ``10 * divisor + 1`` cycles."""

    i: In(stream.Signature(8))
    tx: Out(1, init=1)

    def __init__(self, divisor: int) -> None:
        self.divisor = divisor
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        timer = Signal(range(self.divisor))
        bits_left = Signal(range(FRAME_BITS + 1))
        # The line is the low bit; ones shifted in from the top make the stop bit and the rest.
        frame = Signal(FRAME_BITS, init=-1)

        m.d.comb += [self.tx.eq(frame[0]), self.i.ready.eq(bits_left == 0)]
        with m.If(bits_left == 0):
            with m.If(self.i.valid):
                m.d.sync += [frame.eq(Cat(Const(0, 1), self.i.payload, Const(1, 1))),
                             bits_left.eq(FRAME_BITS), timer.eq(self.divisor - 1)]
        with m.Elif(timer == 0):
            m.d.sync += [frame.eq(Cat(frame[1:], Const(1, 1))), bits_left.eq(bits_left - 1),
                         timer.eq(self.divisor - 1)]
        with m.Else():
            m.d.sync += timer.eq(timer - 1)
        return m


class UartReceiver(wiring.Component):
    """Offers each byte that arrives on `rx`, about 9.5 bit times after its start bit.

    The line cannot be told to wait. One byte is held; if the consumer has not taken it when the
    next one is complete, the newer is lost, and the frame check of the host link finds that.
    A byte whose stop bit is low (framing error, break) is dropped.
    """

    rx: In(1, init=1)
    o: Out(stream.Signature(8))

    def __init__(self, divisor: int) -> None:
        self.divisor = divisor
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        line = Signal(init=1)
        m.submodules.rx_sync = FFSynchronizer(self.rx, line, init=1)
        timer = Signal(range(self.divisor))
        data = Signal(8)
        count = Signal(range(8))

        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.FSM():
            with m.State("IDLE"), m.If(~line):
                m.d.sync += timer.eq(self.divisor // 2 - 1)  # to the middle of the start bit
                m.next = "START"
            with m.State("START"), m.If(timer == 0):
                m.d.sync += [timer.eq(self.divisor - 1), count.eq(0)]
                with m.If(line):
                    m.next = "IDLE"  # a glitch
                with m.Else():
                    m.next = "DATA"
            with m.State("DATA"), m.If(timer == 0):
                m.d.sync += [timer.eq(self.divisor - 1), data.eq(Cat(data[1:], line)),
                             count.eq(count + 1)]
                with m.If(count == 7):
                    m.next = "STOP"
            with m.State("STOP"), m.If(timer == 0):
                with m.If(~line):
                    m.next = "BREAK"
                with m.Else():
                    m.next = "IDLE"
                    with m.If(~self.o.valid | self.o.ready):
                        m.d.sync += [self.o.payload.eq(data), self.o.valid.eq(1)]
            with m.State("BREAK"), m.If(line):
                m.next = "IDLE"
        return m


class Uart(wiring.Component):
    """Both directions: `i` goes out on `tx`, what arrives on `rx` comes out of `o`.

    Parameters
    ----------
    divisor
        Clock cycles per bit, from `uart_divisor`.
    """

    i: In(stream.Signature(8))
    o: Out(stream.Signature(8))
    rx: In(1, init=1)
    tx: Out(1, init=1)

    def __init__(self, divisor: int) -> None:
        self.divisor = divisor
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.transmitter = transmitter = UartTransmitter(self.divisor)
        m.submodules.receiver = receiver = UartReceiver(self.divisor)
        wiring.connect(m, wiring.flipped(self.i), transmitter.i)
        wiring.connect(m, wiring.flipped(self.o), receiver.o)
        m.d.comb += [self.tx.eq(transmitter.tx), receiver.rx.eq(self.rx)]
        return m
