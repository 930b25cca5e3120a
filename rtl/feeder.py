"""One array row's source of activations: its bank of the scratchpad, addressed by tap."""
from collections.abc import Iterator, Sequence
from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from accel.spec.link import offset_bits
from rtl.arith import delay, register
from rtl.ecp5.floorplan import activation_bels
from rtl.ram import READ_LATENCY, Ram
from rtl.register import local_delay

#: Lanes of a word that are read together: `BLOCK_BITS` of a lane's number choose among them.
BLOCK_BITS = 2
BLOCK_LANES = 1 << BLOCK_BITS


def step_layout(config: AccelConfig) -> data.StructLayout:
    """One step of the array: the activation's element address, and whether weights change.

    Where the array can do either, also whether columns take lanes of their own, and whether terms
    are distances.
    """
    modes = {name: 1 for name, on in (("depthwise", config.depthwise),
                                      ("distance", config.array.switched)) if on}
    return data.StructLayout({"address": offset_bits(config), "swap": 1, **modes})


def write_layout(config: AccelConfig) -> data.StructLayout:
    """A write that every row's bank gets: lanes of one word."""
    return data.StructLayout({
        "address": range(config.act_depth), "enable": config.word_lanes,
        "data": data.ArrayLayout(signed(config.act_bits), config.word_lanes)})


def _pick(values: Sequence[Value], index: Value) -> Value:
    return Array(values)[index] if len(values) > 1 else values[0]


class RowFeeder(wiring.Component):
    """Reads the activation at ``step.address + offset`` every cycle.

    All rows walk the same addresses, one cycle after the row above; only the offset differs. That
    makes any kernel, stride or dilation a matter of offsets, without copies of the input. Every
    row holds the same activations, in its own bank. Addresses wrap around.

    `latency` cycles from ``i`` to ``x`` and the flags; ``o`` is ``i`` one cycle later. With the
    step that has ``swap``, the row takes over ``offset``. Writes travel down with the steps:
    ``o_write`` is ``write`` one cycle later.

    Of a ``depthwise`` step, lane c of the whole word at the address comes at ``lanes[c]``,
    ``latency + x_delay(c)`` cycles after ``i``: when the step is at column c. For that, the later
    blocks of `BLOCK_LANES` lanes are read later. A step without it must not follow one with it
    within `depthwise_tail` cycles; any other steps may follow each other at once.

    Parameters
    ----------
    row
        The array's row, by which some devices' placement goes.
    """

    latency = 2 + READ_LATENCY + 2

    def __init__(self, config: AccelConfig, row: int = 0) -> None:
        self.config, self.row = config, row
        step = step_layout(config)
        ports: dict[str, Any] = {
            "i": In(step), "o": Out(step), "offset": In(offset_bits(config)),
            "write": In(write_layout(config)), "o_write": Out(write_layout(config)),
            "x": Out(signed(config.act_bits)), "swap": Out(1)}
        if config.array.switched:
            ports["distance"] = Out(1)
        if config.depthwise:
            ports |= {"depthwise": Out(1),
                      "lanes": Out(data.ArrayLayout(signed(config.act_bits), config.cols))}
        super().__init__(ports)

    @staticmethod
    def depthwise_tail(config: AccelConfig) -> int:
        """Cycles after a depthwise step in which its reads take the place of an ordinary one's."""
        return 1 + config.array.x_delay((config.cols - 1) // BLOCK_LANES * BLOCK_LANES)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self.config
        m.d.sync += [self.o_write.eq(self.write), self.o.eq(self.i)]

        offset = Signal.like(self.offset, name="row_offset")
        with m.If(self.i.swap):
            m.d.sync += offset.eq(self.offset)
        # each half of the scratchpad is a ring: the top bit stays
        inner = len(offset) - 1
        target = Cat((self.o.address[:inner] + offset[:inner])[:inner], self.o.address[inner])
        element = register(m, target, "element")
        lane_bits = (c.word_lanes - 1).bit_length()
        lane = delay(m, element[:lane_bits], READ_LATENCY, "lane")
        # the lane in two steps, a few of its bits each: a wide multiplexer is slow
        near, far = lane[:min(lane_bits, BLOCK_BITS)], lane[BLOCK_BITS:]
        picked = []
        for block, address in enumerate(self._addresses(m, target[lane_bits:],
                                                        element[lane_bits:])):
            words = self._bank(m, block, address)
            picked.append(register(m, _pick(words, near), f"picked_{block}"))
        m.d.sync += self.x.eq(_pick(picked, delay(m, far, 1, "block")))
        m.d.comb += self.swap.eq(delay(m, self.i.swap, self.latency, "swap"))
        for flag in ("depthwise", "distance"):
            if hasattr(self, flag):
                m.d.comb += getattr(self, flag).eq(delay(m, self.i[flag], self.latency, flag))
        return m

    def _addresses(self, m: Module, target: Value, word: Value) -> Iterator[Value]:
        """Each block's read address: ``word``, or that of the depthwise step that is due.

        ``word`` is ``target`` one cycle ago.
        """
        c = self.config
        blocks = range(0, c.word_lanes, BLOCK_LANES)
        if not c.depthwise:
            yield from (word for _ in blocks)
            return
        # flags of each row's own, as addresses are
        flag = local_delay(m, self.o.depthwise, 1, "depthwise_word")
        late = word
        for block, first in enumerate(blocks):
            used = flag if first < c.cols else Const(0)
            yield register(m, Mux(used, late, target), f"address_{block}")
            step = c.array.x_delay(first + BLOCK_LANES) - c.array.x_delay(first)
            late = delay(m, late, step, f"late_{block}")
            flag = local_delay(m, flag, step, f"depthwise_{block}")

    def _bank(self, m: Module, block: int, address: Value) -> list[Value]:
        """The memory of a block of lanes; returns what it reads, and gives the columns theirs."""
        c = self.config
        lanes = range(c.word_lanes)[block * BLOCK_LANES:][:BLOCK_LANES]
        m.submodules[f"bank_{block}"] = bank = Ram(signed(c.act_bits), c.act_depth,
                                                   lanes=len(lanes), bels=activation_bels(
                                                       c.array, self.row, lanes.start))
        m.d.comb += [bank.r0_addr.eq(address), bank.w_addr.eq(self.o_write.address),
                     bank.w_en.eq(self.o_write.enable[lanes.start:lanes.stop])]
        for index, lane in enumerate(lanes):
            m.d.comb += bank.w_data[index].eq(self.o_write.data[lane])
            if c.depthwise and lane < c.cols:
                late = c.array.x_delay(lane) - c.array.x_delay(lanes.start)
                m.d.comb += self.lanes[lane].eq(
                    delay(m, bank.r0_data[index], 1 + late, f"lane_{lane}"))
        return [bank.r0_data[index] for index in range(len(lanes))]
