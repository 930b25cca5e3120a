"""The accelerator: the only file that instantiates every block."""
from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from accel.spec.link import MAGIC, REGISTER_BITS, Register, Space
from rtl.gemm import GemmUnit
from rtl.host import HostPort
from rtl.sequencer import Sequencer
from rtl.tokens import TokenExchange
from rtl.vector import VectorUnit

#: Cycles from a register's address to its value.
REGISTER_LATENCY = 1


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
            self.config, read_cycles=max(GemmUnit.HOST_READ_LATENCY, REGISTER_LATENCY))
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
        self._spaces(m, host, sequencer, gemm, vector)
        self._registers(m, host, sequencer, gemm, vector)
        return m

    def _spaces(self, m: Module, host: HostPort, sequencer: Sequencer, gemm: GemmUnit,
                vector: VectorUnit) -> None:
        """Host writes to the memories; activations are shared with the vector unit."""
        bus = host.bus
        lane_bits = (self.config.word_lanes - 1).bit_length()
        m.d.comb += [
            sequencer.address.eq(bus.address), sequencer.word.eq(bus.data),
            sequencer.write.eq(bus.write & (bus.space == Space.INSTRUCTION)),
            gemm.weight_address.eq(bus.address), gemm.weight_data.eq(bus.data),
            gemm.weight_write.eq(bus.write & (bus.space == Space.WEIGHT)),
            vector.param_address.eq(bus.address), vector.param_data.eq(bus.data),
            vector.param_write.eq(bus.write & (bus.space == Space.PARAM)),
            gemm.host_element.eq(bus.address)]
        with m.If(sequencer.running):
            m.d.comb += [gemm.write.address.eq(vector.write.address),
                         gemm.write.enable.eq(vector.write.enable),
                         gemm.write.data.eq(vector.write.data)]
        with m.Else():
            lane = bus.address[:lane_bits]
            strobe = bus.write & (bus.space == Space.ACTIVATION)
            m.d.comb += [
                gemm.write.address.eq(bus.address[lane_bits:]),
                gemm.write.enable.eq(Cat(strobe & (lane == index)
                                         for index in range(self.config.word_lanes))),
                *(gemm.write.data[index].eq(bus.data[:self.config.act_bits].as_signed())
                  for index in range(self.config.word_lanes))]

    def _registers(self, m: Module, host: HostPort, sequencer: Sequencer, gemm: GemmUnit,
                   vector: VectorUnit) -> None:
        bus, digest = host.bus, int(self.config.digest, 16)
        busy = {}
        for unit, active in (("gemm", gemm.stepping), ("vector", vector.stepping)):
            busy[unit] = count = Signal(REGISTER_BITS, name=f"{unit}_busy")
            with m.If(sequencer.start & ~sequencer.running):
                m.d.sync += count.eq(0)
            with m.Elif(active & sequencer.running):
                m.d.sync += count.eq(count + 1)
        m.d.comb += [
            sequencer.entry.eq(bus.data),
            sequencer.start.eq(bus.write & (bus.space == Space.REGISTER)
                               & (bus.address == Register.CONTROL))]
        values = {
            Register.MAGIC: MAGIC, Register.DIGEST_LOW: digest & 0xFFFFFFFF,
            Register.DIGEST_HIGH: digest >> 32, Register.CONTROL: sequencer.running,
            Register.FAULT: sequencer.fault, Register.FAULT_INDEX: sequencer.fault_index,
            Register.CYCLES: sequencer.cycles, Register.GEMM_BUSY: busy["gemm"],
            Register.VECTOR_BUSY: busy["vector"], Register.BAD_FRAMES: host.bad_frames}
        register_data = Signal(REGISTER_BITS)
        with m.Switch(bus.address):
            for register, value in values.items():
                with m.Case(register.value):
                    m.d.sync += register_data.eq(value)
        m.d.comb += bus.read_data.eq(Mux(bus.space == Space.REGISTER, register_data,
                                         gemm.host_activation.as_unsigned()))
