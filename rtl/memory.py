"""The memory port: where tensors and streamed weights live, and an on-chip memory behind it."""
from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from rtl.arith import delay, register
from rtl.queue import ReadQueue
from rtl.ram import READ_LATENCY, Ram


def store_layout(config: AccelConfig) -> data.StructLayout:
    """A word to be written to memory."""
    return data.StructLayout({"address": range(config.mem_depth), "data": config.mem_bits})


class MemoryPort(wiring.Signature):
    """Words of ``mem_bits`` bits; reads and writes go on at the same time.

    Seen from the accelerator. Each address that is taken from ``read`` is answered on ``data``,
    in order and after any time; ``data`` may be kept waiting, and then loses nothing. A read that
    is taken after a write sees it. One taken in the same cycle need not.

    Members
    -------
    read
        Addresses of words to read.
    data
        The words read.
    write
        Words to write, with their addresses.
    """

    def __init__(self, config: AccelConfig) -> None:
        super().__init__({
            "read": Out(stream.Signature(range(config.mem_depth))),
            "data": In(stream.Signature(config.mem_bits)),
            "write": Out(stream.Signature(store_layout(config)))})


class Memory(wiring.Component):
    """On-chip memory: a read and a write in every cycle; a word read comes 5 cycles later.

    Parameters
    ----------
    config
        The accelerator's.
    latency
        Further cycles until a word that was read comes, as in a memory outside the chip.
    interval
        Cycles from one read to the next, and from one write to the next.

    Members
    -------
    port
        See `MemoryPort`.
    """

    def __init__(self, config: AccelConfig, *, latency: int = 0, interval: int = 1) -> None:
        self.config, self.latency, self.interval = config, latency, interval
        super().__init__({"port": In(MemoryPort(config))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self.config
        answer_cycles = 1 + READ_LATENCY + self.latency
        m.submodules.ram = ram = Ram(c.mem_bits, c.mem_depth)
        m.submodules.queue = queue = ReadQueue(c.mem_bits, answer_cycles + 5)
        read, write = self.port.read, self.port.write
        reading, writing = Signal(), Signal()
        m.d.comb += [
            read.ready.eq(queue.room & self._paced(m, reading, "read")),
            write.ready.eq(self._paced(m, writing, "write")),
            reading.eq(read.valid & read.ready), writing.eq(write.valid & write.ready),
            queue.reserve.eq(reading), queue.put.eq(delay(m, reading, answer_cycles, "reading")),
            # registers before a memory that is wide and far
            ram.r0_addr.eq(register(m, read.payload, "read_address")),
            ram.w_addr.eq(register(m, write.payload.address, "write_address")),
            ram.w_data[0].eq(register(m, write.payload.data, "write_data")),
            ram.w_en.eq(register(m, writing, "write_enable")),
            queue.word.eq(delay(m, ram.r0_data[0], self.latency, "word"))]
        wiring.connect(m, queue.o, wiring.flipped(self.port.data))
        return m

    def _paced(self, m: Module, moved: Signal, name: str) -> Signal:
        """Whether `interval` cycles have gone since something last moved."""
        free = Signal(name=f"{name}_free", init=1)
        if self.interval == 1:
            m.d.comb += free.eq(1)
            return free
        left = Signal(range(self.interval), name=f"{name}_pause")
        with m.If(moved):
            m.d.sync += [left.eq(self.interval - 1), free.eq(0)]
        with m.Elif(left.any()):
            m.d.sync += [left.eq(left - 1), free.eq(left == 1)]
        return free
