"""The vector unit on a bench, and what VECTOR means, in numpy."""
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from amaranth.hdl import Module
from amaranth.lib import memory, wiring
from amaranth.sim import SimulatorContext

from accel.circuits.store import truth_table
from accel.spec import numerics
from accel.spec.config import AccelConfig
from accel.spec.isa import TOKENS, Instruction, Isa, Opcode
from accel.spec.link import param_code
from accel.spec.numerics import limits
from rtl.accumulator import AccumulatorColumn
from rtl.arith import delay, register
from rtl.output import OutputScratchpad
from rtl.vector import VectorUnit
from sim import pysim


class Bench(wiring.Component):
    """The unit with accumulators that hold ``sums``, and its output scratchpad."""

    def __init__(self, config: AccelConfig, sums: np.ndarray) -> None:
        self.config, self.sums = config, sums
        self.unit, self.scratchpad = VectorUnit(config), OutputScratchpad(config)
        super().__init__({name: self.unit.signature.members[name] for name in (
            "i", "before", "behind", "idle", "busy", "stall", "activation_write", "output_write",
            "param_address", "param_data", "param_write")}
            | {"load": self.scratchpad.signature.members["load"]})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.unit, m.submodules.scratchpad = unit, scratchpad = self.unit, self.scratchpad
        mask = (1 << self.config.acc_bits) - 1
        words = [sum((int(value) & mask) << self.config.acc_bits * col
                     for col, value in enumerate(word)) for word in self.sums]
        m.submodules.sums = sums = memory.Memory(
            shape=self.config.acc_bits * self.config.cols, depth=len(words), init=words)
        read = sums.read_port()
        for name in ("i", "before", "behind"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(unit, name))
        wiring.connect(m, wiring.flipped(self.load), scratchpad.load)
        m.d.comb += [
            read.addr.eq(delay(m, unit.acc_address, AccumulatorColumn.read_latency - 2, "acc")),
            unit.acc_data.as_value().eq(register(m, read.data, "word")),
            scratchpad.write.eq(unit.output_write), self.output_write.eq(unit.output_write),
            self.activation_write.eq(unit.activation_write), self.busy.eq(unit.busy),
            self.idle.eq(unit.idle), self.stall.eq(unit.stall),
            unit.param_address.eq(self.param_address), unit.param_data.eq(self.param_data),
            unit.param_write.eq(self.param_write)]
        if self.config.residual:
            m.d.comb += [scratchpad.add_address.eq(unit.add_address),
                         unit.add_data.eq(scratchpad.add_data)]
        return m


@dataclass
class Machine:
    """What an instruction works on, and what it means.

    Multipliers of ``params`` are numbers, those in an instruction codes.
    """

    config: AccelConfig
    sums: np.ndarray
    params: np.ndarray      # word, lane, (bias, multiplier, shift)
    out: np.ndarray         # word, lane

    @classmethod
    def random(cls, config: AccelConfig, seed: int) -> "Machine":
        rng = np.random.default_rng(seed)
        extreme = limits(config.acc_bits)
        sums = rng.integers(-1 << 13, 1 << 13, (config.acc_depth, config.cols))
        sums[::7, ::2], sums[3::7, ::2] = extreme
        scales, shape = config.scales, (config.param_depth, config.param_lanes)
        bias = rng.integers(-1 << 12, 1 << 12, shape)
        multiplier = (rng.choice(list(scales.codes), shape) if scales.terms
                      else rng.integers(0, 1 << scales.magnitude_bits, shape))
        if scales.signed:
            multiplier *= rng.choice([-1, 1], shape)
        shift = rng.integers(1, 10, shape) + scales.magnitude_bits
        params = np.stack([bias, multiplier, shift], axis=2)
        out = rng.integers(*limits(config.act_bits), (config.out_depth, config.word_lanes),
                           endpoint=True)
        return cls(config, sums, params, out)

    def run(self, f: dict[str, int]) -> list[tuple[int, int, list[int | None]]]:
        """Execute; returns address (not yet wrapped) and lanes of each write, None: not written."""
        c, writes = self.config, []
        words = c.vector_lanes // c.param_lanes
        for group, lane_group, row, col in itertools.product(
                *(range(f[name]) for name in ("groups", "lane_groups", "rows", "cols"))):
            first = f["param_base"] + (group * f["lane_groups"] + lane_group) * words
            params = self.params[np.arange(first, first + words) % c.param_depth]
            place = group + row * f["out_row_stride"] + col * f["out_col_stride"]
            lanes: list[int | None] = [None] * c.word_lanes
            for lane in range(c.vector_lanes):
                channel = lane_group * c.vector_lanes + lane
                if channel < c.cols:
                    param = params.reshape(-1, 3)[lane]
                    base = (f["acc_base"] + group * f["acc_group_stride"] + row * f["row_stride"]
                            + col * f["col_stride"])
                    lanes[channel] = max(self._code(
                        f, base + wr * f["win_row_stride"] + wc * f["win_col_stride"], channel,
                        param, place) for wr in range(f["win_rows"]) for wc in range(f["win_cols"]))
            writes.append((f["out_base"] + place, lane_group, lanes))
            if f["to_output"]:
                word = self.out[(f["out_base"] + place) % c.out_depth]
                for channel, code in enumerate(lanes):
                    word[channel] = word[channel] if code is None else code
        return writes

    def _code(self, f: dict[str, int], acc: int, channel: int, param: Sequence[int],
              place: int) -> int:
        c = self.config
        bias, multiplier, shift = map(int, param)
        code = numerics.requantize(int(self.sums[acc % c.acc_depth, channel]) + bias, multiplier,
                                   shift, f["zero_point"], c.act_bits, c.rounding)
        if f["activation"]:
            spec = c.activation_specs[f["activation"] - 1]
            code = (numerics.relu(code, f["zero_point"]) if spec.function == "relu"
                    else truth_table(spec, c.act_bits)[code % (1 << c.act_bits)])
        if f.get("add"):
            other = int(self.out[(f["add_base"] + place) % c.out_depth, channel])
            code = numerics.add(
                (code, other), (f["own_zero_point"], f["other_zero_point"]),
                (c.scales.decode_summand(f["own_multiplier"]),
                 c.scales.decode_summand(f["other_multiplier"])),
                (f.get("own_shift", 0), f.get("other_shift", 0)), f.get("add_multiplier", 1),
                f["add_shift"], f["add_zero_point"], c.act_bits, c.rounding)
        return max(f["low"], min(f["high"], code))


def vector(config: AccelConfig, *tokens: str, **changes: int) -> Instruction:
    """One position of one group and lane group, to the output scratchpad, unless changed."""
    fields = {each.name: 0 for each in Isa(config).formats[Opcode.VECTOR]}
    low, high = limits(config.act_bits)
    fields |= dict.fromkeys(("groups", "lane_groups", "rows", "cols", "win_rows", "win_cols"), 1)
    fields |= {"to_output": 1, "low": low, "high": high}
    if config.residual:
        fields["add_shift"] = 1
    return Instruction(Opcode.VECTOR, {**fields, **changes}, frozenset(tokens))


def any_vector(config: AccelConfig, rng: random.Random) -> Instruction:
    """Random fields, such that no word is added that the instruction itself has written before."""
    low, high = limits(config.act_bits)

    def code() -> int:
        return rng.choice((low, high, 0, -1, rng.randint(low, high)))

    f = {"groups": rng.randint(1, 3), "lane_groups": rng.randint(1, config.vector_groups),
         "rows": rng.randint(1, 3), "cols": rng.randint(1, 3),
         "win_rows": rng.choice((1, 1, 2)), "win_cols": rng.choice((1, 1, 3)),
         "acc_base": rng.randrange(config.acc_depth), "param_base": rng.randrange(
             config.param_depth), "out_base": rng.randrange(config.act_depth),
         "to_activation": rng.randint(0, 1), "to_output": rng.randint(0, 1),
         "activation": rng.randint(0, len(config.activations)), "zero_point": code(),
         **{name: rng.randrange(config.acc_depth) for name in (
             "acc_group_stride", "row_stride", "col_stride", "win_row_stride", "win_col_stride")},
         **{name: rng.randrange(config.act_depth) for name in ("out_row_stride",
                                                               "out_col_stride")}}
    if rng.random() < 0.5:
        f["low"], f["high"] = sorted((code(), code()))
    if config.residual and rng.random() < 0.6:
        f |= {"add": 1, "win_rows": 1, "win_cols": 1, "add_base": rng.randrange(config.out_depth),
              "own_zero_point": code(), "other_zero_point": code(), "add_zero_point": code(),
              **_any_factors(config, rng)}
        if f["to_output"] and rng.random() < 0.5:      # in place
            f |= {"add_base": f["out_base"] % config.out_depth, "groups": 1}
            f |= {"out_row_stride": 3, "out_col_stride": 1}
        elif f["to_output"]:
            f |= {"out_base": 0, "out_row_stride": 4, "out_col_stride": 1, "groups": 1,
                  "add_base": config.out_depth // 2}
    tokens = [flag for flag in TOKENS if rng.random() < 0.4]
    return vector(config, *tokens, **f)


def _any_factors(config: AccelConfig, rng: random.Random) -> dict[str, int]:
    """What an addition multiplies and divides by."""
    if config.scale_terms:
        powers = [0, *(1 << exponent for exponent in range(8))]
        return {"own_multiplier": config.scales.encode_summand(rng.choice(powers)),
                "other_multiplier": config.scales.encode_summand(rng.choice(powers)),
                "add_shift": rng.choice((1, 5, 6, 7, 8, 9, 40))}
    bits = config.scales.summand_bits
    most = (1 << bits) - 1
    factors = {"own_multiplier": rng.choice((most, 1 << (bits - 1), rng.randint(0, most))),
               "other_multiplier": rng.choice((most, 1 << (bits - 2), rng.randint(0, most)))}
    if config.rounding == "single":
        return factors | {"add_shift": rng.choice((1, 16, 17, 15, 40))}
    return factors | {"own_shift": rng.choice((31, 32, 33, 62)),
                      "other_shift": rng.choice((31, 32, 34, rng.randint(35, 62))),
                      "add_multiplier": rng.choice((most, 1 << 30, rng.randint(1 << 30, most))),
                      "add_shift": rng.choice((31, 49, 50, 50, 51, 62))}


def halves(config: AccelConfig) -> dict[str, int]:
    """Fields of an addition that takes the mean of both summands."""
    if config.rounding == "single":
        half = config.scales.encode_summand(1 << 7)
        return {"own_multiplier": half, "other_multiplier": half, "add_shift": 8}
    one = 1 << 30
    return {"own_multiplier": one, "other_multiplier": one, "own_shift": 31, "other_shift": 31,
            "add_multiplier": one, "add_shift": 50}


@dataclass
class Trace:
    """What a run showed: cycles of events, and both ports' writes."""

    steps: list[int] = field(default_factory=list)
    stalls: list[int] = field(default_factory=list)
    pops: dict[str, list[int]] = field(default_factory=lambda: {"before": [], "behind": []})
    pushes: dict[str, list[int]] = field(default_factory=lambda: {"before": [], "behind": []})
    writes: dict[str, list[tuple[int, int, list[int]]]] = field(
        default_factory=lambda: {"activation": [], "output": []})
    write_cycles: list[int] = field(default_factory=list)
    idle: list[bool] = field(default_factory=list)


def execute(machine: Machine, instructions: Sequence[Instruction], *, seed: int | None = None,
            tokens_from: int = 0) -> Trace:
    """Run; with a ``seed`` tokens and instructions come late at random, else at once.

    Tokens are there from cycle ``tokens_from`` on, counted from the first offered instruction.
    """
    c, trace, rng = machine.config, Trace(), random.Random(seed)
    dut = Bench(c, machine.sums)
    params = machine.params.tolist()
    words = [sum((code & ((1 << c.act_bits) - 1)) << c.act_bits * lane
                 for lane, code in enumerate(word)) for word in machine.out.tolist()]
    code_mask, clock = (1 << c.act_bits) - 1, [-1]
    pending = sum(("push_prev" in each.tokens) + ("push_next" in each.tokens)
                  for each in instructions)

    async def bench(ctx: SimulatorContext) -> None:
        for address, lanes in enumerate(params):
            ctx.set(dut.param_address, address)
            ctx.set(dut.param_write, 1)
            for lane, (bias, multiplier, shift) in enumerate(lanes):
                ctx.set(dut.param_data[lane].as_value(),
                        param_code(c, bias, multiplier, shift))
            await ctx.tick()
        ctx.set(dut.param_write, 0)
        await pysim.send(ctx, dut.load, ({"address": n, "data": word}
                                         for n, word in enumerate(words)))
        clock[0] = 0
        for each in instructions:
            while seed is not None and rng.random() < 0.3:
                await ctx.tick()
            await pysim.send(ctx, dut.i, [Isa(c).encode(each)])
        await ctx.tick().until(dut.idle)
        await ctx.tick().repeat(4)
        assert sum(map(len, trace.pushes.values())) == pending

    async def watch(ctx: SimulatorContext) -> None:
        writes = {"activation": dut.activation_write, "output": dut.output_write}
        while True:
            if clock[0] >= 0:
                for port in (dut.before, dut.behind):
                    ctx.set(port.available, clock[0] >= tokens_from
                            and (seed is None or rng.random() < 0.5))
            sampled = await ctx.tick().sample(
                dut.busy, dut.stall, dut.idle, *(getattr(getattr(dut, side), what)
                for side in ("before", "behind") for what in ("pop", "push")),
                *(port for write in writes.values()
                  for port in (write.address, write.enable, write.data.as_value())))
            if clock[0] < 0:
                continue
            busy, stall, idle, *exchanges = sampled[2:9]
            for events, happened in zip(
                    (trace.steps, trace.stalls, trace.pops["before"], trace.pushes["before"],
                     trace.pops["behind"], trace.pushes["behind"]),
                    (busy, stall, *exchanges), strict=True):
                if happened:
                    events.append(clock[0])
            trace.idle.append(bool(idle))
            for position, name in enumerate(writes):
                address, enable, data = sampled[9 + 3 * position:][:3]
                if enable:
                    lanes = [data >> c.act_bits * lane & code_mask for lane in range(c.word_lanes)]
                    trace.writes[name].append((address, enable, lanes))
                    trace.write_cycles.append(clock[0])
            clock[0] += 1

    pysim.run(dut, bench, background=[watch])
    return trace


def wanted(machine: Machine, instructions: Sequence[Instruction],
           ) -> dict[str, list[tuple[int, int, list[int | None]]]]:
    """Both ports' writes, in order."""
    c, code_mask = machine.config, (1 << machine.config.act_bits) - 1
    writes: dict[str, list] = {"activation": [], "output": []}
    for each in instructions:
        for address, lane_group, lanes in machine.run(dict(each.fields)):
            enable = ((1 << c.vector_lanes) - 1) << lane_group * c.vector_lanes
            codes = [None if code is None else code & code_mask for code in lanes]
            # each half of the activation scratchpad is a ring
            ring, base = c.act_depth // 2, each.fields["out_base"] % c.act_depth
            for name, place in (("activation", base // ring * ring + address % ring),
                                ("output", address % c.out_depth)):
                if each.fields[f"to_{name}"]:
                    writes[name].append((place, enable, codes))
    return writes


def check(trace: Trace, expected: dict[str, list]) -> None:
    for name, writes in expected.items():
        assert len(trace.writes[name]) == len(writes)
        for number, (got, want) in enumerate(zip(trace.writes[name], writes, strict=True)):
            shown = [None if code is None else got[2][lane] for lane, code in enumerate(want[2])]
            assert (number, *got[:2], shown) == (number, *want)
