"""Control of the vector unit: instructions to steps, and their tokens."""
from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from accel.spec.isa import Isa, Opcode
from rtl.address import AffineLoops
from rtl.instruction import layout
from rtl.register import LocalRegister
from rtl.tokens import TokenPort

LOOPS = ("groups", "lane_groups", "rows", "cols", "win_rows", "win_cols")
AXES = ("row", "col", "win_row", "win_col")
#: Levels of the loops: which channels, which position, which accumulator of a window.
OUTER, WINDOW = 2, 4
#: Which of them move an address.
MOVING = {"acc": (0, 2, 3, 4, 5), "out": (0, 2, 3), "other": (0, 2, 3), "lane_group": (1,)}
#: Most instructions in the pipeline.
MOST_UNDER_WAY = 63


def step_layout(config: AccelConfig) -> data.StructLayout:
    """One step, where it reads and writes.

    Members: whether there is a step; the words of accumulators, output and (with `residual`)
    other summand; the lane group; and whether the step is the first of its instruction, uses the
    next set of parameters, begins its window, ends its window, ends its instruction.
    """
    bits = {field.name: field.bits for field in Isa(config).formats[Opcode.VECTOR]}
    return data.StructLayout({
        "valid": 1, "acc": range(config.acc_depth), "out": bits["out_base"],
        "lane_group": max(1, (config.vector_groups - 1).bit_length()),
        **({"other": range(config.out_depth)} if config.residual else {}),
        "first": 1, "swap": 1, "window_first": 1, "window_last": 1, "last": 1})


class VectorControl(wiring.Component):
    """Turns VECTOR instructions into steps, one per cycle.

    Between two instructions `IDLE_CYCLES` pass without a step, if the tokens of the second one
    are there and it is at hand 2 cycles before the last step of the first one; the first one's
    results are then still on their way. An instruction that adds what the output scratchpad holds
    starts so late that it reads what those before it write there.

    Parameters
    ----------
    landing_cycles
        Least cycles from the last step of an instruction that writes the output scratchpad to the
        first one of an instruction that adds.

    Members
    -------
    i, before, behind
        Instructions, and the exchanges with the neighbours in the ring of units.
    idle, busy, stall
        Nothing is queued, running or landing; there is a step; an instruction is at hand, but
        there is no step.
    offered, param_base
        An instruction is at hand, and its first parameters: see `params.ParamFeed`.
    params_ready
        The next set of parameters can be used in the next cycle.
    set_ends
        With ``step.swap``: the instruction has no further set.
    step, current
        The step of this cycle, and its instruction, right until the cycle behind the last step.
    landed, landed_prev, landed_next
        An instruction's last write has landed; to whom that gives a token.
    """

    IDLE_CYCLES = 2

    def __init__(self, config: AccelConfig, landing_cycles: int) -> None:
        self.config, self.isa, self.landing_cycles = config, Isa(config), landing_cycles
        self.form = layout(self.isa, Opcode.VECTOR)
        super().__init__({
            "i": In(stream.Signature(self.isa.word_bits)),
            "before": Out(TokenPort()), "behind": Out(TokenPort()),
            "idle": Out(1), "busy": Out(1), "stall": Out(1),
            "offered": Out(1), "param_base": Out(range(config.param_depth)),
            "params_ready": In(1), "set_ends": Out(1),
            "step": Out(step_layout(config)), "current": Out(self.form),
            "landed": In(1), "landed_prev": In(1), "landed_next": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = {field.name: field.bits for field in self.isa.formats[Opcode.VECTOR]}
        streams = {"acc": bits["acc_base"], "out": bits["out_base"],
                   "lane_group": len(self.step.lane_group)}
        if self.config.residual:
            streams["other"] = bits["add_base"]
        m.submodules.loops = loops = AffineLoops(
            tuple(bits[name] for name in LOOPS), tuple(streams.values()),
            tuple(MOVING[name] for name in streams))
        starting, running = Signal(), Signal()
        ends = Signal()             # this is the instruction's last step
        m.d.comb += ends.eq(loops.step & loops.last)
        taken = self._take(m, loops, running, ends, starting)
        self._drive(m, loops, running, ends, starting, taken)
        self._connect(m, loops, list(streams))

        under_way = Signal(range(MOST_UNDER_WAY + 1))
        m.d.sync += under_way.eq(under_way + taken - self.landed)
        at_hand = self.i.valid | starting | running
        m.d.comb += [
            self.idle.eq(~self.i.valid & ~under_way.any()),
            self.busy.eq(loops.step), self.stall.eq(at_hand & ~loops.step),
            self.before.push.eq(self.landed & self.landed_prev),
            self.behind.push.eq(self.landed & self.landed_next)]
        return m

    def _take(self, m: Module, loops: AffineLoops, running: Signal, ends: Signal,
              starting: Signal) -> Signal:
        """Take an instruction with its tokens: as the one before ends, ready or not to step.

        Returns the cycle in which it leaves the queue; one cycle later it is `current`.
        """
        offered = data.View(self.form, self.i.payload)
        able, take, taken = Signal(), Signal(), Signal()
        m.d.comb += [
            take.eq(able & (ends | ~running)), self.i.ready.eq(taken),
            self.before.pop.eq(take & offered.pop_prev),
            self.behind.pop.eq(take & offered.pop_next),
            self.offered.eq(self.i.valid), self.param_base.eq(offered.param_base)]
        there = [~offered[f"pop_{side}"] | port.available
                 for side, port in (("prev", self.before), ("next", self.behind))]
        m.d.sync += [
            taken.eq(take), starting.eq(taken),
            able.eq(self.i.valid & ~take & ~taken & Cat(there).all()
                    & ~self._must_wait(m, offered, running | starting, ends))]
        with m.If(taken):
            m.d.sync += [self.current.eq(offered),
                         loops.single.eq(Cat(offered[name] == 1 for name in LOOPS))]
        return taken

    def _must_wait(self, m: Module, offered: data.View, running: Value, ends: Signal) -> Value:
        """Whether what is to be added may not have been written yet."""
        if not self.config.residual:
            return Const(0)
        # from the register of this to a step: able, taken, starting, the step
        left = Signal(range(max(2, self.landing_cycles)), name="landing_left")
        with m.If(ends & self.current.to_output):
            m.d.sync += left.eq(max(0, self.landing_cycles - 5))
        with m.Elif(left.any()):
            m.d.sync += left.eq(left - 1)
        return offered.add & (left.any() | (running & self.current.to_output))

    def _drive(self, m: Module, loops: AffineLoops, running: Signal, ends: Signal,
               starting: Signal, taken: Signal) -> None:
        """Start and step the loops, from registers: they drive many."""
        will_step = Signal()
        for name, flag, one, all_streams in (
                ("starts", taken, loops.start, loops.stream_starts),
                ("steps", will_step, loops.step, loops.stream_steps)):
            m.submodules[name] = held = LocalRegister(1 + len(all_streams))
            m.d.comb += [held.i.eq(flag.replicate(len(held.i))), Cat(one, all_streams).eq(held.o)]
        # the next step is the first of a set of parameters, which must be there
        next_set = starting | ~loops.step | loops.at_last[OUTER:].all()
        m.d.comb += will_step.eq((starting | (running & ~ends)) & (~next_set | self.params_ready))
        m.d.sync += running.eq(starting | (running & ~ends))

    def _connect(self, m: Module, loops: AffineLoops, streams: list[str]) -> None:
        """Fields of the current instruction to the loops, and those to the step."""
        current = self.current
        m.d.comb += [loops.counts[f"l{level}"].eq(current[name])
                     for level, name in enumerate(LOOPS)]
        bases = {"acc": current.acc_base, "out": current.out_base}
        strides: dict[str, list[Value | int]] = {
            "acc": [current.acc_group_stride, *(current[f"{axis}_stride"] for axis in AXES)],
            "out": [1, current.out_row_stride, current.out_col_stride], "lane_group": [1]}
        if self.config.residual:
            bases["other"], strides["other"] = current.add_base, strides["out"]
        for number, name in enumerate(streams):
            m.d.comb += [
                loops.bases[f"s{number}"].eq(bases.get(name, 0)),
                *(loops.strides[f"s{number}"][level].eq(stride)
                  for level, stride in zip(MOVING[name], strides[name], strict=True)),
                self.step[name].eq(loops.addresses[f"s{number}"])]
        at_first, at_last = loops.at_first, loops.at_last
        m.d.comb += [
            self.step.valid.eq(loops.step), self.step.last.eq(loops.step & loops.last),
            self.step.first.eq(loops.step & at_first.all()),
            self.step.swap.eq(loops.step & at_first[OUTER:].all()),
            self.step.window_first.eq(at_first[WINDOW:].all()),
            self.step.window_last.eq(loops.step & at_last[WINDOW:].all()),
            self.set_ends.eq(at_last[:OUTER].all())]
