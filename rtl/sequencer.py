"""Fetch, decode, dispatch; start, stop and faults."""
from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from accel.spec.isa import OPCODE_BITS, UNIT_OF, Isa, Opcode, Unit
from accel.spec.link import REGISTER_BITS, FaultCode
from rtl.arith import register
from rtl.queue import RegisterQueue
from rtl.ram import READ_LATENCY, Ram
from rtl.tokens import TokenRing

QUEUE_DEPTH = 4
#: Units that can address memory wrongly: with each instruction goes its place in the program.
WATCHED = (Unit.LOAD, Unit.STORE)
#: Cycles without a step of any unit after which they wait for tokens that never come.
PATIENCE = 1 << 16
#: The last tokens are counted some cycles after the units have come to rest.
SETTLE_CYCLES = TokenRing.LATENCY + 2


def stored_bits(isa: Isa, unit: Unit) -> int:
    """Bits of an instruction word that ``unit`` looks at: header and fields."""
    forms = [isa.formats[opcode] for opcode, where in UNIT_OF.items() if where == unit]
    return max(sum(field.bits for field in (*isa.header, *form)) for form in forms)


class Sequencer(wiring.Component):
    """Runs the program from ``entry`` on until FINISH or a fault; an instruction in 3 cycles.

    A fault is noted with the index of its instruction: of the one that has no such opcode, of the
    LOAD or STORE whose address lies outside, of FINISH when tokens are left over, of the next one
    to be dispatched when no unit has moved for `PATIENCE` cycles (BAD_TOKENS as well). Then
    ``aborting`` is set, what is queued is dropped, and the units finish what they have begun.

    Parameters
    ----------
    config
        The accelerator's.
    patience
        See `PATIENCE`.

    Members
    -------
    start, entry
        Begin at instruction ``entry``; ignored while ``running``.
    load, gemm, vector, store
        Instruction words for the units, in program order per unit.
    load_index, store_index
        Where the offered instruction stands in the program.
    load_fault, load_fault_index, store_fault, store_fault_index
        Strobes: the unit's instruction of that index has a bad address.
    units_idle, moving, balanced
        Every unit is idle; some unit is busy in this cycle; no dependency token is left over.
    clear
        A run starts: drop tokens of the one before.
    running, aborting, fault, fault_index, cycles
        State and result of the last run.
    address, word, write
        Host writes to the instruction memory.
    """

    def __init__(self, config: AccelConfig, patience: int = PATIENCE) -> None:
        self.config, self.isa, self.patience = config, Isa(config), patience
        index = range(config.instruction_depth)
        words = stream.Signature(self.isa.word_bits)
        super().__init__({
            "start": In(1), "entry": In(index),
            **{unit.name.lower(): Out(words) for unit in Unit},
            **{f"{unit.name.lower()}_index": Out(index) for unit in WATCHED},
            **{f"{unit.name.lower()}_fault": In(1) for unit in WATCHED},
            **{f"{unit.name.lower()}_fault_index": In(index) for unit in WATCHED},
            "units_idle": In(1), "moving": In(1), "balanced": In(1), "clear": Out(1),
            "running": Out(1), "aborting": Out(1), "fault": Out(FaultCode),
            "fault_index": Out(index), "cycles": Out(REGISTER_BITS),
            "address": In(index), "word": In(self.isa.word_bits), "write": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = Ram(self.isa.word_bits, self.config.instruction_depth)
        counter, age = Signal.like(self.entry, name="counter"), Signal(range(READ_LATENCY + 1))
        m.d.comb += [memory.w_addr.eq(self.address), memory.w_data[0].eq(self.word),
                     memory.w_en.eq(self.write), memory.r0_addr.eq(counter),
                     self.clear.eq(self.start & ~self.running)]

        # The next word waits at the memory's output until the one before has gone. What a word
        # means is known from registers: a queue is as wide as an instruction.
        word, index = Signal(self.isa.word_bits), Signal.like(self.entry, name="word_index")
        held, finish, unknown = Signal(), Signal(), Signal()
        meant = {unit: Signal(name=f"for_{unit.name.lower()}") for unit in Unit}
        opcode = memory.r0_data[0][:OPCODE_BITS]
        with m.If(self.clear):
            m.d.sync += [counter.eq(self.entry), age.eq(READ_LATENCY), held.eq(0)]
        with m.Elif(~held & (age == 0)):
            m.d.sync += [
                word.eq(memory.r0_data[0]), held.eq(1), index.eq(counter),
                counter.eq(counter + 1), age.eq(READ_LATENCY), finish.eq(opcode == Opcode.FINISH),
                unknown.eq(~opcode.matches(*(op.value for op in Opcode))),
                *(flag.eq(opcode.matches(*(op.value for op, where in UNIT_OF.items()
                                           if where == unit))) for unit, flag in meant.items())]
        with m.Else():
            m.d.sync += age.eq(age - age.any())

        sends = Signal()        # the word goes to its unit, if that has room
        pushes, empty = self._queues(m, word, index, meant, held, sends)
        quiet = register(m, self.units_idle & empty & ~Cat(pushes).any(), "quiet")
        self._control(m, index, sends, quiet, held & finish, held & unknown)
        return m

    def _queues(self, m: Module, word: Signal, index: Signal, meant: dict[Unit, Signal],
                held: Signal, sends: Signal) -> tuple[list[Signal], Value]:
        """A queue for each unit. Returns what goes into them, and whether they are empty."""
        pushes, empty = [], []
        for unit in Unit:
            name = unit.name.lower()
            bits, watched = stored_bits(self.isa, unit), unit in WATCHED
            m.submodules[f"{name}_queue"] = queue = RegisterQueue(
                bits + len(index) * watched, QUEUE_DEPTH)
            port, push = getattr(self, name), Signal(name=f"{name}_push")
            goes = sends & held & meant[unit] & queue.i.ready
            m.d.sync += push.eq(goes)
            with m.If(goes):
                m.d.sync += held.eq(0)
            m.d.comb += [
                queue.i.payload.eq(Cat(word[:bits], index)), queue.i.valid.eq(push),
                queue.flush.eq(self.aborting), port.valid.eq(queue.o.valid),
                queue.o.ready.eq(port.ready), port.payload.eq(queue.o.payload[:bits])]
            if watched:
                m.d.comb += getattr(self, f"{name}_index").eq(queue.o.payload[bits:])
            pushes.append(push)
            empty.append(queue.empty)
        return pushes, Cat(empty).all()

    def _control(self, m: Module, index: Signal, sends: Signal, quiet: Signal, finish: Value,
                 unknown: Value) -> None:
        """Start, stop and what is noted about it."""
        def note(fault: FaultCode, where: Value) -> None:
            with m.If(self.fault == FaultCode.NONE):
                m.d.sync += [self.fault.eq(fault), self.fault_index.eq(where)]

        still, stuck = Signal(range(self.patience)), Signal()
        m.d.sync += [self.aborting.eq(self.running & (self.fault != FaultCode.NONE)),
                     still.eq(Mux(self.running & ~self.moving, still + 1, 0)),
                     stuck.eq(still == self.patience - 1)]
        with m.If(self.running):
            m.d.sync += self.cycles.eq(self.cycles + 1)
            with m.If(stuck):
                note(FaultCode.BAD_TOKENS, index)
            for unit in WATCHED:
                name = unit.name.lower()
                with m.If(getattr(self, f"{name}_fault")):
                    note(FaultCode.BAD_ADDRESS, getattr(self, f"{name}_fault_index"))
        settling = Signal(range(SETTLE_CYCLES + 1))
        with m.FSM() as fsm:
            m.d.comb += self.running.eq(~fsm.ongoing("IDLE"))
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [self.cycles.eq(0), self.fault.eq(FaultCode.NONE),
                                 self.fault_index.eq(0), settling.eq(SETTLE_CYCLES)]
                    m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += sends.eq(1)
                with m.If(finish | self.aborting):
                    m.next = "STOP"
                with m.Elif(unknown):
                    note(FaultCode.BAD_OPCODE, index)
                    m.next = "STOP"
            with m.State("STOP"):
                m.d.sync += settling.eq(Mux(quiet, settling - 1, SETTLE_CYCLES))
                with m.If(quiet & (settling == 0)):
                    with m.If(~self.balanced):
                        note(FaultCode.BAD_TOKENS, index)
                    m.next = "IDLE"
