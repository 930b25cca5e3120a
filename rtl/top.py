"""The accelerator: the only file that instantiates every block."""
from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from accel.spec.isa import Unit
from accel.spec.link import Register, Space
from rtl.arith import delay, register
from rtl.gemm import GemmUnit
from rtl.host import HostPort
from rtl.load import LoadUnit
from rtl.memory import Memory, MemoryPort
from rtl.output import OutputScratchpad
from rtl.sequencer import WATCHED, Sequencer
from rtl.status import RegisterFile
from rtl.store import StoreUnit
from rtl.tokens import TokenRing
from rtl.vector import VectorUnit


class Accelerator(wiring.Component):
    """A configuration in hardware, behind a byte-stream host link (`accel.spec.link`).

    While no program runs, the host reads and writes memory through the same port as the units.

    Members
    -------
    i, o
        Bytes from and to the host.
    memory
        See `memory.MemoryPort`.
    running
        A program runs.
    """

    def __init__(self, config: AccelConfig) -> None:
        self.config = config
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8)),
                          "memory": Out(MemoryPort(config)), "running": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self.config
        m.submodules.host = host = HostPort(c)
        m.submodules.sequencer = sequencer = Sequencer(c)
        m.submodules.tokens = tokens = TokenRing()
        m.submodules.load = load = LoadUnit(c)
        m.submodules.gemm = gemm = GemmUnit(c)
        m.submodules.vector = vector = VectorUnit(c)
        m.submodules.store = store = StoreUnit(c, OutputScratchpad.read_latency)
        m.submodules.output = output = OutputScratchpad(c)
        units = {Unit.LOAD: load, Unit.GEMM: gemm, Unit.VECTOR: vector, Unit.STORE: store}
        wiring.connect(m, wiring.flipped(self.i), host.i)
        wiring.connect(m, wiring.flipped(self.o), host.o)
        m.d.comb += [self.running.eq(sequencer.running), host.running.eq(sequencer.running)]
        self._control(m, sequencer, tokens, units)

        # accumulators, output scratchpad
        m.d.comb += [gemm.acc_address.eq(vector.acc_address), vector.acc_data.eq(gemm.acc_data),
                     output.write.eq(vector.output_write),
                     output.store_address.eq(store.out_address),
                     store.out_data.eq(output.store_data)]
        wiring.connect(m, load.output, output.load)
        if c.residual:
            m.d.comb += [output.add_address.eq(vector.add_address),
                         vector.add_data.eq(output.add_data)]
        self._activations(m, load, gemm, vector)
        self._host(m, host, sequencer, load, gemm, vector, store, units)
        return m

    def _control(self, m: Module, sequencer: Sequencer, tokens: TokenRing,
                 units: dict[Unit, wiring.Component]) -> None:
        """Instructions, tokens and faults."""
        for unit, block in units.items():
            name = unit.name.lower()
            wiring.connect(m, getattr(sequencer, name), block.i)
            wiring.connect(m, block.before, getattr(tokens, f"{name}_before"))
            wiring.connect(m, block.behind, getattr(tokens, f"{name}_behind"))
            if unit in WATCHED:
                m.d.comb += [
                    block.i_index.eq(getattr(sequencer, f"{name}_index")),
                    getattr(sequencer, f"{name}_fault").eq(block.fault),
                    getattr(sequencer, f"{name}_fault_index").eq(block.fault_index)]
        m.d.comb += [
            sequencer.units_idle.eq(Cat(block.idle for block in units.values()).all()),
            sequencer.moving.eq(Cat(block.busy for block in units.values()).any()),
            sequencer.balanced.eq(tokens.balanced), tokens.clear.eq(sequencer.clear),
            tokens.flood.eq(sequencer.aborting)]

    def _activations(self, m: Module, load: LoadUnit, gemm: GemmUnit, vector: VectorUnit) -> None:
        """The vector unit's writes do not wait; LOAD's do, while there are any."""
        write = register(m, vector.activation_write.as_value(), "activation_write")
        writing = register(m, vector.activation_write.enable.any(), "activation_writing")
        word = Signal(gemm.write.shape())
        m.d.comb += [
            load.activation.ready.eq(~writing),
            word.address.eq(load.activation.payload.address),
            word.enable.eq(load.activation.valid.replicate(self.config.word_lanes)),
            word.data.as_value().eq(load.activation.payload.data),
            gemm.write.as_value().eq(Mux(writing, write, word.as_value()))]

    def _host(self, m: Module, host: HostPort, sequencer: Sequencer, load: LoadUnit,
              gemm: GemmUnit, vector: VectorUnit, store: StoreUnit,
              units: dict[Unit, wiring.Component]) -> None:
        """The address spaces."""
        bus = host.bus
        address, word = register(m, bus.address, "bus_address"), register(m, bus.data, "bus_data")
        writes = {space: register(m, bus.write & (bus.space == space),
                                  f"write_{space.name.lower()}") for space in Space}
        m.d.comb += [
            sequencer.address.eq(address), sequencer.word.eq(word),
            sequencer.write.eq(writes[Space.INSTRUCTION]),
            gemm.offset_address.eq(address), gemm.offset_data.eq(word),
            gemm.offset_write.eq(writes[Space.OFFSET]),
            vector.param_address.eq(address), vector.param_data.eq(word),
            vector.param_write.eq(writes[Space.PARAM])]
        tile_row = load.weight
        m.d.comb += [tile_row.ready.eq(1),
                     gemm.weight_write.eq(tile_row.valid | writes[Space.WEIGHT])]
        for port, own, of_host in (
                (gemm.weight_address, tile_row.payload.address, address),
                (gemm.weight_data.as_value(), tile_row.payload.data, word)):
            m.d.comb += port.eq(Mux(sequencer.running, own, of_host))

        m.submodules.registers = registers = RegisterFile(self.config)
        start = register(m, writes[Space.REGISTER] & (address == Register.CONTROL), "start")
        m.d.comb += [
            sequencer.entry.eq(register(m, word, "entry")), sequencer.start.eq(start),
            registers.clear.eq(sequencer.clear), registers.running.eq(sequencer.running),
            registers.busy.eq(Cat(units[unit].busy for unit in Unit)),
            registers.stall.eq(Cat(units[unit].stall for unit in Unit)),
            registers.fault.eq(sequencer.fault),
            registers.fault_index.eq(sequencer.fault_index),
            registers.cycles.eq(sequencer.cycles), registers.bad_frames.eq(host.bad_frames),
            registers.address.eq(address)]

        of_memory = register(m, bus.space == Space.MEMORY, "bus_memory")
        read = register(m, bus.read, "bus_read")
        ended, memory_word = self._memory(m, load, store, address, word,
                                          read=read & of_memory, write=writes[Space.MEMORY])
        answered = (delay(m, read & ~of_memory, registers.latency, "read_register")
                    | Cat(flag for space, flag in writes.items() if space != Space.MEMORY).any())
        m.d.sync += [bus.done.eq(ended | answered),
                     bus.read_data.eq(Mux(of_memory, memory_word, registers.o))]

    def _memory(self, m: Module, load: LoadUnit, store: StoreUnit, address: Value, word: Value, *,
                read: Value, write: Value) -> tuple[Value, Value]:
        """The memory port: of the units during a run, else of the host.

        Returns whether the host's access has ended, and the word that was read.
        """
        port = self.memory
        asks, awaits, writes = Signal(), Signal(), Signal()     # the host
        m.d.sync += [asks.eq(read | (asks & ~port.read.ready)),
                     awaits.eq(read | (awaits & ~port.data.valid)),
                     writes.eq(write | (writes & ~port.write.ready))]
        m.d.comb += [
            port.read.valid.eq(load.read.valid | asks), load.read.ready.eq(port.read.ready),
            port.read.payload.eq(Mux(asks, address, load.read.payload)),
            load.data.valid.eq(port.data.valid), load.data.payload.eq(port.data.payload),
            port.data.ready.eq(load.data.ready | awaits),
            port.write.valid.eq(store.write.valid | writes),
            store.write.ready.eq(port.write.ready),
            port.write.payload.address.eq(Mux(writes, address, store.write.payload.address)),
            port.write.payload.data.eq(Mux(writes, word, store.write.payload.data))]
        return ((awaits & port.data.valid) | (writes & port.write.ready), port.data.payload)


class System(wiring.Component):
    """An accelerator with its memory on the chip: what is simulated and what boards hold.

    Parameters
    ----------
    config
        The accelerator's.
    latency, interval
        Of a slower memory, see `memory.Memory`.

    Members
    -------
    i, o, running
        As in `Accelerator`.
    """

    def __init__(self, config: AccelConfig, *, latency: int = 0, interval: int = 1) -> None:
        self.config, self.latency, self.interval = config, latency, interval
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8)),
                          "running": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.accelerator = accelerator = Accelerator(self.config)
        m.submodules.memory = memory = Memory(self.config, latency=self.latency,
                                              interval=self.interval)
        wiring.connect(m, wiring.flipped(self.i), accelerator.i)
        wiring.connect(m, accelerator.o, wiring.flipped(self.o))
        wiring.connect(m, accelerator.memory, memory.port)
        m.d.comb += self.running.eq(accelerator.running)
        return m
