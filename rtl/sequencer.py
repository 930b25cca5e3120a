"""Fetch, decode, dispatch; start, stop, faults and counters."""
from functools import reduce
from operator import and_

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from accel.spec.isa import UNIT_OF, Isa, Opcode, Unit, stray_tokens
from accel.spec.link import REGISTER_BITS, FaultCode
from rtl.arith import register
from rtl.instruction import layout
from rtl.queue import RegisterQueue
from rtl.ram import READ_LATENCY, Ram
from rtl.tokens import TokenExchange

QUEUE_DEPTH = 3
#: From a counter to the decoded instruction: memory, word register, registers of what it is.
FETCH_CYCLES = READ_LATENCY + 2


class Sequencer(wiring.Component):
    """Runs the program from ``entry`` on until FINISH or a fault.

    A fault is noted with the index of its instruction; the units then finish what was queued.

    Members
    -------
    start, entry
        Begin at instruction ``entry``; ignored while ``running``.
    gemm, vector
        Instruction words for the units, in program order per unit.
    units_idle, balanced
        Every unit is idle; no dependency token is left over.
    running, fault, fault_index, cycles
        State and result of the last run.
    address, word, write
        Host writes to the instruction memory.
    """

    def __init__(self, config: AccelConfig) -> None:
        self.config, self.isa = config, Isa(config)
        index = range(config.instruction_depth)
        words = stream.Signature(self.isa.word_bits)
        super().__init__({
            "start": In(1), "entry": In(index), "gemm": Out(words), "vector": Out(words),
            "units_idle": In(1), "balanced": In(1), "running": Out(1), "fault": Out(FaultCode),
            "fault_index": Out(index), "cycles": Out(REGISTER_BITS),
            "address": In(index), "word": In(self.isa.word_bits), "write": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = self.isa.word_bits
        m.submodules.memory = memory = Ram(bits, self.config.instruction_depth)
        queues = {}
        for unit, port in ((Unit.GEMM, self.gemm), (Unit.VECTOR, self.vector)):
            queue = RegisterQueue(bits, QUEUE_DEPTH)
            m.submodules[f"{unit.name.lower()}_queue"] = queues[unit] = queue
            wiring.connect(m, queue.o, wiring.flipped(port))

        counter = Signal(range(self.config.instruction_depth))
        fetching = Signal(range(FETCH_CYCLES + 1))
        m.d.comb += [memory.w_addr.eq(self.address), memory.w_data[0].eq(self.word),
                     memory.w_en.eq(self.write), memory.r0_addr.eq(counter)]
        # What follows the memory is decoded from registers, and pushed from registers: a queue is
        # as wide as an instruction.
        word = register(m, memory.r0_data[0], "word")
        header = data.View(layout(self.isa, Opcode.FINISH), word)
        finish = register(m, header.opcode == Opcode.FINISH, "finish")
        meant, push, stray = {}, {}, Const(0)
        for unit, queue in queues.items():
            name, flags = unit.name.lower(), [header[flag] for flag in stray_tokens(unit)]
            is_meant = header.opcode.matches(*(op.value for op, where in UNIT_OF.items()
                                               if where == unit))
            meant[unit] = register(m, is_meant, f"for_{name}")
            stray |= is_meant & (flags[0] | flags[1])
            push[unit] = Signal(name=f"{name}_push")
            m.d.sync += push[unit].eq(0)
            m.d.comb += [queue.i.payload.eq(word), queue.i.valid.eq(push[unit])]
        stray = register(m, stray, "stray")
        with m.If(self.running):
            m.d.sync += self.cycles.eq(self.cycles + 1)
        quiet = register(m, self.units_idle & ~any_waiting(queues), "quiet")
        settling = Signal(range(TokenExchange.LATENCY + 1))
        with m.FSM() as fsm:
            m.d.comb += self.running.eq(~fsm.ongoing("IDLE"))
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [counter.eq(self.entry), self.cycles.eq(0),
                                 self.fault.eq(FaultCode.NONE), self.fault_index.eq(0),
                                 fetching.eq(FETCH_CYCLES)]
                    m.next = "FETCH"
            with m.State("FETCH"):
                m.d.sync += [fetching.eq(fetching - 1), settling.eq(TokenExchange.LATENCY)]
                with m.If(fetching == 0):
                    m.next = "DISPATCH"
            with m.State("DISPATCH"):
                def stop(fault: FaultCode) -> None:
                    m.d.sync += [self.fault.eq(fault), self.fault_index.eq(counter)]
                    m.next = "STOP"

                with m.If(finish):
                    m.next = "STOP"
                with m.Elif(stray):
                    stop(FaultCode.BAD_TOKENS)
                for unit, queue in queues.items():
                    with m.Elif(meant[unit]), m.If(queue.i.ready):
                        m.d.sync += [push[unit].eq(1), counter.eq(counter + 1),
                                     fetching.eq(FETCH_CYCLES)]
                        m.next = "FETCH"
                with m.Else():
                    stop(FaultCode.BAD_OPCODE)
            with m.State("STOP"):
                # the last tokens are counted some cycles after the units come to rest
                m.d.sync += settling.eq(Mux(quiet, settling - 1, TokenExchange.LATENCY))
                with m.If(quiet & (settling == 0)):
                    with m.If((self.fault == FaultCode.NONE) & ~self.balanced):
                        m.d.sync += [self.fault.eq(FaultCode.BAD_TOKENS),
                                     self.fault_index.eq(counter)]
                    m.next = "IDLE"
        return m


def any_waiting(queues: dict[Unit, RegisterQueue]) -> Value:
    """Whether some queue still holds an instruction."""
    return ~reduce(and_, (queue.empty for queue in queues.values()))
