"""LOAD unit: memory to a scratchpad, with padding around what is read."""
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from accel.spec.isa import Isa, Opcode, Target
from rtl.address import AffineLoops
from rtl.arith import delay, register
from rtl.instruction import layout
from rtl.tokens import TokenPort, taken_with_tokens

#: Cycles from an instruction at hand to what is derived from its fields.
SETTLE_CYCLES = 2
#: Most reads under way: as many cycles may a memory take to answer without a pause.
MOST_READS = 63
#: Cycles from a taken write to the token that says that it has landed.
LANDING_CYCLES = 3


def load_layout(config: AccelConfig, target: Target) -> data.StructLayout:
    """A word for a scratchpad: its address there, and the word as memory holds it."""
    words = {Target.ACTIVATION: config.act_depth, Target.OUTPUT: config.out_depth,
             Target.WEIGHT: config.weight_depth * config.row_slots}[target]
    bits = (config.cols * config.weight_bits if target == Target.WEIGHT
            else config.word_lanes * config.act_bits)
    return data.StructLayout({"address": range(words), "data": bits})


def beyond(address: Value, depth: int) -> Value:
    """Whether an address is ``depth`` or more; free of logic where that is a power of two."""
    bits = (depth - 1).bit_length()
    if len(address) < bits or depth == 1 << len(address):
        return Const(0, 1)
    return address[bits:].any() if depth == 1 << bits else address >= depth


class Middle(wiring.Component):
    """Says whether a walk is in the middle one of three stretches, any of which may be empty.

    ``inside`` is right in the cycle after ``restart``, and in the one after each ``step``. Counts
    hold still while it walks.

    Members
    -------
    front, middle
        Steps of the first two stretches, and what is known of them: that there are any, that
        there is just one.
    restart, step
        Go to the first place, to the next place; the former wins.
    inside_first, inside_next
        The first place lies inside; the next place does.
    """

    def __init__(self, bits: int) -> None:
        self.bits = bits
        stretch = stretch_layout(bits)
        super().__init__({"front": In(stretch), "middle": In(stretch), "restart": In(1),
                          "step": In(1), "inside": Out(1), "inside_first": Out(1),
                          "inside_next": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        ahead, some_left = Signal(name="in_front"), Signal(name="middle_left")
        at_last = {}
        for name, stretch, some, step in (
                ("front", self.front, ahead, self.step & ahead),
                ("middle", self.middle, some_left, self.step & ~ahead & some_left)):
            left = Signal(self.bits, name=f"{name}_left_count")
            at_last[name] = last = Signal(name=f"{name}_at_last")
            with m.If(self.restart):
                m.d.sync += [left.eq(stretch.count), some.eq(stretch.any), last.eq(stretch.one)]
            with m.Elif(step):
                m.d.sync += [left.eq(left - 1), some.eq(~last), last.eq(left == 2)]
        m.d.comb += [
            self.inside.eq(~ahead & some_left),
            self.inside_first.eq(~self.front.any & self.middle.any),
            self.inside_next.eq(some_left & Mux(ahead, at_last["front"], ~at_last["middle"]))]
        return m


def stretch_layout(bits: int) -> data.StructLayout:
    """A count, that it is not 0, and that it is 1."""
    return data.StructLayout({"count": bits, "any": 1, "one": 1})


class LoadUnit(wiring.Component):
    """Executes LOAD: a word per cycle while memory gives and the scratchpad takes them.

    Reads are asked for ahead, in one walk; a second walk writes. The first one takes up the next
    instruction, once that has its tokens, while the second still writes the last one: between
    instructions either walk pauses for 2 cycles. Tokens are given `LANDING_CYCLES` after the last
    write was taken.

    Addresses of weights and outputs wrap around; those of activations do within the half of the
    scratchpad in which the first one lies.

    An address beyond its memory ends the instruction with a ``fault``: that access is not made,
    and its tokens are not given.

    Members
    -------
    i, i_index
        Instruction words, and where each stands in the program.
    before, behind
        Exchanges with the neighbours in the ring of units.
    idle
        Nothing is queued, running or landing.
    busy, stall
        A word goes to a scratchpad; one should, but memory or the scratchpad makes it wait.
    fault, fault_index
        Strobe, and the index of the instruction that it ends.
    read, data
        The reading half of a `memory.MemoryPort`.
    activation, weight, output
        Words for the scratchpads, see `load_layout`.
    """

    def __init__(self, config: AccelConfig) -> None:
        self.config, self.isa = config, Isa(config)
        self.form = layout(self.isa, Opcode.LOAD)
        self.bits = {field.name: field.bits for field in self.isa.formats[Opcode.LOAD]}
        count = max(self.bits[name] for name in ("rows", "words", "top", "left"))
        self.count_bits, self.total_bits = count, count + 2
        #: What is derived from an instruction's fields.
        self.plan_layout = data.StructLayout({
            "height": self.total_bits, "width": self.total_bits, "empty": 1, "reads": 1,
            **{name: stretch_layout(count) for name in ("top", "rows", "left", "words")}})
        index = range(config.instruction_depth)
        super().__init__({
            "i": In(stream.Signature(self.isa.word_bits)), "i_index": In(index),
            "before": Out(TokenPort()), "behind": Out(TokenPort()),
            "idle": Out(1), "busy": Out(1), "stall": Out(1), "fault": Out(1),
            "fault_index": Out(index),
            "read": Out(stream.Signature(range(config.mem_depth))),
            "data": In(stream.Signature(config.mem_bits)),
            **{target.name.lower(): Out(stream.Signature(load_layout(config, target)))
               for target in Target}})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        offered = data.View(self.form, self.i.payload)
        plan = self._plan(m, offered)
        settling = Signal(SETTLE_CYCLES)
        # to be read: `asked` is about to start, `asking` runs, `bad` and then `cut` off
        asked, asking, bad, cut = Signal(), Signal(), Signal(), Signal()
        owed = Signal()                 # the writing walk has not yet begun with it
        free = ~(asked | asking | owed | bad | cut)
        take = taken_with_tokens(m, self, offered, settling[-1] & free)
        m.d.sync += [settling.eq(Mux(take | ~self.i.valid, 0, Cat(1, settling))), asked.eq(take)]

        hand, hand_plan = Signal(self.form), Signal(self.plan_layout)
        hand_index = Signal.like(self.i_index, name="hand_index")
        with m.If(free):        # whether or not it is taken: so many wires need not wait for that
            m.d.sync += [hand.eq(offered), hand_plan.eq(plan), hand_index.eq(self.i_index)]
        nothing_comes = self._ask(m, hand, hand_plan, asked, asking, bad, cut, owed)
        drained = self._write(m, hand, hand_plan, hand_index, take, owed, cut, nothing_comes)
        m.d.comb += self.idle.eq(~self.i.valid & ~asked & ~owed & ~asking & ~cut & drained)
        return m

    def _plan(self, m: Module, offered: data.View) -> data.View:
        """What follows from the fields of an instruction that stays for `SETTLE_CYCLES`."""
        plan = Signal(self.plan_layout)
        sums = {"width": ("left", "words", "right"), "height": ("top", "rows", "bottom")}
        some = []
        for name, (front, middle, rear) in sums.items():
            first = register(m, offered[front] + offered[middle], f"{name}_first")
            m.d.sync += plan[name].eq(first + offered[rear])
            some.append(register(m, (offered[front] | offered[middle] | offered[rear]).any(),
                                 f"{name}_some"))
            for stretch in (front, middle):
                m.d.sync += [plan[stretch].count.eq(offered[stretch]),
                             plan[stretch].any.eq(offered[stretch].any()),
                             plan[stretch].one.eq(offered[stretch] == 1)]
        m.d.sync += [plan.empty.eq(~(some[0] & some[1])),
                     plan.reads.eq(plan.rows.any & plan.words.any)]
        return plan

    def _ask(self, m: Module, hand: data.View, plan: data.View, asked: Signal, asking: Signal,
             bad: Signal, cut: Signal, owed: Signal) -> Signal:
        """The walk that reads. Returns whether the last word before a cut has been written."""
        bits = self.bits
        # a bit more than an address has: strides cannot lead past that unnoticed
        m.submodules.reads = loops = AffineLoops((bits["rows"], bits["words"]),
                                                 (bits["mem_base"] + 1,))
        full, address = Signal(), Signal(self.bits["mem_base"])
        under_way, room = Signal(range(MOST_READS + 1)), Signal(init=1)
        moves = Signal(name="read_moves")
        m.d.comb += [
            loops.start.eq(asked), loops.stream_starts.eq(asked),
            loops.counts.l0.eq(hand.rows), loops.counts.l1.eq(hand.words),
            loops.single.eq(Cat(plan.rows.one, plan.words.one)),
            loops.bases.s0.eq(hand.mem_base), loops.strides.s0[0].eq(hand.mem_row_stride),
            loops.strides.s0[1].eq(1),
            moves.eq(~full | self.read.ready),
            loops.step.eq(asking & moves & room & ~bad), loops.stream_steps.eq(loops.step),
            self.read.valid.eq(full), self.read.payload.eq(address)]
        outside = beyond(loops.addresses.s0, self.config.mem_depth)
        m.d.sync += bad.eq(loops.step & outside)
        with m.If(moves):
            m.d.sync += [full.eq(loops.step & ~outside), address.eq(loops.addresses.s0)]
        with m.If(asked):
            m.d.sync += asking.eq(plan.reads)
        with m.Elif(loops.step & loops.last):
            m.d.sync += asking.eq(0)
        with m.If(bad):
            m.d.sync += [asking.eq(0), cut.eq(1)]

        m.d.sync += [under_way.eq(under_way + (self.read.valid & self.read.ready)
                                  - (self.data.valid & self.data.ready)),
                     room.eq(under_way < MOST_READS - 2)]
        return register(m, cut & ~owed & ~under_way.any(), "nothing_comes")

    def _write(self, m: Module, hand: data.View, hand_plan: data.View, hand_index: Signal,
               take: Signal, owed: Signal, cut: Signal, nothing_comes: Signal) -> Value:
        """The walk that writes. Returns whether nothing of it is left."""
        bits, count = self.bits, self.count_bits
        m.submodules.writes = loops = AffineLoops((self.total_bits, self.total_bits),
                                                  (bits["base"],))
        m.submodules.row_part = rows = Middle(count)
        m.submodules.col_part = cols = Middle(count)
        current, plan = Signal(self.form), Signal(self.plan_layout)
        begin, primed, writing = Signal(), Signal(), Signal()
        m.d.comb += begin.eq(owed & ~primed & ~writing)
        m.d.sync += [owed.eq(take | (owed & ~begin)), primed.eq(begin)]
        with m.If(begin):
            m.d.sync += [
                current.eq(hand), plan.eq(hand_plan), self.fault_index.eq(hand_index),
                loops.single.eq(Cat(hand_plan.height == 1, hand_plan.width == 1))]

        # From registers: the walk may go on, as the way out is free; its place is one that is read.
        free, may, reads = Signal(), Signal(), Signal()
        advance, ends, goes_on = Signal(), Signal(), Signal()
        end_of_row = loops.step & loops.at_last[1]
        m.d.comb += [
            loops.start.eq(primed), loops.stream_starts.eq(primed),
            loops.counts.l0.eq(plan.height), loops.counts.l1.eq(plan.width),
            loops.bases.s0.eq(current.base), loops.strides.s0[0].eq(current.row_stride),
            loops.strides.s0[1].eq(1),
            cols.front.eq(plan.left), cols.middle.eq(plan.words),
            cols.restart.eq(primed | end_of_row), cols.step.eq(loops.step),
            rows.front.eq(plan.top), rows.middle.eq(plan.rows),
            rows.restart.eq(primed), rows.step.eq(end_of_row),
            # an empty instruction, or one that is cut off, passes as one step without a word
            advance.eq(may & (self.data.valid | ~reads | nothing_comes)),
            ends.eq(advance & (loops.last | plan.empty | nothing_comes)),
            loops.step.eq(advance), loops.stream_steps.eq(advance),
            self.data.ready.eq(may & reads), goes_on.eq(primed | (writing & ~ends)),
            self.busy.eq(advance), self.stall.eq(writing & ~advance)]
        m.d.sync += [writing.eq(goes_on), may.eq(goes_on & free)]
        with m.If(primed):
            m.d.sync += reads.eq(rows.inside_first & cols.inside_first)
        with m.Elif(advance):
            m.d.sync += reads.eq(Mux(loops.at_last[1], rows.inside_next & cols.inside_first,
                                     rows.inside & cols.inside_next))
        with m.If(ends & nothing_comes):
            m.d.sync += cut.eq(0)

        m.d.sync += self.fault.eq(advance & nothing_comes)
        word = Mux(reads, self.data.payload, self._padding(current.value))
        drained = self._put(m, current, loops.addresses.s0, word, free,
                            wrote=advance & ~plan.empty & ~nothing_comes, step=advance,
                            done=ends & ~nothing_comes)
        return ~primed & ~writing & drained

    def _padding(self, value: Value) -> Value:
        """A word with ``value`` in every lane."""
        return value.replicate(self.config.word_lanes)

    def _put(self, m: Module, current: data.View, address: Value, word: Value, free: Signal, *,
             wrote: Value, step: Value, done: Value) -> Value:
        """Registers before the scratchpads; tokens behind them. Returns whether nothing is left.

        There are two of them, so that the walk need not wait for ``ready``: in the next cycle
        there will be a ``free`` one.
        """
        ports = {target: getattr(self, target.name.lower()) for target in Target}
        held, sides = Signal(name="put_held"), ("prev", "next")
        m.d.comb += held.eq(Cat(port.valid & ~port.ready for port in ports.values()).any())
        form = data.StructLayout({
            "word": len(word), "step": 1, **{f"push_{side}": 1 for side in sides},
            **{f"{target.name.lower()}_valid": 1 for target in Target},
            **{f"{target.name.lower()}_address": port.payload.address.shape()
               for target, port in ports.items()}})
        new, put, spare = (Signal(form, name=name) for name in ("new", "put", "spare"))
        spared = Signal()       # there is something in `spare`
        # activations stay in the half of their scratchpad in which the first one lies
        top = len(new.activation_address) - 1
        addresses = dict.fromkeys(Target, address) | {
            Target.ACTIVATION: Cat(address[:top], current.base[top])}
        m.d.comb += [new.word.eq(word), new.step.eq(step), free.eq(~(held & (step | spared))),
                     *(new[f"push_{side}"].eq(done & current[f"push_{side}"]) for side in sides)]
        for target, port in ports.items():
            name = target.name.lower()
            m.d.comb += [new[f"{name}_address"].eq(addresses[target]),
                         new[f"{name}_valid"].eq(wrote & (current.target == target)),
                         port.valid.eq(put[f"{name}_valid"]), port.payload.data.eq(put.word),
                         port.payload.address.eq(put[f"{name}_address"])]
        m.d.sync += spared.eq(~free)
        with m.If(~spared):
            m.d.sync += spare.eq(new)
        with m.If(~held):
            m.d.sync += put.eq(Mux(spared, spare, new))

        leaves = {side: delay(m, put[f"push_{side}"] & ~held, LANDING_CYCLES, f"landing_{side}")
                  for side in sides}
        m.d.comb += [self.before.push.eq(leaves["prev"]), self.behind.push.eq(leaves["next"])]
        landing = Signal(LANDING_CYCLES)
        m.d.sync += landing.eq(Cat(put.step & ~held, landing))
        return ~put.step & ~spared & ~landing.any()
