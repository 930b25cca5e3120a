"""STORE unit: output scratchpad to memory."""
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from accel.spec.isa import Isa, Opcode
from rtl.address import AffineLoops
from rtl.arith import delay, register
from rtl.instruction import layout
from rtl.load import beyond
from rtl.memory import store_layout
from rtl.queue import ReadQueue
from rtl.ram import READ_LATENCY
from rtl.tokens import TokenPort, taken_with_tokens

#: Registers between the loops and the scratchpad.
ADDRESS_CYCLES = 1


class StoreUnit(wiring.Component):
    """Executes STORE: a word per cycle while memory takes them.

    Words are read ahead into a small queue. The walk pauses for 2 cycles between instructions,
    while the queue goes on. Tokens are given in the cycle after memory took the last word, so
    that a read for whoever takes them sees it.

    An address beyond its memory ends the instruction with a ``fault``: that access is not made,
    and its tokens are not given.

    Members
    -------
    i, i_index
        Instruction words, and where each stands in the program.
    before, behind
        Exchanges with the neighbours in the ring of units.
    idle
        Nothing is queued, running or on its way.
    busy, stall
        Memory takes a word; it makes one wait.
    fault, fault_index
        Strobe, and the index of the instruction that it ends.
    out_address, out_data
        Read port of the output scratchpad, ``read_latency`` cycles.
    write
        The writing half of a `memory.MemoryPort`.
    """

    def __init__(self, config: AccelConfig, read_latency: int = READ_LATENCY) -> None:
        self.config, self.isa, self.read_latency = config, Isa(config), read_latency
        self.form = layout(self.isa, Opcode.STORE)
        self.bits = {field.name: field.bits for field in self.isa.formats[Opcode.STORE]}
        #: What goes through the queue: a word, unless ``void``, and the tokens to be given.
        self.entry = data.StructLayout({
            "word": store_layout(config), "void": 1, "push_prev": 1, "push_next": 1})
        index = range(config.instruction_depth)
        super().__init__({
            "i": In(stream.Signature(self.isa.word_bits)), "i_index": In(index),
            "before": Out(TokenPort()), "behind": Out(TokenPort()),
            "idle": Out(1), "busy": Out(1), "stall": Out(1), "fault": Out(1),
            "fault_index": Out(index),
            "out_address": Out(range(config.out_depth)),
            "out_data": In(config.word_lanes * config.act_bits),
            "write": Out(stream.Signature(store_layout(config)))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = self.bits
        m.submodules.loops = loops = AffineLoops((bits["rows"], bits["words"]), (
            bits["out_base"], bits["mem_base"] + 1))
        m.submodules.queue = queue = ReadQueue(
            self.entry, ADDRESS_CYCLES + self.read_latency + 5)
        offered = data.View(self.form, self.i.payload)
        current, index = Signal(self.form), Signal.like(self.i_index, name="index")
        fresh, running, failed = Signal(), Signal(), Signal()
        take = taken_with_tokens(m, self, offered, ~(fresh | running))
        m.d.sync += fresh.eq(take)
        with m.If(take):
            m.d.sync += [current.eq(offered), index.eq(self.i_index),
                         loops.single.eq(Cat(offered.rows == 1, offered.words == 1))]
        empty = Signal()
        m.d.sync += empty.eq(~(offered.rows.any() & offered.words.any()))   # as it is taken

        step, ends = Signal(), Signal()
        m.d.comb += [
            loops.start.eq(fresh), loops.stream_starts.eq(fresh.replicate(2)),
            loops.counts.l0.eq(current.rows), loops.counts.l1.eq(current.words),
            loops.bases.s0.eq(current.out_base), loops.bases.s1.eq(current.mem_base),
            loops.strides.s0[0].eq(current.row_stride), loops.strides.s0[1].eq(1),
            loops.strides.s1[0].eq(current.mem_row_stride), loops.strides.s1[1].eq(1),
            step.eq(running & queue.room), loops.step.eq(step),
            loops.stream_steps.eq(step.replicate(2)), queue.reserve.eq(step)]
        nothing = Signal()      # the running instruction is empty, and passes as one step
        with m.If(fresh):
            m.d.sync += nothing.eq(empty)
        m.d.comb += ends.eq(step & (loops.last | nothing | failed))
        m.d.sync += running.eq(fresh | (running & ~ends))

        # one cycle behind the loops, where the addresses are judged
        stepped = register(m, step, "stepped")
        last = register(m, step & (loops.last | nothing), "stepped_last")
        out_address = register(m, loops.addresses.s0, "out_address")
        mem_address = register(m, loops.addresses.s1, "mem_address")
        fails = beyond(mem_address, self.config.mem_depth) & stepped & ~nothing
        m.d.sync += [failed.eq(~fresh & (failed | fails)), self.fault.eq(fails & ~failed),
                     self.fault_index.eq(index)]
        entry = Signal(self.entry)
        m.d.comb += [
            self.out_address.eq(out_address),
            entry.void.eq(nothing | fails | failed),
            entry.word.address.eq(mem_address),
            entry.push_prev.eq(last & ~fails & ~failed & current.push_prev),
            entry.push_next.eq(last & ~fails & ~failed & current.push_next)]
        self._write(m, queue, entry, stepped)
        m.d.comb += self.idle.eq(~self.i.valid & ~fresh & ~running & queue.empty
                                 & ~self.before.push & ~self.behind.push)
        return m

    def _write(self, m: Module, queue: ReadQueue, entry: data.View, stepped: Signal) -> None:
        """Words and their addresses through the queue to memory; tokens behind the last."""
        come = Signal(self.entry)
        word, taken = queue.o.payload, Signal()
        m.d.comb += [
            come.eq(delay(m, entry.as_value(), self.read_latency, "entry")),
            queue.word.eq(come), queue.word.word.data.eq(self.out_data),
            queue.put.eq(delay(m, stepped, self.read_latency, "come")),
            self.write.valid.eq(queue.o.valid & ~word.void), self.write.payload.eq(word.word),
            queue.o.ready.eq(self.write.ready | word.void),
            taken.eq(queue.o.valid & queue.o.ready),
            self.busy.eq(self.write.valid & self.write.ready),
            self.stall.eq(self.write.valid & ~self.write.ready)]
        m.d.sync += [self.before.push.eq(taken & word.push_prev),
                     self.behind.push.eq(taken & word.push_next)]
