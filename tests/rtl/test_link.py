"""Frames: what comes through whole, and what does not come through at all."""
import random

import pytest
from amaranth.sim import SimulatorContext

from accel.spec import link
from rtl.link import FrameReceiver, FrameSender
from sim import pysim

BODIES = [bytes([1, 2, 3, 4, 5, 6, 7]), bytes([link.END, link.ESC, link.ESC_END, link.ESC_ESC] * 3),
          bytes(range(38)), random.Random(1).randbytes(38)]


def received(frames: list[bytes], data_bytes: int = 32) -> list[tuple[bool, bytes]]:
    """What a receiver makes of bytes: per frame, whether it is sound, and its body."""
    dut, got, sent = FrameReceiver(data_bytes), [], []

    async def feed(ctx: SimulatorContext) -> None:
        await pysim.send(ctx, dut.i, b"".join(frames))
        await ctx.tick().repeat(4)      # until the last byte has been looked at
        sent.append(True)

    async def take(ctx: SimulatorContext) -> None:
        while not sent or ctx.get(dut.waiting):
            await ctx.tick()
            if not ctx.get(dut.waiting):
                continue
            length, sound, body = ctx.get(dut.length), ctx.get(dut.sound), bytearray()
            for address in range(length - link.CRC_BYTES):
                ctx.set(dut.address, address)
                await ctx.tick().repeat(2)
                body.append(ctx.get(dut.byte))
            got.append((bool(sound), bytes(body)))
            ctx.set(dut.take, 1)
            await ctx.tick()
            ctx.set(dut.take, 0)

    pysim.run(dut, feed, take)
    return got


def test_sound_frames_come_through() -> None:
    assert received([link.seal(body) for body in BODIES]) == [(True, body) for body in BODIES]


@pytest.mark.parametrize("body", BODIES, ids=len)
def test_each_damaged_byte_is_noticed(body: bytes) -> None:
    """A frame with one byte changed is unsound; the sound one behind it still comes through."""
    whole = link.seal(body)
    for place in range(1, len(whole) - 1, 5):
        damaged = whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1:]
        *others, last = received([damaged, link.seal(b"sound")])
        assert last == (True, b"sound")
        assert not any(sound for sound, _ in others)


@pytest.mark.parametrize("length", [2, 3, 6, 12])
def test_a_cut_frame_is_noticed(length: int) -> None:
    frames = [link.seal(BODIES[2])[:length], link.seal(b"sound")]
    (sound, _), last = received(frames)
    assert not sound
    assert last == (True, b"sound")


def test_a_long_frame_is_unsound() -> None:
    assert [sound for sound, _ in received([link.seal(bytes(39)), link.seal(bytes(38))])] == [
        False, True]


def test_empty_frames_are_no_frames() -> None:
    assert received([bytes([link.END] * 5), link.seal(b"x")]) == [(True, b"x")]


@pytest.mark.parametrize("body", BODIES, ids=len)
@pytest.mark.parametrize("stall", [False, True])
def test_sender(body: bytes, stall: bool) -> None:
    dut, sent = FrameSender(), bytearray()

    async def feed(ctx: SimulatorContext) -> None:
        await pysim.send(ctx, dut.i, [{"byte": byte, "last": n == len(body) - 1}
                                      for n, byte in enumerate(body)])

    async def drain(ctx: SimulatorContext) -> None:
        random_ready = random.Random(7)
        while len(sent) < 2 or sent[-1] != link.END:
            ready = not stall or random_ready.random() < 0.4
            ctx.set(dut.o.ready, ready)
            _, _, valid, byte = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            if valid and ready:
                sent.append(byte)

    pysim.run(dut, feed, drain)
    assert link.unseal(bytes(sent)) == body
