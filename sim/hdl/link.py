"""Driver and monitor of the accelerator's byte streams."""
from typing import Any

from cocotb.triggers import FallingEdge, RisingEdge, with_timeout

from accel.host import Conversation
from accel.spec.link import END


class ByteLink:
    """Carries frames to and from a core.

    Everything happens at falling edges, halfway between the edges that count, so that it means
    the same in every simulator.
    """

    def __init__(self, dut: Any) -> None:
        self._dut = dut
        dut.i__valid.value = 0
        dut.o__ready.value = 1

    async def send(self, data: bytes) -> None:
        """Send bytes, one per cycle as the core takes them."""
        dut = self._dut
        for byte in data:
            await FallingEdge(dut.clk)
            dut.i__valid.value = 0
            while not dut.i__ready.value:
                await FallingEdge(dut.clk)
            dut.i__payload.value = byte
            dut.i__valid.value = 1
        await FallingEdge(dut.clk)
        dut.i__valid.value = 0

    async def receive(self) -> bytes:
        """Bytes up to the END that closes a frame."""
        dut, frame = self._dut, bytearray()
        while len(frame) < 2 or frame[-1] != END:
            await FallingEdge(dut.clk)
            if not dut.o__valid.value:
                await RisingEdge(dut.o__valid)
                await FallingEdge(dut.clk)
            frame.append(int(dut.o__payload.value))
        return bytes(frame)

    async def converse(self, conversation: Conversation) -> Any:
        """Run a conversation of `accel.host` over this link."""
        try:
            frame = next(conversation)
            while True:
                await self.send(frame)
                frame = conversation.send(await with_timeout(self.receive(), 50, "ms"))
        except StopIteration as done:
            return done.value
