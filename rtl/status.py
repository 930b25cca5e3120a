"""The register file: what the host can read of the core, counters included."""
from functools import reduce
from operator import or_

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from accel.spec.isa import Unit
from accel.spec.link import MAGIC, REGISTER_BITS, FaultCode, Register
from rtl.arith import register

#: Registers whose values are gathered in one step.
GROUP = 4


class RegisterFile(wiring.Component):
    """Counts what the units do, and shows every register; CONTROL is written elsewhere.

    Members
    -------
    clear, running
        A run starts; it goes on.
    busy, stall
        Per unit, in the order of `isa.Unit`.
    fault, fault_index, cycles, bad_frames
        Values to show.
    address, o
        The register at ``address``, `latency` cycles later.
    """

    latency = 3

    def __init__(self, config: AccelConfig) -> None:
        self.config = config
        super().__init__({
            "clear": In(1), "running": In(1), "busy": In(len(Unit)), "stall": In(len(Unit)),
            "fault": In(FaultCode), "fault_index": In(range(config.instruction_depth)),
            "cycles": In(REGISTER_BITS), "bad_frames": In(REGISTER_BITS),
            "address": In(range(len(Register))), "o": Out(REGISTER_BITS)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        digest = int(self.config.digest, 16)
        values = {
            Register.MAGIC: MAGIC, Register.DIGEST_LOW: digest & 0xFFFFFFFF,
            Register.DIGEST_HIGH: digest >> 32, Register.CONTROL: self.running,
            Register.FAULT: self.fault, Register.FAULT_INDEX: self.fault_index,
            Register.CYCLES: self.cycles, Register.BAD_FRAMES: self.bad_frames}
        counting = register(m, self.running, "counting")
        for unit in Unit:
            for what, flags in (("busy", self.busy), ("stall", self.stall)):
                name = f"{unit.name.lower()}_{what}"
                values[Register[name.upper()]] = count = Signal(REGISTER_BITS, name=name)
                active = register(m, flags[unit], f"{name}_now")    # the units are far apart
                with m.If(self.clear):
                    m.d.sync += count.eq(0)
                with m.Elif(active & counting):
                    m.d.sync += count.eq(count + 1)

        shown = [Mux(register(m, self.address == which.value, f"chosen_{which.name.lower()}"),
                     values[which], 0) for which in Register]
        groups = [register(m, reduce(or_, shown[first:first + GROUP]), f"group_{first}")
                  for first in range(0, len(shown), GROUP)]
        m.d.sync += self.o.eq(reduce(or_, groups))
        return m
