"""GEMM unit: walks an instruction's loops and drives feeders, weights, array and accumulators."""
from amaranth.hdl import Module, Mux, Signal, signed
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
from rtl.tokens import TokenPort
from rtl.weights import GROUP_COLS, WeightStore

#: Least cycles from one weight tile to the next: an accumulator may be used again only after
#: REUSE_CYCLES, and a column group takes its weights in GROUP_COLS.
TILE_PERIOD = max(REUSE_CYCLES, GROUP_COLS)


class GemmControl(wiring.Component):
    """Turns GEMM instructions into one array step per cycle.

    A step appears at ``address`` and ``control``; ``tile`` follows one cycle later and holds
    until the next ``swap``. Steps of one tile follow each other without a pause; tiles start at
    least `TILE_PERIOD` cycles apart.

    Members
    -------
    i
        Instruction words; taken one by one, as soon as the loops of the one before have run.
    tokens
        Exchange with the neighbouring units.
    drained
        The last sum of an instruction has landed.
    idle
        Nothing is queued, running or draining.
    stepping
        The array takes activations in this cycle.
    """

    def __init__(self, config: AccelConfig) -> None:
        self.config, self.isa = config, Isa(config)
        super().__init__({
            "i": In(stream.Signature(self.isa.word_bits)), "tokens": Out(TokenPort()),
            "step": Out(step_layout(config)), "tile": Out(range(config.weight_depth)),
            "control": Out(control_layout(config)), "drained": In(1), "drained_push": In(1),
            "idle": Out(1), "stepping": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        form = layout(self.isa, Opcode.GEMM)
        bits = {field.name: field.bits for field in self.isa.formats[Opcode.GEMM]}
        offered = data.View(form, self.i.payload)
        current = Signal(form)
        m.submodules.loops = loops = AffineLoops(
            (bits["tiles"], bits["rows"], bits["cols"]),
            (bits["act_base"], bits["acc_base"], bits["weight_base"]))

        running, fresh, in_flight = Signal(), Signal(), Signal(8)
        may_start = ~running & ~fresh & (~offered.pop_next | self.tokens.available)
        m.d.comb += [
            self.i.ready.eq(may_start),
            self.tokens.pop.eq(self.i.valid & may_start & offered.pop_next),
            self.tokens.push.eq(self.drained & self.drained_push),
            self.idle.eq(~self.i.valid & ~running & ~fresh & (in_flight == 0))]
        m.d.sync += fresh.eq(self.i.valid & may_start)
        with m.If(self.i.valid & may_start):
            m.d.sync += current.eq(offered)
        m.d.sync += in_flight.eq(in_flight + fresh - self.drained)

        m.d.comb += [
            loops.start.eq(fresh),
            loops.stream_starts.eq(fresh.replicate(len(loops.stream_starts))),
            loops.counts.l0.eq(current.tiles), loops.counts.l1.eq(current.rows),
            loops.counts.l2.eq(current.cols),
            loops.bases.s0.eq(current.act_base), loops.bases.s1.eq(current.acc_base),
            loops.bases.s2.eq(current.weight_base),
            loops.strides.s0[1].eq(current.row_stride), loops.strides.s0[2].eq(current.col_stride),
            loops.strides.s1[1].eq(current.cols), loops.strides.s1[2].eq(1),
            loops.strides.s2[0].eq(1)]
        self._issue(m, loops, current, running, fresh)
        return m

    def _issue(self, m: Module, loops: AffineLoops, current: data.View, running: Signal,
               fresh: Signal) -> None:
        """One step per cycle while running, except between tiles shorter than the period."""
        wait, waiting = Signal(range(TILE_PERIOD)), Signal()
        starts_tile = loops.at_first[1:].all()
        m.d.comb += [loops.step.eq(running & ~(starts_tile & waiting)),
                     loops.stream_steps.eq(loops.step.replicate(len(loops.stream_steps)))]
        with m.If(loops.step & starts_tile):
            m.d.sync += [wait.eq(TILE_PERIOD - 1), waiting.eq(TILE_PERIOD > 1)]
        with m.Else():
            m.d.sync += [wait.eq(wait - wait.any()), waiting.eq(wait > 1)]
        m.d.sync += running.eq(fresh | (running & ~(loops.step & loops.last)))
        with m.If(loops.step & starts_tile):
            m.d.sync += self.tile.eq(loops.addresses.s2)
        m.d.comb += [
            self.stepping.eq(loops.step),
            self.step.address.eq(loops.addresses.s0), self.step.swap.eq(loops.step & starts_tile),
            self.control.valid.eq(loops.step), self.control.address.eq(loops.addresses.s1),
            self.control.first.eq(loops.at_first[0] & ~current.accumulate),
            self.control.last.eq(loops.step & loops.last),
            self.control.push.eq(current.push_next)]
        if self.config.array.switched:
            m.d.comb += self.step.distance.eq(current.distance)


class GemmUnit(wiring.Component):
    """Feeders, weight store, systolic array and accumulators under one control.

    Members
    -------
    i, tokens, idle, stepping
        As in `GemmControl`.
    write
        Writes to the activation scratchpad (vector unit or host).
    weight_address, weight_data, weight_write
        Host writes to the weight store.
    acc_address, acc_data
        The vector unit's view of the accumulators, `AccumulatorColumn.read_latency` cycles.
    host_element, host_activation
        Host read of one activation while idle, `HOST_READ_LATENCY` cycles.
    """

    #: From ``GemmControl.step`` to row 0: until the offset of the step's tile is there.
    STEP_DELAY = 1 + WeightStore.OFFSET_LATENCY
    HOST_READ_LATENCY = STEP_DELAY + RowFeeder.latency

    def __init__(self, config: AccelConfig) -> None:
        self.config = config
        self.control = GemmControl(config)
        self.weights = WeightStore(config, swap_delay=RowFeeder.latency)
        super().__init__({
            "i": In(stream.Signature(Isa(config).word_bits)), "tokens": Out(TokenPort()),
            "idle": Out(1), "stepping": Out(1), "write": In(write_layout(config)),
            "weight_address": In(self.weights.w_addr.shape()),
            "weight_data": In(self.weights.row_layout), "weight_write": In(1),
            "acc_address": In(range(config.acc_depth)),
            "acc_data": Out(data.ArrayLayout(signed(config.acc_bits), config.cols)),
            "host_element": In(range(config.act_elements)),
            "host_activation": Out(signed(config.act_bits))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self.config
        m.submodules.control = control = self.control
        m.submodules.weights = weights = self.weights
        m.submodules.array = array = SystolicArray(c.array)
        wiring.connect(m, control.i, wiring.flipped(self.i))
        wiring.connect(m, wiring.flipped(self.tokens), control.tokens)
        m.d.comb += [
            weights.tile.eq(control.tile), weights.w_addr.eq(self.weight_address),
            weights.w_data.eq(self.weight_data), weights.w_en.eq(self.weight_write),
            array.w.eq(weights.weights),
            self.idle.eq(control.idle), self.stepping.eq(control.stepping)]

        step = Signal(step_layout(c))
        m.d.comb += [step.eq(control.step),
                     step.address.eq(Mux(control.idle, self.host_element, control.step.address))]
        upper = delay(m, step.as_value(), self.STEP_DELAY, "step")
        plain = delay(m, control.idle, self.STEP_DELAY, "plain")
        written = self.write.as_value()
        for row in range(c.rows):
            m.submodules[f"feeder_{row}"] = feeder = RowFeeder(c)
            crossing = c.array.row_step(row) - 1 if row else 0
            upper = delay(m, upper, crossing, f"crossing_{row}")
            written = delay(m, written, crossing, f"crossing_write_{row}")
            m.d.comb += feeder.write.eq(written)
            written = feeder.o_write.as_value()
            if c.array.switched:
                m.d.comb += array.distance[row].eq(feeder.distance)
            m.d.comb += [feeder.i.eq(upper), feeder.offset.eq(weights.offsets[row]),
                         array.x[row].eq(feeder.x), array.swap[row].eq(feeder.swap)]
            if row == 0:
                m.d.comb += [feeder.plain.eq(plain), self.host_activation.eq(feeder.x)]
            upper = feeder.o.as_value()

        wave = self.STEP_DELAY + RowFeeder.latency + SystolicArray.latency_of(c.array) + 1
        left = delay(m, control.control.as_value(), wave - AccumulatorColumn.sum_delay, "control")
        for col in range(c.cols):
            m.submodules[f"acc_{col}"] = column = AccumulatorColumn(c)
            total = register(m, array.sums[col], f"sum_{col}")      # the way there is long
            m.d.comb += [column.control.eq(left), column.sum.eq(total),
                         column.read_address.eq(self.acc_address),
                         self.acc_data[col].eq(column.read_data)]
            left = column.o.as_value()
        landed = data.View(control_layout(c), delay(m, left, REUSE_CYCLES, "landed"))
        m.d.comb += [control.drained.eq(landed.last), control.drained_push.eq(landed.push)]
        return m
