"""Runs a program by instruction, untimed, on many images at once.

Written from the instruction set and `spec.numerics` alone; it shares nothing with `golden`.
"""
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from accel.circuits.store import truth_table
from accel.device import DeviceError, IntArray, input_elements
from accel.program import Program
from accel.spec import numerics
from accel.spec.cells import Operation
from accel.spec.config import AccelConfig
from accel.spec.isa import MOST_TOKENS, UNIT_OF, Instruction, Isa, Opcode, Target, Unit
from accel.spec.link import Space, offset_bits, param_bits, param_of

BATCH = 50      # images at a time; bounds the memory
#: Which of the units that could go on does. Any choice must give the same result.
Order = Callable[[Sequence[tuple[int, Unit]]], int]


def in_program_order(ready: Sequence[tuple[int, Unit]]) -> int:
    """The unit whose instruction comes first in the program; ``ready`` holds index and unit."""
    return min(range(len(ready)), key=lambda place: ready[place][0])


class Emulator:
    """A `device.Device` in numpy.

    Parameters
    ----------
    config
        The accelerator.
    order
        Picks the next unit among those whose instruction has its tokens.
    """

    counters: Mapping[str, int] = {}

    def __init__(self, config: AccelConfig, order: Order = in_program_order) -> None:
        self.config, self.isa, self.order = config, Isa(config), order
        cell = config.cell_spec
        #: Per operation and code, the weight and whether its term counts.
        self._decoded = {
            operation: (np.array([weight or 0 for weight in weights], np.int64),
                        np.array([weight is not None for weight in weights]))
            for operation in cell.operations
            for weights in [[cell.decode(code, operation)
                             for code in range(1 << cell.weight_bits)]]}

    def load(self, program: Program) -> None:
        """Decode the program's images."""
        program.check(self.config)
        self.program = program
        memories: dict[Space, dict[int, int]] = {space: {} for space in Space}
        for image in program.images:
            memories[image.space].update(enumerate(image.words, start=image.address))
        c = self.config
        self._weight_rows = np.full((c.weight_depth * c.row_slots, c.cols),
                                    (1 << c.weight_bits) - 1, np.int64)
        for address, word in memories[Space.WEIGHT].items():
            self._weight_rows[address] = _fields(word, c.weight_bits, c.cols)
        #: What memory holds beside activations: rows of weight tiles.
        self._stored_rows = {address: _fields(word, c.weight_bits, c.cols)
                             for address, word in memories[Space.MEMORY].items()}
        self._offsets = np.zeros((c.offset_depth, c.rows), np.int64)
        for address, word in memories[Space.OFFSET].items():
            self._offsets[address] = _fields(word, offset_bits(c), c.rows)
        self._params = [[(0, 0, 1)] * c.param_lanes] * c.param_depth
        for address, word in memories[Space.PARAM].items():
            self._params[address] = _params(word, c)
        self._instructions = [self.isa.decode(word)
                              for _, word in sorted(memories[Space.INSTRUCTION].items())]

    def run(self, codes: IntArray) -> IntArray:
        """See `device.Device.run`; what nobody wrote is arbitrary: here the largest code."""
        # a batch of no image has an output too
        outputs = [self._run_batch(codes[n:n + BATCH]) for n in range(0, max(len(codes), 1), BATCH)]
        return np.concatenate(outputs)

    def read(self, tensor: str) -> IntArray:
        """Codes ``(c, h, w)`` of a stored tensor, of the last image."""
        codes: IntArray = self.read_all(tensor)[-1]
        return codes

    def read_all(self, tensor: str) -> IntArray:
        """Codes ``(n, c, h, w)`` of a stored tensor, of the last batch."""
        addresses = self.program.tensors[tensor].addresses()
        lanes = self.config.word_lanes
        codes: IntArray = self._memory[:, addresses // lanes, addresses % lanes]
        return codes

    def _run_batch(self, codes: IntArray) -> IntArray:
        c, images = self.config, len(codes)
        _, unknown = numerics.limits(c.act_bits)
        self._memory, self._act, self._out = (
            np.full((images, depth, c.word_lanes), unknown, np.int64)
            for depth in (c.mem_depth, c.act_depth, c.out_depth))
        self._acc = np.full((images, c.acc_depth, c.cols), unknown, np.int64)
        layout = self.program.tensors[self.program.input]
        for n, image in enumerate(codes):
            words = input_elements(layout, image).reshape(-1, c.word_lanes)
            first = layout.start // c.word_lanes
            self._memory[n, first:first + len(words)] = words
        execute: dict[Opcode, Callable[..., None]] = {
            Opcode.LOAD: self._load, Opcode.GEMM: self._gemm, Opcode.VECTOR: self._vector,
            Opcode.STORE: self._store}
        for instruction in self._schedule():
            execute[instruction.opcode](**instruction.fields)
        return self.read_all(self.program.output)

    def _schedule(self) -> list[Instruction]:
        """The instructions up to FINISH in an order that the tokens allow."""
        queues: dict[Unit, deque[int]] = {unit: deque() for unit in Unit}
        for index, instruction in enumerate(self._instructions):
            if instruction.opcode == Opcode.FINISH:
                break
            queues[UNIT_OF[instruction.opcode]].append(index)
        tokens: Counter[tuple[Unit, Unit]] = Counter()      # given by one, for the other
        done = []
        while any(queues.values()):
            ready = [(queue[0], unit) for unit, queue in queues.items()
                     if queue and _may_start(self._instructions[queue[0]], unit, tokens)]
            if not ready:
                heads = "; ".join(f"{queue[0]} ({self._instructions[queue[0]]})"
                                  for queue in queues.values() if queue)
                raise DeviceError(f"program {self.program.name!r} deadlocks: every unit waits "
                                  f"for a token, at instructions {heads}")
            index, unit = ready[self.order(ready)]
            queues[unit].popleft()
            _exchange(self._instructions[index], unit, tokens)
            done.append(self._instructions[index])
        if left := {f"{giver.name} to {taker.name}": count
                    for (giver, taker), count in tokens.items() if count}:
            raise DeviceError(f"program {self.program.name!r} leaves tokens over: {left}")
        return done

    def _load(self, *, target: int, mem_base: int, rows: int, mem_row_stride: int, words: int,
              base: int, row_stride: int, top: int, bottom: int, left: int, right: int,
              value: int) -> None:
        if target == Target.WEIGHT:
            for row in range(rows):
                for word in range(words):
                    place = (base + row * row_stride + word) % len(self._weight_rows)
                    self._weight_rows[place] = self._stored_rows[
                        mem_base + row * mem_row_stride + word]
            return
        scratchpad = self._act if target == Target.ACTIVATION else self._out
        lanes = self.config.word_lanes
        height, width = top + rows + bottom, left + words + right
        block = np.full((len(scratchpad), height, width, lanes), value, np.int64)
        source = _grid(mem_base, (rows, mem_row_stride), (words, 1))
        self._in_memory(source)
        block[:, top:top + rows, left:left + words] = self._memory[:, source]
        places = _grid(base, (height, row_stride), (width, 1))
        places = (_wrapped(places, base, self.config.act_depth) if target == Target.ACTIVATION
                  else places % self.config.out_depth)
        scratchpad[:, places] = block

    def _store(self, *, out_base: int, rows: int, row_stride: int, words: int, mem_base: int,
               mem_row_stride: int) -> None:
        target = _grid(mem_base, (rows, mem_row_stride), (words, 1))
        self._in_memory(target)
        source = _grid(out_base, (rows, row_stride), (words, 1)) % self.config.out_depth
        self._memory[:, target] = self._out[:, source]

    def _gemm(self, *, weight_base: int, tiles: int, groups: int, tiles_outer: int,
              offset_base: int, act_base: int, act_group_stride: int, rows: int, row_stride: int,
              cols: int, col_stride: int, acc_base: int, acc_group_stride: int, accumulate: int,
              depthwise: int = 0, distance: int = 0) -> None:
        c = self.config
        if groups > 1 and acc_group_stride < rows * cols:
            raise self._refusal(f"a GEMM whose {groups} groups of {rows * cols} accumulators lie "
                                f"{acc_group_stride} apart")
        if (extent := rows * cols + (groups - 1) * acc_group_stride) > c.acc_depth:
            raise self._refusal(f"a GEMM over {extent} accumulators, of which there are "
                                f"{c.acc_depth}")
        operation = c.cell_spec.operations[distance]
        offsets = self._offsets[(offset_base + np.arange(tiles)) % c.offset_depth].reshape(-1)
        weights = self._weight_rows.reshape(c.weight_depth, c.row_slots, c.cols)[:, :c.rows]
        for group in range(groups):
            order = [weight_base + (tile * groups + group if tiles_outer else group * tiles + tile)
                     for tile in range(tiles)]
            codes = weights[np.array(order) % c.weight_depth].reshape(-1, c.cols)
            first = act_base + group * act_group_stride
            places = _wrapped(_grid(first, (rows, row_stride), (cols, col_stride)).reshape(-1, 1)
                              + offsets, act_base, c.act_elements)
            words = self._act[:, places // c.word_lanes]
            if depthwise:
                sums = self._lane_terms(words[..., :c.cols], codes, operation)
            else:
                lanes = np.broadcast_to(places % c.word_lanes, words.shape[:-1])
                x = np.take_along_axis(words, lanes[..., None], axis=-1)[..., 0]
                sums = self._terms(x, codes, operation)
            acc = (acc_base + group * acc_group_stride + np.arange(len(places))) % c.acc_depth
            self._acc[:, acc] = (self._acc[:, acc] if accumulate else 0) + sums

    def _terms(self, x: IntArray, codes: IntArray, operation: Operation) -> IntArray:
        """Sums ``(n, places, cols)`` of what the elements add for ``x (n, places, taps)``."""
        weights, counts = self._decoded[operation]
        if operation is Operation.PRODUCT:
            # float64 products are exact: |sum| < 2**40, far below 2**53, and BLAS is fast
            products: IntArray = (x.astype(np.float64) @ weights[codes].astype(np.float64)
                                  ).astype(np.int64)
            return products
        total = np.zeros((*x.shape[:-1], codes.shape[1]), np.int64)
        for row, taps in enumerate(codes):
            total -= abs(x[..., row, None] - weights[taps]) * counts[taps]
        return total

    def _lane_terms(self, x: IntArray, codes: IntArray, operation: Operation) -> IntArray:
        """As `_terms`, for ``x (n, places, taps, cols)``: each column its own activations."""
        weights, counts = self._decoded[operation]
        terms = (x * weights[codes] if operation is Operation.PRODUCT
                 else -abs(x - weights[codes]) * counts[codes])
        sums: IntArray = terms.sum(axis=-2)
        return sums

    def _vector(self, *, acc_base: int, groups: int, acc_group_stride: int, lane_groups: int,
                rows: int, row_stride: int, cols: int, col_stride: int, win_rows: int,
                win_row_stride: int, win_cols: int, win_col_stride: int, param_base: int,
                to_activation: int, to_output: int, out_base: int, out_row_stride: int,
                out_col_stride: int, activation: int, zero_point: int, low: int, high: int,
                add: int = 0, add_base: int = 0, **sum_of: int) -> None:
        c = self.config
        if low > high:
            raise self._refusal(f"a VECTOR whose low = {low} is above its high = {high}")
        if add and win_rows * win_cols > 1:
            raise self._refusal(f"a VECTOR that adds and has windows of {win_rows} x {win_cols}")
        steps = c.vector_lanes // c.param_lanes
        windows = _grid(acc_base, (rows, row_stride), (cols, col_stride),
                        (win_rows, win_row_stride), (win_cols, win_col_stride))
        words = _grid(0, (rows, out_row_stride), (cols, out_col_stride))
        for group in range(groups):
            for lane_group in range(lane_groups):
                first = param_base + (group * lane_groups + lane_group) * steps
                params = [entry for word in range(steps)
                          for entry in self._params[(first + word) % c.param_depth]]
                lanes = slice(lane_group * c.vector_lanes, (lane_group + 1) * c.vector_lanes)
                acc = self._acc[:, (windows + group * acc_group_stride) % c.acc_depth, lanes]
                bias, multiplier, shift = np.array(params[:acc.shape[-1]], np.int64).T
                code = numerics.requantize(acc + bias, multiplier, shift, zero_point, c.act_bits,
                                           c.rounding)
                code = self._activate(code, activation, zero_point)
                if add:
                    other = self._out[:, (add_base + group + words) % c.out_depth, lanes]
                    code = _sum(code, other[:, :, :, None, None, :acc.shape[-1]], c, **sum_of)
                code = np.clip(code, low, high).max(axis=(3, 4))
                filled = slice(lanes.start, lanes.start + code.shape[-1])
                where = out_base + group + words
                if to_activation:
                    self._act[:, _wrapped(where, out_base, c.act_depth), filled] = code
                if to_output:
                    self._out[:, where % c.out_depth, filled] = code

    def _activate(self, code: IntArray, activation: int, zero_point: int) -> IntArray:
        if not activation:
            return code
        spec = self.config.activation_specs[activation - 1]
        if spec.function == "relu":
            return numerics.relu(code, zero_point)
        bits = self.config.act_bits
        table: IntArray = np.array(truth_table(spec, bits), np.int64)
        result: IntArray = table[code & ((1 << bits) - 1)]
        return result

    def _refusal(self, what: str) -> DeviceError:
        """An error for an instruction that means nothing."""
        return DeviceError(f"program {self.program.name!r} has {what}")

    def _in_memory(self, addresses: IntArray) -> None:
        if addresses.size and addresses.max() >= self.config.mem_depth:
            raise DeviceError(f"program {self.program.name!r} addresses memory at "
                              f"{addresses.max()}, which has {self.config.mem_depth} words")


def _grid(base: int, *loops: tuple[int, int]) -> IntArray:
    """Addresses of nested loops, each given by count and stride, outermost first."""
    address: IntArray = np.array(base, np.int64)
    for count, stride in loops:
        address = address[..., None] + np.arange(count) * stride
    return address


def _wrapped(places: IntArray, base: int, depth: int) -> IntArray:
    """Places in the half of the activation scratchpad in which ``base`` lies."""
    half = depth // 2
    return (base // half * half + places % half) % depth


def _sum(own: IntArray, other: IntArray, config: AccelConfig, *, own_zero_point: int,
         own_multiplier: int, other_zero_point: int, other_multiplier: int, add_shift: int,
         add_zero_point: int, own_shift: int = 0, other_shift: int = 0, add_multiplier: int = 1,
         ) -> IntArray:
    return numerics.add((own, other), (own_zero_point, other_zero_point),
                        (config.scales.decode_summand(own_multiplier),
                         config.scales.decode_summand(other_multiplier)), (own_shift, other_shift),
                        add_multiplier, add_shift, add_zero_point, config.act_bits,
                        config.rounding)


def _partners(instruction: Instruction, unit: Unit, verb: str) -> list[Unit]:
    return [unit.neighbour(step) for flag, step in ((f"{verb}_prev", -1), (f"{verb}_next", 1))
            if flag in instruction.tokens]


def _may_start(instruction: Instruction, unit: Unit, tokens: Counter[tuple[Unit, Unit]]) -> bool:
    return all(tokens[giver, unit] for giver in _partners(instruction, unit, "pop"))


def _exchange(instruction: Instruction, unit: Unit, tokens: Counter[tuple[Unit, Unit]]) -> None:
    for giver in _partners(instruction, unit, "pop"):
        tokens[giver, unit] -= 1
    for taker in _partners(instruction, unit, "push"):
        tokens[unit, taker] += 1
        if tokens[unit, taker] > MOST_TOKENS:
            raise DeviceError(f"more than {MOST_TOKENS} tokens under way from {unit.name} to "
                              f"{taker.name}")


def _fields(word: int, bits: int, count: int) -> list[int]:
    """``count`` unsigned fields of a word, the first in its low bits."""
    return [word >> (bits * index) & ((1 << bits) - 1) for index in range(count)]


def _params(word: int, config: AccelConfig) -> list[tuple[int, int, int]]:
    """Per lane: bias, multiplier, shift."""
    entries = [param_of(config, code) for code in _fields(word, param_bits(config),
                                                          config.param_lanes)]
    # a lane without a channel holds zeros; the hardware's result for it is never read
    return [(bias, multiplier, max(1, shift)) for bias, multiplier, shift in entries]
