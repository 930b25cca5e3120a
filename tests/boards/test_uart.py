"""The serial port in simulation: loop-back, clocks that differ, framing errors, stalls."""
import random

import pytest
from amaranth.hdl import Module
from amaranth.sim import Simulator

from accel.spec.config import ConfigError
from boards.uart import MIN_DIVISOR, Uart, UartReceiver, uart_divisor

PERIOD = 1e-8
EDGES = bytes([0x00, 0xFF, 0x55, 0xAA, 0x01, 0x80])


def simulate(component: object, **benches: object) -> None:
    simulator = Simulator(component)
    simulator.add_clock(PERIOD)
    for name, bench in benches.items():
        (simulator.add_process if name.startswith("wire") else simulator.add_testbench)(bench)
    simulator.run()


async def collect(ctx: object, port: object, count: int, limit: int) -> bytes:
    """Take up to ``count`` bytes within ``limit`` cycles."""
    found = []
    ctx.set(port.ready, 1)
    for _ in range(limit):
        _, _, valid, payload = await ctx.tick().sample(port.valid, port.payload)
        if valid:
            found.append(payload)
        if len(found) == count:
            break
    ctx.set(port.ready, 0)
    return bytes(found)


@pytest.mark.parametrize("divisor", [MIN_DIVISOR, 9, 20, 61])
def test_loop_back(divisor: int) -> None:
    uart = Uart(divisor)
    m = Module()
    m.submodules.uart = uart
    m.d.comb += uart.rx.eq(uart.tx)
    data = EDGES + random.Random(divisor).randbytes(4)
    got = []

    async def send(ctx: object) -> None:
        for byte in data:
            ctx.set(uart.i.payload, byte)
            ctx.set(uart.i.valid, 1)
            await ctx.tick().until(uart.i.ready)
        ctx.set(uart.i.valid, 0)

    async def receive(ctx: object) -> None:
        got.append(await collect(ctx, uart.o, len(data), 12 * divisor * len(data)))

    simulate(m, send=send, receive=receive)
    assert got == [data]


async def drive(ctx: object, pin: object, data: bytes, bit_s: float, stop: int = 1) -> None:
    """Send frames with bits of ``bit_s`` seconds, back to back."""
    for byte in data:
        for bit in (0, *((byte >> index) & 1 for index in range(8)), stop):
            ctx.set(pin, bit)
            await ctx.delay(bit_s)
    ctx.set(pin, 1)
    await ctx.delay(bit_s)


def receive_bytes(divisor: int, bit_s: float, data: bytes, stop: int = 1) -> bytes:
    """What a receiver makes of frames with bits of ``bit_s`` seconds."""
    receiver, got = UartReceiver(divisor), []

    async def line(ctx: object) -> None:
        ctx.set(receiver.rx, 1)
        await ctx.delay(bit_s)
        await drive(ctx, receiver.rx, data, bit_s, stop)

    async def take(ctx: object) -> None:
        got.append(await collect(ctx, receiver.o, len(data) + 1, 11 * divisor * (len(data) + 3)))

    simulate(receiver, line=line, take=take)
    return got[0]


@pytest.mark.parametrize("divisor", [MIN_DIVISOR, 13, 60])
@pytest.mark.parametrize("mismatch", [-0.02, 0.0, 0.02])
def test_two_percent_between_the_clocks(divisor: int, mismatch: float) -> None:
    data = EDGES + random.Random(1).randbytes(6)
    assert receive_bytes(divisor, divisor * PERIOD * (1 + mismatch), data) == data


def test_frames_without_a_stop_bit_are_dropped() -> None:
    assert receive_bytes(20, 20 * PERIOD, b"\x00", stop=0) == b""
    assert receive_bytes(20, 20 * PERIOD, b"\x5a") == b"\x5a"


def test_a_stalled_consumer_loses_the_newer_bytes() -> None:
    receiver, got = UartReceiver(10), []

    async def bench(ctx: object) -> None:
        ctx.set(receiver.rx, 1)
        await drive(ctx, receiver.rx, b"\x11\x22\x33", 10 * PERIOD)
        got.append(await collect(ctx, receiver.o, 2, 50))
        await drive(ctx, receiver.rx, b"\x44", 10 * PERIOD)
        got.append(await collect(ctx, receiver.o, 1, 50))

    simulate(receiver, bench=bench)
    assert got == [b"\x11", b"\x44"]


def test_divisor() -> None:
    assert uart_divisor(60e6, 1_000_000) == 60
    assert uart_divisor(60e6, 115_200) == 521
    for clock, baud in ((60e6, 8_000_000), (25e6, 2_900_000), (1e6, 10_000_000)):
        with pytest.raises(ConfigError, match=r"baud \d+ cannot be made .*nearest: \d+"):
            uart_divisor(clock, baud)
