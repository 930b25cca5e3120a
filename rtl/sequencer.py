"""Fetch, decode, dispatch; start, stop, faults and counters."""
from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from accel.spec.isa import UNIT_OF, Isa, Opcode, Unit, stray_tokens
from accel.spec.link import REGISTER_BITS, FaultCode
from rtl.instruction import layout
from rtl.ram import READ_LATENCY, Ram

QUEUE_DEPTH = 4


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
            queue = SyncFIFOBuffered(width=bits, depth=QUEUE_DEPTH)
            m.submodules[f"{unit.name.lower()}_queue"] = queues[unit] = queue
            wiring.connect(m, queue.r_stream, wiring.flipped(port))

        counter, fetching = Signal(range(self.config.instruction_depth)), Signal(range(4))
        instruction = memory.r0_data[0]
        m.d.comb += [memory.w_addr.eq(self.address), memory.w_data[0].eq(self.word),
                     memory.w_en.eq(self.write), memory.r0_addr.eq(counter)]
        m.d.comb += [queue.w_data.eq(instruction) for queue in queues.values()]
        with m.If(self.running):
            m.d.sync += self.cycles.eq(self.cycles + 1)
        with m.FSM() as fsm:
            m.d.comb += self.running.eq(~fsm.ongoing("IDLE"))
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [counter.eq(self.entry), self.cycles.eq(0),
                                 self.fault.eq(FaultCode.NONE), self.fault_index.eq(0),
                                 fetching.eq(READ_LATENCY)]
                    m.next = "FETCH"
            with m.State("FETCH"):
                m.d.sync += fetching.eq(fetching - 1)
                with m.If(fetching == 0):
                    m.next = "DISPATCH"
            with m.State("DISPATCH"):
                self._dispatch(m, queues, instruction, counter, fetching)
            with m.State("STOP"):
                with m.If(self.units_idle & ~any_waiting(queues)):
                    with m.If((self.fault == FaultCode.NONE) & ~self.balanced):
                        m.d.sync += [self.fault.eq(FaultCode.BAD_TOKENS),
                                     self.fault_index.eq(counter)]
                    m.next = "IDLE"
        return m

    def _dispatch(self, m: Module, queues: dict[Unit, SyncFIFOBuffered], instruction: Signal,
                  counter: Signal, fetching: Signal) -> None:
        def stop(fault: FaultCode) -> None:
            m.d.sync += [self.fault.eq(fault), self.fault_index.eq(counter)]
            m.next = "STOP"

        header = data.View(layout(self.isa, Opcode.FINISH), instruction)
        with m.Switch(header.opcode):
            with m.Case(Opcode.FINISH.value):
                m.next = "STOP"
            for unit, queue in queues.items():
                with m.Case(*(op.value for op, where in UNIT_OF.items() if where == unit)):
                    stray = [header[flag] for flag in stray_tokens(unit)]
                    with m.If(stray[0] | stray[1]):
                        stop(FaultCode.BAD_TOKENS)
                    with m.Elif(queue.w_rdy):
                        m.d.comb += queue.w_en.eq(1)
                        m.d.sync += [counter.eq(counter + 1), fetching.eq(READ_LATENCY)]
                        m.next = "FETCH"
            with m.Default():
                stop(FaultCode.BAD_OPCODE)


def any_waiting(queues: dict[Unit, SyncFIFOBuffered]) -> Signal:
    """Whether some queue still holds an instruction."""
    waiting = [queue.level.any() for queue in queues.values()]
    return waiting[0] | waiting[1]
