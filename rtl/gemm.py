"""GEMM unit: walks an instruction's loops and drives feeders, weights, array and accumulators."""
from functools import reduce
from itertools import product
from math import prod
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from accel.spec.isa import Isa, Opcode
from rtl.accumulator import REUSE_CYCLES, AccumulatorColumn, control_layout
from rtl.address import AffineLoops
from rtl.arith import delay, register
from rtl.array import SystolicArray
from rtl.feeder import RowFeeder, step_layout, write_layout
from rtl.instruction import layout
from rtl.offsets import OffsetStore
from rtl.register import LocalRegister
from rtl.tokens import TokenPort, taken_with_tokens
from rtl.weights import WeightStore


def tile_layout(config: AccelConfig) -> data.StructLayout:
    """Where a step's weights and offsets lie."""
    return data.StructLayout({"weight": range(config.weight_depth),
                              "offset": range(config.offset_depth)})


class GemmControl(wiring.Component):
    """Turns GEMM instructions into one array step per cycle.

    A step appears at ``step`` and ``control``, and at ``tile`` one cycle later. The first one
    comes `START_CYCLES` after the instruction is taken; the next instruction is taken in the cycle
    after the last one.

    Steps follow each other without a pause, except that the steps over the same accumulators
    begin at least REUSE_CYCLES apart if there are more than one of them. The accumulators of an
    instruction's groups must not overlap. An instruction waits for its tokens; behind a depthwise
    one, if it is none, for that one's reads; if it goes on with the last accumulators of the one
    before it, for their sums.

    Members
    -------
    i
        Instruction words; taken one by one, with their tokens.
    before, behind
        Exchange with the neighbouring units.
    landed
        `control_layout` of a sum that can be read from now on.
    idle
        Nothing is queued, running or draining.
    busy
        The array takes activations in this cycle.
    stall
        It does not, although an instruction is at hand.
    """

    START_CYCLES = 2

    def __init__(self, config: AccelConfig) -> None:
        self.config, self.isa = config, Isa(config)
        control = control_layout(config)
        super().__init__({
            "i": In(stream.Signature(self.isa.word_bits)),
            "before": Out(TokenPort()), "behind": Out(TokenPort()),
            "step": Out(step_layout(config)), "tile": Out(tile_layout(config)),
            "control": Out(control), "landed": In(control),
            "idle": Out(1), "busy": Out(1), "stall": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        form = layout(self.isa, Opcode.GEMM)
        bits = {field.name: field.bits for field in self.isa.formats[Opcode.GEMM]}
        offered = data.View(form, self.i.payload)
        outer = max(bits["tiles"], bits["groups"])
        m.submodules.loops = loops = AffineLoops(
            (outer, outer, bits["rows"], bits["cols"]),
            (bits["act_base"], bits["acc_base"], bits["offset_base"]),
            moving=(range(4), range(4), range(2)))

        # What is at hand is copied whether or not it may start: its wires need not wait for that.
        engaged, running = Signal(), Signal()
        current = Signal(form)
        with m.If(~engaged):
            m.d.sync += current.eq(offered)
        starts = taken_with_tokens(m, self, offered,
                                   ~engaged & self._may_follow(m, offered, loops))
        fresh = register(m, starts, "fresh")
        goes_on = fresh | (running & ~(self.busy & loops.last))
        in_flight = Signal(8)
        drained = self.landed.valid & self.landed.last
        m.d.sync += [engaged.eq(starts | goes_on), running.eq(goes_on),
                     in_flight.eq(in_flight + fresh - drained)]
        m.d.comb += [
            self.before.push.eq(drained & self.landed.push_prev),
            self.behind.push.eq(drained & self.landed.push_next),
            self.idle.eq(~self.i.valid & ~engaged & (in_flight == 0)),
            self.stall.eq(~self.busy & (self.i.valid | engaged))]
        self._load(m, loops, offered, current, ~engaged)
        repeated, pause = self._sweeps(m, offered, ~engaged)
        self._pace(m, loops, current, starts, goes_on, pause)
        self._issue(m, loops, current, fresh, repeated)
        return m

    def _may_follow(self, m: Module, offered: data.View, loops: AffineLoops) -> Value:
        """Whether nothing of the instructions before is in the way of this one's first step."""
        summed = _rested(m, self.busy, REUSE_CYCLES - self.START_CYCLES, "summed")
        follows = ~offered.accumulate | summed | self._is_apart(m, offered, loops.addresses.s1)
        if self.config.depthwise:
            tail = RowFeeder.depthwise_tail(self.config) + 1 - self.START_CYCLES
            follows &= offered.depthwise | _rested(m, self.step.depthwise, tail, "apart")
        return follows

    def _is_apart(self, m: Module, offered: data.View, address: Value) -> Signal:
        """Whether the first two accumulators offered are not the last two of the one before.

        The others come late enough anyway. The second one is the first or the next, unless the
        groups lie apart.
        """
        assert REUSE_CYCLES - self.START_CYCLES == 3, "two steps are not enough"
        first, apart, previous = offered.acc_base, Signal(), Signal.like(address, name="previous")
        close = (offered.acc_group_stride <= 1) | (offered.rows != 1) | (offered.cols != 1)
        with m.If(self.busy):
            m.d.sync += [previous.eq(address), apart.eq(
                self.i.valid & close & (first != address) & (first != previous)
                & ((first + 1)[:len(first)] != address))]
        return apart

    def _load(self, m: Module, loops: AffineLoops, offered: data.View, current: data.View,
              load: Value) -> None:
        """Counts, bases and strides of the loops; the outer two in the order that is asked for."""
        of_groups = (~offered.tiles_outer, offered.tiles_outer)     # which level is theirs
        for level, chosen in enumerate(of_groups):
            values = {
                "count": (loops.counts[f"l{level}"], offered.groups, offered.tiles),
                "single": (loops.single[level], offered.groups == 1, offered.tiles == 1),
                "act_stride": (loops.strides.s0[level], offered.act_group_stride, 0),
                "acc_stride": (loops.strides.s1[level], offered.acc_group_stride, 0),
                "offset_stride": (loops.strides.s2[level], 0, 1)}
            for name, (port, if_groups, if_tiles) in values.items():
                held = Signal.like(port, name=f"{name}_{level}")
                with m.If(load):
                    m.d.sync += held.eq(Mux(chosen, if_groups, if_tiles))
                m.d.comb += port.eq(held)
        single = Signal(2)
        with m.If(load):
            m.d.sync += single.eq(Cat(offered.rows == 1, offered.cols == 1))
        m.d.comb += [
            loops.counts.l2.eq(current.rows), loops.counts.l3.eq(current.cols),
            loops.single[2:].eq(single),
            loops.bases.s0.eq(current.act_base), loops.bases.s1.eq(current.acc_base),
            loops.bases.s2.eq(current.offset_base),
            loops.strides.s0[2].eq(current.row_stride), loops.strides.s0[3].eq(current.col_stride),
            loops.strides.s1[2].eq(current.cols), loops.strides.s1[3].eq(1)]

    def _sweeps(self, m: Module, offered: data.View, load: Value) -> tuple[Signal, Signal]:
        """How the steps over the same accumulators, a sweep, follow those before them.

        Whether a sweep is a single step; and the cycles between two sweeps. Both are there with
        the instruction's first step.
        """
        counts = {"rows": offered.rows, "cols": offered.cols, "groups": offered.groups}
        few = {}        # (loop, n): whether it makes n turns within a sweep
        for loop, turns in product(counts, range(1, REUSE_CYCLES)):
            few[loop, turns] = Signal(name=f"{loop}_{turns}")
            equal = counts[loop] == turns
            if loop == "groups":
                equal = Mux(offered.tiles_outer, equal, turns == 1)
            with m.If(load):
                m.d.sync += few[loop, turns].eq(equal)
        of_length = {length: reduce(or_, (
            reduce(lambda a, b: a & b, (few[which] for which in zip(counts, turns, strict=True)))
            for turns in product(range(1, REUSE_CYCLES), repeat=len(counts))
            if prod(turns) == length)) for length in range(1, REUSE_CYCLES)}
        pause = reduce(or_, (Mux(of_length[length], REUSE_CYCLES - length, 0)
                             for length in range(2, REUSE_CYCLES)))
        return register(m, of_length[1], "single_steps"), register(m, pause, "pause")

    def _pace(self, m: Module, loops: AffineLoops, current: data.View, starts: Signal,
              goes_on: Value, pause: Signal) -> None:
        """One step per cycle while running, but for the pauses between sweeps."""
        wait = Signal(range(REUSE_CYCLES))
        ends = loops.at_last[2:].all() & (loops.at_last[1] | ~current.tiles_outer)
        more = ~self._of_tiles(current, loops.at_last)
        pausing = self.busy & ends & more
        m.d.sync += wait.eq(Mux(pausing, pause, wait - wait.any()))
        steps = goes_on & ~Mux(pausing, pause.any(), wait > 1)
        # what drives every loop comes from registers of its own, one for each stream
        for name, flag, one, all_streams in (
                ("starts", starts, loops.start, loops.stream_starts),
                ("steps", steps, loops.step, loops.stream_steps)):
            m.submodules[name] = copies = LocalRegister(1 + len(all_streams))
            m.d.comb += [copies.i.eq(flag.replicate(len(copies.i))),
                         one.eq(copies.o[0]), all_streams.eq(copies.o[1:])]
        m.d.sync += self.busy.eq(steps)

    def _issue(self, m: Module, loops: AffineLoops, current: data.View, fresh: Signal,
               repeated: Signal) -> None:
        """What array and accumulators are told of a step."""
        weight = Signal.like(current.weight_base, name="weight")
        with m.If(fresh):
            m.d.sync += weight.eq(current.weight_base)
        with m.Elif(self.busy & loops.at_last[2:].all()):
            m.d.sync += weight.eq(weight + 1)
        m.d.sync += [self.tile.weight.eq(weight), self.tile.offset.eq(loops.addresses.s2)]
        tile_first = self._of_tiles(current, loops.at_first)
        m.d.comb += [
            # each half of the activation scratchpad is a ring
            self.step.address.eq(Cat(loops.addresses.s0[:-1], current.act_base[-1])),
            self.step.swap.eq(self.busy & loops.at_first[2:].all()),
            self.control.valid.eq(self.busy), self.control.address.eq(loops.addresses.s1),
            self.control.first.eq(tile_first & ~current.accumulate),
            self.control.again.eq(repeated & ~tile_first),
            self.control.last.eq(loops.last),
            self.control.push_prev.eq(current.push_prev),
            self.control.push_next.eq(current.push_next)]
        if self.config.depthwise:
            m.d.comb += self.step.depthwise.eq(self.busy & current.depthwise)
        if self.config.array.switched:
            m.d.comb += self.step.distance.eq(current.distance)

    @staticmethod
    def _of_tiles(current: data.View, levels: Value) -> Value:
        """The tile loop's flag of those of all loops."""
        return Mux(current.tiles_outer, levels[0], levels[1])


def _rested(m: Module, event: Value, cycles: int, name: str) -> Value:
    """Whether the last ``event`` was at least ``cycles`` cycles ago, or never."""
    if cycles <= 1:
        return Const(1)
    left, rested = Signal(range(cycles), name=f"until_{name}"), Signal(name=name, init=1)
    with m.If(event):
        m.d.sync += [left.eq(cycles - 1), rested.eq(0)]
    with m.Elif(~rested):
        m.d.sync += [left.eq(left - 1), rested.eq(left == 1)]
    return rested


class GemmUnit(wiring.Component):
    """Feeders, weight and offset memories, systolic array and accumulators under one control.

    Members
    -------
    i, before, behind, idle, busy, stall
        As in `GemmControl`.
    write
        Writes to the activation scratchpad; always taken.
    weight_address, weight_data, weight_write
        Writes of one row of a weight tile; always taken.
    offset_address, offset_data, offset_write
        Host writes to the offset memory.
    acc_address, acc_data
        The vector unit's view of the accumulators, `AccumulatorColumn.read_latency` cycles.

    A write of either kind is seen by every instruction that is taken behind it.
    """

    #: From ``GemmControl.step`` to row 0: until the offset of the step's tile is there.
    STEP_DELAY = 1 + OffsetStore.latency

    def __init__(self, config: AccelConfig) -> None:
        self.config = config
        self.control = GemmControl(config)
        self.weights = WeightStore(config, self.STEP_DELAY - 1 + RowFeeder.latency)
        self.offsets = OffsetStore(config)
        super().__init__({
            "i": In(stream.Signature(Isa(config).word_bits)),
            "before": Out(TokenPort()), "behind": Out(TokenPort()),
            "idle": Out(1), "busy": Out(1), "stall": Out(1), "write": In(write_layout(config)),
            "weight_address": In(self.weights.w_addr.shape()),
            "weight_data": In(self.weights.w_data.shape()), "weight_write": In(1),
            "offset_address": In(self.offsets.w_addr.shape()),
            "offset_data": In(self.offsets.w_data.shape()), "offset_write": In(1),
            "acc_address": In(range(config.acc_depth)),
            "acc_data": Out(data.ArrayLayout(signed(config.acc_bits), config.cols))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self.config
        m.submodules.control = control = self.control
        m.submodules.weights = weights = self.weights
        m.submodules.offsets = offsets = self.offsets
        m.submodules.array = array = SystolicArray(c.array)
        wiring.connect(m, control.i, wiring.flipped(self.i))
        wiring.connect(m, wiring.flipped(self.before), control.before)
        wiring.connect(m, wiring.flipped(self.behind), control.behind)
        m.d.comb += [
            weights.tile.eq(control.tile.weight), weights.w_addr.eq(self.weight_address),
            weights.w_data.eq(self.weight_data), weights.w_en.eq(self.weight_write),
            offsets.index.eq(control.tile.offset), offsets.w_addr.eq(self.offset_address),
            offsets.w_data.eq(self.offset_data), offsets.w_en.eq(self.offset_write),
            array.w.eq(weights.weights), self.idle.eq(control.idle), self.busy.eq(control.busy),
            self.stall.eq(control.stall)]

        upper = delay(m, control.step.as_value(), self.STEP_DELAY, "step")
        written = self.write.as_value()
        for row in range(c.rows):
            m.submodules[f"feeder_{row}"] = feeder = RowFeeder(c, row)
            crossing = c.array.row_step(row) - 1 if row else 0
            upper = delay(m, upper, crossing, f"crossing_{row}")
            written = delay(m, written, crossing, f"crossing_write_{row}")
            m.d.comb += [
                feeder.i.eq(upper), feeder.write.eq(written),
                feeder.offset.eq(offsets.offsets[row]),
                array.x[row].eq(feeder.x), array.swap[row].eq(feeder.swap)]
            if c.array.switched:
                m.d.comb += array.distance[row].eq(feeder.distance)
            if c.depthwise:
                m.d.comb += [array.depthwise[row].eq(feeder.depthwise),
                             array.lanes[row].eq(feeder.lanes)]
            upper, written = feeder.o.as_value(), feeder.o_write.as_value()

        wave = self.STEP_DELAY + RowFeeder.latency + SystolicArray.latency_of(c.array) + 1
        left = delay(m, control.control.as_value(), wave - AccumulatorColumn.sum_delay, "control")
        for col in range(c.cols):
            m.submodules[f"acc_{col}"] = column = AccumulatorColumn(c, col)
            total = register(m, array.sums[col], f"sum_{col}")      # the way there is long
            m.d.comb += [column.control.eq(left), column.sum.eq(total),
                         column.read_address.eq(self.acc_address),
                         self.acc_data[col].eq(column.read_data)]
            if col + 1 == c.cols or c.array.col_delay(col + 1) > c.array.col_delay(col):
                left = column.o.as_value()
        # `left` is a cycle behind the last column's control
        m.d.comb += control.landed.eq(delay(m, left, AccumulatorColumn.landing - 1, "landed"))
        return m
