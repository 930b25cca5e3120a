"""One array row's source of activations: its bank of the scratchpad, addressed by tap."""
from collections.abc import Sequence

from amaranth.hdl import Array, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from accel.spec.link import offset_bits
from rtl.arith import delay, register
from rtl.ram import READ_LATENCY, Ram


def step_layout(config: AccelConfig) -> data.StructLayout:
    """One step of the array: the activation's element address, and whether weights change.

    Where the array is switched at run time, also whether terms are distances.
    """
    switch = {"distance": 1} if config.array.switched else {}
    return data.StructLayout({"address": offset_bits(config), "swap": 1, **switch})


def write_layout(config: AccelConfig) -> data.StructLayout:
    """A write that every row's bank gets: lanes of one word."""
    return data.StructLayout({
        "address": range(config.act_depth), "enable": config.word_lanes,
        "data": data.ArrayLayout(signed(config.act_bits), config.word_lanes)})


#: Bits of the lane number that the first step looks at.
NEAR_BITS = 2


def _pick(values: Sequence[Value], index: Value) -> Value:
    return Array(values)[index] if len(values) > 1 else values[0]


class RowFeeder(wiring.Component):
    """Reads the activation at ``step.address + offset`` every cycle.

    All rows walk the same addresses, one cycle after the row above; only the offset differs. That
    makes any kernel, stride or dilation a matter of offsets, without copies of the input. Every
    row holds the same activations, in its own bank.

    `latency` cycles from ``i`` to ``x``, ``swap`` and ``distance``; ``o`` is ``i`` one cycle
    later. With the step that has ``swap``, the row takes over ``offset``; ``plain`` leaves the
    offset out. Writes travel down with the steps: ``o_write`` is ``write`` one cycle later.
    """

    latency = 2 + READ_LATENCY + 2

    def __init__(self, config: AccelConfig) -> None:
        self.config = config
        step = step_layout(config)
        super().__init__({
            **({"distance": Out(1)} if config.array.switched else {}),
            "i": In(step), "o": Out(step), "plain": In(1), "offset": In(offset_bits(config)),
            "write": In(write_layout(config)), "o_write": Out(write_layout(config)),
            "x": Out(signed(config.act_bits)), "swap": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self.config
        m.submodules.bank = bank = Ram(signed(c.act_bits), c.act_depth, lanes=c.word_lanes)
        m.d.sync += self.o_write.eq(self.write)
        m.d.comb += [bank.w_addr.eq(self.o_write.address), bank.w_en.eq(self.o_write.enable),
                     bank.w_data.eq(self.o_write.data)]

        offset = Signal.like(self.offset, name="row_offset")
        with m.If(self.i.swap):
            m.d.sync += offset.eq(self.offset)
        m.d.sync += self.o.eq(self.i)
        plain = register(m, self.plain, "plain_step")
        # the compiler keeps address + offset inside the scratchpad
        element = register(m, (self.o.address + Mux(plain, 0, offset))[:len(offset)], "element")

        lane_bits = (c.word_lanes - 1).bit_length()
        m.d.comb += bank.r0_addr.eq(element[lane_bits:])
        lane = delay(m, element[:lane_bits], READ_LATENCY, "lane")
        # the lane in two steps, a few of its bits each: a wide multiplexer is slow
        near = min(lane_bits, NEAR_BITS)
        lanes = [bank.r0_data[index] for index in range(c.word_lanes)]
        picked = [register(m, _pick(lanes[base:base + (1 << near)], lane[:near]), f"picked_{base}")
                  for base in range(0, c.word_lanes, 1 << near)]
        m.d.sync += self.x.eq(_pick(picked, delay(m, lane[near:], 1, "block")))
        m.d.comb += self.swap.eq(delay(m, self.i.swap, self.latency, "swap"))
        if c.array.switched:
            m.d.comb += self.distance.eq(delay(m, self.i.distance, self.latency, "distance"))
        return m
