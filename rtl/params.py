"""Biases and scales: their memory, and the set that the lanes work with."""
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from accel.spec.numerics import SHIFT_BITS
from rtl.arith import delay
from rtl.ram import READ_LATENCY, Ram
from rtl.register import LocalRegister


def param_layout(config: AccelConfig) -> data.StructLayout:
    """What the requantizer needs to know of one channel: `link.param_code`.

    ``multiplier`` is a code, and has no bits where there is but one.
    """
    return data.StructLayout({"bias": signed(config.acc_bits),
                              "multiplier": config.scales.code_bits, "shift": SHIFT_BITS})


class ParamFeed(wiring.Component):
    """Gives every lane its parameters, a set of them for each group of lanes that is worked on.

    A set takes ``vector_lanes / param_lanes`` words of the memory, one per cycle. Those of the
    next set are read while the lanes work with the one before: all but the last word go to
    registers, the last one waits behind the memory. With one word per set, a set per cycle is
    possible.

    Parameters
    ----------
    age
        Cycles from ``swap`` to the set that it brings; at least ``READ_LATENCY + 1``.

    Members
    -------
    offered, base
        An instruction that begins at word ``base`` is at hand; it stays until its first ``swap``
        or, once ``primed``, until any time before that.
    swap, ends
        Go on to the next set; that one was the instruction's last.
    ready_next
        There may be a ``swap`` in the next cycle.
    o
        The lanes' parameters.
    address, word, write
        Host writes to the memory.
    """

    def __init__(self, config: AccelConfig, age: int) -> None:
        self.config, self.age = config, age
        #: Words of a set.
        self.words = config.vector_lanes // config.param_lanes
        super().__init__({
            "offered": In(1), "base": In(range(config.param_depth)), "swap": In(1), "ends": In(1),
            "ready_next": Out(1),
            "o": Out(data.ArrayLayout(param_layout(config), config.vector_lanes)),
            "address": In(range(config.param_depth)), "write": In(1),
            "word": In(data.ArrayLayout(param_layout(config), config.param_lanes))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self.config
        last = self.words - 1
        # The word that is asked for, and its place in the set; `primed` once it is some
        # instruction's.
        asked, place = Signal(range(c.param_depth)), Signal(range(max(2, self.words)))
        primed = Signal()
        with m.If(self.swap):
            m.d.sync += [asked.eq(asked + 1), place.eq(0), primed.eq(~self.ends)]
            m.d.comb += self.ready_next.eq(~self.ends if last == 0 else 0)
        with m.Elif(~primed):
            m.d.sync += [asked.eq(self.base), place.eq(0), primed.eq(self.offered)]
            m.d.comb += self.ready_next.eq(self.offered if last == 0 else 0)
        with m.Elif(place != last):
            m.d.sync += [asked.eq(asked + 1), place.eq(place + 1)]
            m.d.comb += self.ready_next.eq(place == last - 1)
        with m.Else():
            m.d.comb += self.ready_next.eq(1)

        m.submodules.memory = memory = Ram(param_layout(c).size, c.param_depth,
                                           lanes=c.param_lanes)
        m.d.comb += [
            memory.w_addr.eq(self.address), memory.w_en.eq(self.write.replicate(c.param_lanes)),
            memory.w_data.eq(self.word),
            memory.r0_addr.eq(delay(m, asked, self.age - 1 - READ_LATENCY, "asked"))]
        read_place = delay(m, place, self.age - 1, "read_place")
        swapped = delay(m, self.swap, self.age - 2, "swapped")
        for lane in range(c.vector_lanes):
            word, channel = divmod(lane, c.param_lanes)
            param = memory.r0_data[channel]
            if word != last:
                ahead = Signal(len(param), name=f"ahead_{lane}")
                with m.If(read_place == word):
                    m.d.sync += ahead.eq(param)
                param = ahead
            # each lane has its own: they drive some fifty registers
            m.submodules[f"swap_{lane}"] = swap = LocalRegister(1)
            m.d.comb += swap.i.eq(swapped)
            with m.If(swap.o):
                m.d.sync += self.o[lane].eq(param)
        return m
