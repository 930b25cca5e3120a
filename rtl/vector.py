"""Vector unit: accumulators to activations, several channels per cycle."""
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from accel.spec.isa import Isa
from rtl.accumulator import AccumulatorColumn
from rtl.arith import register
from rtl.feeder import write_layout
from rtl.lane import VectorLane
from rtl.output import OutputScratchpad, output_write_layout, word_layout
from rtl.params import ParamFeed, param_layout
from rtl.pick import pick, pick_latency
from rtl.scaling import scaling
from rtl.tokens import TokenPort
from rtl.vector_control import VectorControl
from rtl.wave import Wave


class Line:
    """A value on its way through the pipeline: one chain of registers, looked at anywhere."""

    def __init__(self, m: Module, value: Value, name: str) -> None:
        self.m, self.name, self.stages = m, name, [value]

    def at(self, stage: int) -> Value:
        """The value ``stage`` cycles later."""
        while len(self.stages) <= stage:
            self.stages.append(register(self.m, self.stages[-1], f"{self.name}_{len(self.stages)}"))
        return self.stages[stage]


def constants_layout(config: AccelConfig) -> data.StructLayout:
    """What an instruction says of all its steps."""
    code = signed(config.act_bits)
    return data.StructLayout({
        "zero_point": code, "activation": range(len(config.activations) + 1),
        **({**scaling(config).addition.constants(config), "add_zero_point": code}
           if config.residual else {}),
        "low": code, "high": code, "to_activation": 1, "to_output": 1, "half": 1,
        "push_prev": 1, "push_next": 1})


def lane_stage(config: AccelConfig) -> int:
    """Cycles from a step to its accumulators at the lanes."""
    return AccumulatorColumn.read_latency + pick_latency(config.vector_groups)


def write_stage(config: AccelConfig) -> int:
    """Cycles from a step to its result at the write ports, behind a register."""
    return lane_stage(config) + VectorLane.latency_of(config) + 1


def add_stage(config: AccelConfig) -> int:
    """Cycles from a step to the address of what is added to it."""
    return (lane_stage(config) + VectorLane.other_stage(config)
            - pick_latency(config.vector_groups) - OutputScratchpad.read_latency)


def landing_cycles(config: AccelConfig) -> int:
    """Least cycles from a step that writes a word to one that adds it."""
    return write_stage(config) + OutputScratchpad.WRITE_LATENCY - add_stage(config)


class VectorUnit(wiring.Component):
    """Executes VECTOR, a step per cycle; instructions follow each other as in `VectorControl`.

    A step's accumulators are read in the cycle in which it is ``busy``, its result is at the write
    ports `write_stage` cycles later. Tokens are given in the cycle after that of the last write:
    an output word can then be read from an address in the next cycle, and an activation by a step
    that starts then.

    Members
    -------
    i, before, behind, idle, busy, stall
        As in `vector_control.VectorControl`.
    acc_address, acc_data
        Read port of the accumulators, `AccumulatorColumn.read_latency` cycles.
    add_address, add_data
        Read port of the output scratchpad, `OutputScratchpad.read_latency` cycles; where the
        unit can add.
    activation_write, output_write
        Writes to the scratchpads; they do not wait.
    param_address, param_data, param_write
        Host writes to the bias and scale memory.
    """

    def __init__(self, config: AccelConfig) -> None:
        self.config = config
        self.lane_stage = lane_stage(config)
        self.last_stage = write_stage(config) - 1       # before the write's register
        super().__init__({
            "i": In(stream.Signature(Isa(config).word_bits)),
            "before": Out(TokenPort()), "behind": Out(TokenPort()),
            "idle": Out(1), "busy": Out(1), "stall": Out(1),
            "acc_address": Out(range(config.acc_depth)),
            "acc_data": In(data.ArrayLayout(signed(config.acc_bits), config.cols)),
            **({"add_address": Out(range(config.out_depth)), "add_data": In(word_layout(config))}
               if config.residual else {}),
            "activation_write": Out(write_layout(config)),
            "output_write": Out(output_write_layout(config)),
            "param_address": In(range(config.param_depth)), "param_write": In(1),
            "param_data": In(data.ArrayLayout(param_layout(config), config.param_lanes))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self.config
        m.submodules.control = control = VectorControl(c, landing_cycles(c))
        m.submodules.params = params = ParamFeed(c, self.lane_stage)
        wiring.connect(m, wiring.flipped(self.i), control.i)
        wiring.connect(m, control.before, wiring.flipped(self.before))
        wiring.connect(m, control.behind, wiring.flipped(self.behind))
        step = control.step
        m.d.comb += [
            self.idle.eq(control.idle), self.busy.eq(control.busy), self.stall.eq(control.stall),
            self.acc_address.eq(step.acc),
            params.offered.eq(control.offered), params.base.eq(control.param_base),
            params.swap.eq(step.swap), params.ends.eq(control.set_ends),
            control.params_ready.eq(params.ready_next),
            params.address.eq(self.param_address), params.word.eq(self.param_data),
            params.write.eq(self.param_write)]

        lane_group = Line(m, step.lane_group, "lane_group")
        constants = self._constants(m, control.current, step.first)
        results = self._lanes(m, step, lane_group, params, constants)
        self._write(m, step, lane_group.at(self.last_stage), results, constants)

        # the write is at its port, and one cycle later it has landed
        written = constants.o[f"s{self.last_stage}"]
        m.d.comb += [
            control.landed.eq(Line(m, step.last, "last").at(self.last_stage + 2)),
            control.landed_prev.eq(written.push_prev), control.landed_next.eq(written.push_next)]
        return m

    def _constants(self, m: Module, current: data.View, first: Value) -> Wave:
        """The instruction's constants, in all stages that look at some."""
        c = self.config
        stages = [self.lane_stage + stage for stage, _ in VectorLane.taps(c).values()]
        m.submodules.constants = wave = Wave(constants_layout(c),
                                             [*stages, self.last_stage])
        same = ("zero_point", "activation", "low", "high", "to_activation", "to_output",
                "push_prev", "push_next")
        half = current.out_base[(c.act_depth - 1).bit_length() - 1]
        m.d.comb += [wave.first.eq(first), wave.i.half.eq(half),
                     *(wave.i[name].eq(current[name]) for name in same)]
        if c.residual:
            scaling(c).addition.drive(m, c, wave.i, current)
            m.d.comb += wave.i.add_zero_point.eq(Mux(current.add, current.add_zero_point, 0))
        return wave

    def _lanes(self, m: Module, step: data.View, lane_group: Line, params: ParamFeed,
               constants: Wave) -> list[Signal]:
        c = self.config
        window_first = Line(m, step.window_first, "window_first").at(
            self.lane_stage + VectorLane.first_stage(c))
        if c.residual:
            m.d.comb += self.add_address.eq(Line(m, step.other, "other").at(add_stage(c)))
        results = []
        for index in range(c.vector_lanes):
            m.submodules[f"lane_{index}"] = lane = VectorLane(c)
            channels = range(index, c.vector_groups * c.vector_lanes, c.vector_lanes)
            # a lane beyond the last column computes on zero; nothing reads its result
            sums = [self.acc_data[channel] if channel < c.cols else Const(0, signed(c.acc_bits))
                    for channel in channels]
            m.d.comb += [
                lane.acc.eq(pick(m, sums, lane_group.at(AccumulatorColumn.read_latency),
                                 f"acc_{index}")),
                lane.param.eq(params.o[index]), lane.window_first.eq(window_first)]
            for name, (stage, form) in VectorLane.taps(c).items():
                given = constants.o[f"s{self.lane_stage + stage}"]
                m.d.comb += [lane.constants[name][field].eq(given[field])
                             for field in form.members]
            if c.residual:
                read = lane_group.at(add_stage(c) + OutputScratchpad.read_latency)
                m.d.comb += lane.other.eq(pick(
                    m, [self.add_data[channel] for channel in channels], read, f"other_{index}"))
            results.append(lane.o)
        return results

    def _write(self, m: Module, step: data.View, lane_group: Value, results: list[Signal],
               constants: Wave) -> None:
        """Both write ports, from registers."""
        c = self.config
        stage = self.last_stage
        done = Line(m, step.window_last, "done").at(stage)
        address = Line(m, step.out, "out").at(stage)
        given = constants.o[f"s{stage}"]
        inner = len(self.activation_write.address) - 1
        for port, chosen, place in (
                # each half of the activation scratchpad is a ring
                (self.activation_write, given.to_activation, Cat(address[:inner], given.half)),
                (self.output_write, given.to_output, address)):
            m.d.sync += [
                port.address.eq(place),         # beyond the scratchpad's depth it wraps around
                port.enable.eq(Cat((lane_group == lane // c.vector_lanes) & done & chosen
                                   for lane in range(c.word_lanes))),
                *(port.data[lane].eq(results[lane % c.vector_lanes])
                  for lane in range(c.word_lanes))]
