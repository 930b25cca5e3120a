"""The accelerator: the only file that instantiates every block."""
from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from accel.spec.link import MAGIC, REGISTER_BITS, Register, Space
from rtl.arith import register
from rtl.gemm import GemmUnit
from rtl.host import HostPort
from rtl.sequencer import Sequencer
from rtl.tokens import TokenExchange
from rtl.vector import VectorUnit

#: Cycles from the host's bus to the units and back; a register's value is no slower than an
#: activation.
BUS_LATENCY = 2


class Accelerator(wiring.Component):
    """A configuration in hardware, behind a byte-stream host link (`accel.spec.link`).

    Members
    -------
    i, o
        Bytes from and to the host.
    running
        A program runs.
    """

    def __init__(self, config: AccelConfig) -> None:
        self.config = config
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8)),
                          "running": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.host = host = HostPort(
            self.config, read_cycles=BUS_LATENCY + GemmUnit.HOST_READ_LATENCY)
        m.submodules.sequencer = sequencer = Sequencer(self.config)
        m.submodules.gemm = gemm = GemmUnit(self.config)
        m.submodules.vector = vector = VectorUnit(self.config)
        m.submodules.tokens = tokens = TokenExchange(most=self.config.instruction_depth)
        wiring.connect(m, wiring.flipped(self.i), host.i)
        wiring.connect(m, wiring.flipped(self.o), host.o)
        wiring.connect(m, sequencer.gemm, gemm.i)
        wiring.connect(m, sequencer.vector, vector.i)
        wiring.connect(m, tokens.before, gemm.tokens)
        wiring.connect(m, tokens.behind, vector.tokens)
        m.d.comb += [
            self.running.eq(sequencer.running), host.running.eq(sequencer.running),
            sequencer.units_idle.eq(gemm.idle & vector.idle),
            sequencer.balanced.eq(tokens.balanced),
            gemm.acc_address.eq(vector.acc_address), vector.acc_data.eq(gemm.acc_data)]
        address = register(m, host.bus.address, "bus_address")
        word = register(m, host.bus.data, "bus_data")
        writes = {space: register(m, host.bus.write & (host.bus.space == space),
                                  f"write_{space.name.lower()}") for space in Space}
        m.d.comb += [
            sequencer.address.eq(address), sequencer.word.eq(word),
            sequencer.write.eq(writes[Space.INSTRUCTION]),
            gemm.weight_address.eq(address), gemm.weight_data.eq(word),
            gemm.weight_write.eq(writes[Space.WEIGHT]),
            vector.param_address.eq(address), vector.param_data.eq(word),
            vector.param_write.eq(writes[Space.PARAM]), gemm.host_element.eq(address)]
        self._activations(m, sequencer, gemm, vector, address, word, writes[Space.ACTIVATION])
        self._registers(m, host, sequencer, gemm, vector, address, word, writes[Space.REGISTER])
        return m

    def _activations(self, m: Module, sequencer: Sequencer, gemm: GemmUnit, vector: VectorUnit,
                     address: Signal, word: Signal, write: Signal) -> None:
        """Activations are written by the vector unit during a run, else by the host."""
        lane_bits = (self.config.word_lanes - 1).bit_length()
        with m.If(sequencer.running):
            m.d.comb += gemm.write.eq(vector.write)
        with m.Else():
            lane = address[:lane_bits]
            m.d.comb += [
                gemm.write.address.eq(address[lane_bits:]),
                gemm.write.enable.eq(Cat(write & (lane == index)
                                         for index in range(self.config.word_lanes))),
                *(gemm.write.data[index].eq(word[:self.config.act_bits].as_signed())
                  for index in range(self.config.word_lanes))]

    def _registers(self, m: Module, host: HostPort, sequencer: Sequencer, gemm: GemmUnit,
                   vector: VectorUnit, address: Signal, word: Signal, write: Signal) -> None:
        digest = int(self.config.digest, 16)
        start = register(m, write & (address == Register.CONTROL), "start")
        m.d.comb += [sequencer.entry.eq(register(m, word, "entry")), sequencer.start.eq(start)]
        counting, busy = register(m, sequencer.running, "counting"), {}
        for unit, stepping in (("gemm", gemm.stepping), ("vector", vector.stepping)):
            busy[unit] = count = Signal(REGISTER_BITS, name=f"{unit}_busy")
            active = register(m, stepping, f"{unit}_active")
            with m.If(start & ~sequencer.running):
                m.d.sync += count.eq(0)
            with m.Elif(active & counting):
                m.d.sync += count.eq(count + 1)
        values = {
            Register.MAGIC: MAGIC, Register.DIGEST_LOW: digest & 0xFFFFFFFF,
            Register.DIGEST_HIGH: digest >> 32, Register.CONTROL: sequencer.running,
            Register.FAULT: sequencer.fault, Register.FAULT_INDEX: sequencer.fault_index,
            Register.CYCLES: sequencer.cycles, Register.GEMM_BUSY: busy["gemm"],
            Register.VECTOR_BUSY: busy["vector"], Register.BAD_FRAMES: host.bad_frames}
        chosen = {name: register(m, address == name.value, f"chosen_{name.name.lower()}")
                  for name in values}
        shown = register(m, reduce(or_, (Mux(chosen[name], value, 0)
                                         for name, value in values.items())), "shown")
        m.d.sync += host.bus.read_data.eq(
            Mux(host.bus.space == Space.REGISTER, shown, gemm.host_activation.as_unsigned()))
