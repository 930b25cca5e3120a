"""Vector unit: accumulators to activations, several channels per cycle."""
from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from accel.spec.isa import Isa, Opcode
from accel.spec.numerics import MULTIPLIER_BITS, SHIFT_BITS
from rtl.accumulator import AccumulatorColumn
from rtl.activation import ActivationUnit
from rtl.address import AffineLoops
from rtl.arith import delay, register
from rtl.carry import is_less
from rtl.feeder import write_layout
from rtl.instruction import layout
from rtl.ram import READ_LATENCY, Ram
from rtl.register import LocalRegister
from rtl.requantize import Requantizer
from rtl.tokens import TokenPort

LOOPS = ("groups", "rows", "cols", "win_rows", "win_cols")
AXES = ("row", "col", "win_row", "win_col")


def param_layout(config: AccelConfig) -> data.StructLayout:
    """What the requantizer needs to know of one channel."""
    return data.StructLayout({"bias": signed(config.acc_bits), "multiplier": MULTIPLIER_BITS,
                              "shift": SHIFT_BITS})


class VectorLane(wiring.Component):
    """One channel: requantize, activation, maximum over a window.

    `latency` cycles from ``acc`` and ``param`` to ``o``, which is complete when the step had
    ``window_last``. ``zero_point`` and ``activation`` hold still meanwhile.
    """

    latency = Requantizer.latency + ActivationUnit.latency + 2

    def __init__(self, config: AccelConfig) -> None:
        self.config = config
        code = signed(config.act_bits)
        super().__init__({
            "acc": In(signed(config.acc_bits)), "param": In(param_layout(config)),
            "window_first": In(1), "zero_point": In(code),
            "activation": In(range(len(config.activations) + 1)), "o": Out(code)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.requantizer = scale = Requantizer(self.config)
        m.submodules.activations = functions = ActivationUnit(self.config)
        first = delay(m, self.window_first, self.latency - 1, "window_first")
        # copies of the instruction's constants that stand near the lane: shorter wires
        zero_point = register(m, self.zero_point, "near_zero_point")
        activation = register(m, self.activation, "near_activation")
        m.d.comb += [
            scale.acc.eq(self.acc), scale.bias.eq(self.param.bias),
            scale.multiplier.eq(self.param.multiplier), scale.shift.eq(self.param.shift),
            scale.zero_point.eq(zero_point),
            functions.i.eq(scale.o), functions.zero_point.eq(zero_point),
            functions.select.eq(activation)]
        value = register(m, functions.o, "value")
        larger = is_less(m, self.o, value, "compare")
        m.d.sync += self.o.eq(Mux(first | larger, value, self.o))
        return m


class VectorUnit(wiring.Component):
    """Executes VECTOR and FILL, one instruction at a time; VECTOR takes one step per cycle.

    Members
    -------
    i, tokens, idle
        As in `gemm.GemmControl`.
    stepping
        An accumulator is read, or a word filled, in this cycle.
    acc_address, acc_data
        Read port of the accumulators, `ACC_LATENCY` cycles.
    write
        Writes to the activation scratchpad.
    param_address, param_data, param_write
        Host writes to the bias and scale memory.
    """

    ACC_LATENCY = AccumulatorColumn.read_latency
    #: From a step's addresses to the registered write of its result.
    WRITE_LATENCY = ACC_LATENCY + 1 + VectorLane.latency + 1

    def __init__(self, config: AccelConfig) -> None:
        self.config, self.isa = config, Isa(config)
        self.params = data.ArrayLayout(param_layout(config), config.vector_lanes)
        super().__init__({
            "i": In(stream.Signature(self.isa.word_bits)), "tokens": Out(TokenPort()),
            "idle": Out(1), "stepping": Out(1), "acc_address": Out(range(config.acc_depth)),
            "acc_data": In(data.ArrayLayout(signed(config.acc_bits), config.cols)),
            "write": Out(write_layout(config)),
            "param_address": In(range(config.param_depth)), "param_data": In(self.params),
            "param_write": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = {field.name: field.bits for field in self.isa.formats[Opcode.VECTOR]}
        m.submodules.loops = loops = AffineLoops(
            tuple(bits[name] for name in LOOPS),
            (bits["acc_base"], bits["out_base"], bits["param_base"], bits["groups"]))
        word = Signal(self.isa.word_bits)
        current = data.View(layout(self.isa, Opcode.VECTOR), word)
        fill = data.View(layout(self.isa, Opcode.FILL), word)
        filling = Signal()
        self._sequence(m, loops, word, current, fill, filling)

        m.d.comb += [loops.counts[f"l{level}"].eq(current[name])
                     for level, name in enumerate(LOOPS)]
        m.d.comb += [
            loops.bases.s0.eq(current.acc_base), loops.bases.s1.eq(current.out_base),
            loops.bases.s2.eq(current.param_base),
            loops.strides.s2[0].eq(1), loops.strides.s3[0].eq(1),
            *(loops.strides.s0[level].eq(current[f"{axis}_stride"])
              for level, axis in enumerate(AXES, start=1)),
            loops.strides.s1[1].eq(current.out_row_stride),
            loops.strides.s1[2].eq(current.out_col_stride)]
        self._datapath(m, loops, current, fill, filling)
        return m

    def _sequence(self, m: Module, loops: AffineLoops, word: Signal, current: data.View,
                  fill: data.View, filling: Signal) -> None:
        """Take an instruction, wait for its token, run its steps, drain, give its token."""
        draining = Signal(range(self.WRITE_LATENCY + 2))
        words = Signal(len(fill.words))
        # What drives every loop comes from registers of its own, one for each stream.
        will_start, will_step = Signal(), Signal()
        for name, flag, one, all_streams in (
                ("starts", will_start, loops.start, loops.stream_starts),
                ("steps", will_step, loops.step, loops.stream_steps)):
            m.submodules[name] = held = LocalRegister(1 + len(all_streams))
            m.d.comb += [held.i.eq(flag.replicate(len(held.i))), Cat(one, all_streams).eq(held.o)]
        m.d.comb += self.stepping.eq(loops.step | filling)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.idle.eq(~self.i.valid), self.i.ready.eq(1)]
                m.d.sync += word.eq(self.i.payload)
                with m.If(self.i.valid):
                    m.next = "WAIT"
            with m.State("WAIT"):
                with m.If(~current.pop_prev | self.tokens.available):
                    m.d.comb += [self.tokens.pop.eq(current.pop_prev), will_start.eq(1)]
                    m.next = "START"
            with m.State("START"):
                m.d.sync += [draining.eq(self.WRITE_LATENCY + 1), words.eq(fill.words)]
                with m.If(current.opcode == Opcode.FILL):
                    m.next = "FILL"
                with m.Else():
                    m.d.comb += will_step.eq(1)
                    m.next = "STEP"
            with m.State("STEP"):
                m.d.comb += will_step.eq(~loops.last)
                with m.If(loops.last):
                    m.next = "DRAIN"
            with m.State("FILL"):
                m.d.comb += filling.eq(1)
                m.d.sync += words.eq(words - 1)
                with m.If(words == 1):
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                m.d.sync += draining.eq(draining - 1)
                with m.If(draining == 0):
                    m.d.comb += self.tokens.push.eq(current.push_prev)
                    m.next = "IDLE"

    def _datapath(self, m: Module, loops: AffineLoops, current: data.View, fill: data.View,
                  filling: Signal) -> None:
        c = self.config
        lanes, groups = c.vector_lanes, c.vector_groups
        m.submodules.params = params = Ram(param_layout(c).size, c.param_depth, lanes=lanes)
        m.d.comb += [
            params.w_addr.eq(self.param_address), params.w_en.eq(self.param_write.replicate(lanes)),
            params.w_data.eq(self.param_data),
            params.r0_addr.eq(delay(m, loops.addresses.s2, self.ACC_LATENCY - READ_LATENCY,
                                    "param_address")),
            self.acc_address.eq(loops.addresses.s0)]

        group = delay(m, loops.addresses.s3, self.ACC_LATENCY, "group")
        first = delay(m, loops.at_first[-2:].all(), self.ACC_LATENCY + 1, "window_first")
        done = delay(m, loops.step & loops.at_last[-2:].all(), self.WRITE_LATENCY - 1, "done")
        address = delay(m, loops.addresses.s1, self.WRITE_LATENCY - 1, "out_address")
        out_group = delay(m, group, self.WRITE_LATENCY - 1 - self.ACC_LATENCY, "out_group")

        results = []
        for index in range(lanes):
            m.submodules[f"lane_{index}"] = lane = VectorLane(c)
            # a group's lane beyond the last column computes on zero; nothing reads its result
            cols = [self.acc_data[col] if col < c.cols else Const(0, signed(c.acc_bits))
                    for col in range(index, groups * lanes, lanes)]
            acc = Signal(signed(c.acc_bits), name=f"acc_{index}")
            m.d.comb += acc.eq(Array(cols)[group] if groups > 1 else cols[0])
            m.d.comb += [
                lane.acc.eq(register(m, acc, f"acc_{index}_now")),
                lane.param.eq(register(m, params.r0_data[index], f"param_{index}")),
                lane.window_first.eq(first), lane.zero_point.eq(current.zero_point),
                lane.activation.eq(current.activation)]
            results.append(lane.o)

        fill_address = Signal.like(fill.out_base, name="fill_address")
        m.d.sync += fill_address.eq(Mux(filling, fill_address + 1, fill.out_base))
        in_group = Cat((out_group == lane // lanes) & done for lane in range(c.word_lanes))
        m.d.sync += [
            self.write.address.eq(Mux(filling, fill_address, address)),
            self.write.enable.eq(Mux(filling, (1 << c.word_lanes) - 1, in_group)),
            *(self.write.data[lane].eq(Mux(filling, fill.value, results[lane % lanes]))
              for lane in range(c.word_lanes))]
