"""Output scratchpad: between the vector unit and memory."""
from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from accel.spec.isa import Target
from rtl.load import load_layout
from rtl.ram import READ_LATENCY, Ram


def word_layout(config: AccelConfig) -> data.ArrayLayout:
    """A word of the scratchpad."""
    return data.ArrayLayout(signed(config.act_bits), config.word_lanes)


def output_write_layout(config: AccelConfig) -> data.StructLayout:
    """The vector unit's write: lanes of one word."""
    return data.StructLayout({"address": range(config.out_depth), "enable": config.word_lanes,
                              "data": word_layout(config)})


class OutputScratchpad(wiring.Component):
    """``out_depth`` words, written by the vector unit and LOAD, read by the vector unit and STORE.

    A read takes an address every cycle; the word comes `read_latency` cycles later. What was
    written in a cycle can be read from an address `WRITE_LATENCY` cycles later on.

    Members
    -------
    write
        The vector unit's write, which never waits.
    load
        LOAD's whole words; ``ready``, from a register, while the vector unit does not write.
    add_address, add_data
        The vector unit's reads, where it can add.
    store_address, store_data
        STORE's reads.
    """

    read_latency = READ_LATENCY
    WRITE_LATENCY = 2

    def __init__(self, config: AccelConfig) -> None:
        self.config = config
        self.readers = ("store", "add") if config.residual else ("store",)
        super().__init__({
            "write": In(output_write_layout(config)),
            "load": In(stream.Signature(load_layout(config, Target.OUTPUT))),
            **{f"{reader}_address": In(range(config.out_depth)) for reader in self.readers},
            **{f"{reader}_data": Out(word_layout(config)) for reader in self.readers}})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self.config
        m.submodules.ram = ram = Ram(signed(c.act_bits), c.out_depth, lanes=c.word_lanes,
                                     read_ports=len(self.readers))
        write, writing = Signal(output_write_layout(c)), Signal()
        m.d.sync += [write.eq(self.write), writing.eq(self.write.enable.any())]
        load = self.load
        loaded = (load.valid & ~writing).replicate(c.word_lanes)
        m.d.comb += [
            load.ready.eq(~writing),
            ram.w_addr.eq(Mux(writing, write.address, load.payload.address)),
            ram.w_data.as_value().eq(Mux(writing, write.data.as_value(), load.payload.data)),
            # without a write its enables are 0
            ram.w_en.eq(write.enable | loaded)]
        for port, reader in enumerate(self.readers):
            m.d.comb += [
                getattr(ram, f"r{port}_addr").eq(getattr(self, f"{reader}_address")),
                getattr(self, f"{reader}_data").eq(getattr(ram, f"r{port}_data"))]
        return m
