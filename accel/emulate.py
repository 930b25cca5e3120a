"""Runs a program by instruction, untimed, on many images at once.

Written from the instruction set and `spec.numerics` alone; it shares nothing with `golden`.
"""
from collections.abc import Callable, Mapping

import numpy as np

from accel.circuits.store import truth_table
from accel.device import DeviceError, IntArray, padded_elements
from accel.program import Program
from accel.spec import numerics
from accel.spec.cells import Operation
from accel.spec.config import AccelConfig
from accel.spec.isa import UNIT_OF, Instruction, Isa, Opcode, Unit, stray_tokens
from accel.spec.link import Space
from accel.spec.numerics import MULTIPLIER_BITS, SHIFT_BITS

BATCH = 250     # images at a time; bounds the memory


class Emulator:
    """A `device.Device` in numpy."""

    counters: Mapping[str, int] = {}

    def __init__(self, config: AccelConfig) -> None:
        self.config, self.isa = config, Isa(config)
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
        self._tiles = _decode_tiles(memories[Space.WEIGHT], self.config)
        self._params = _decode_params(memories[Space.PARAM], self.config)
        self._instructions = [self.isa.decode(word)
                              for _, word in sorted(memories[Space.INSTRUCTION].items())]

    def run(self, codes: IntArray) -> IntArray:
        """See `device.Device.run`; memory outside the input is arbitrary (here zero)."""
        outputs = [self._run_batch(codes[n:n + BATCH]) for n in range(0, len(codes), BATCH)]
        return np.concatenate(outputs)

    def read(self, tensor: str) -> IntArray:
        """Codes ``(c, h, w)`` of a stored tensor, of the last image."""
        codes: IntArray = self.read_all(tensor)[-1]
        return codes

    def read_all(self, tensor: str) -> IntArray:
        """Codes ``(n, c, h, w)`` of a stored tensor, of the last batch."""
        codes: IntArray = self._act[:, self.program.tensors[tensor].addresses()]
        return codes

    def _run_batch(self, codes: IntArray) -> IntArray:
        c = self.config
        self._act = np.zeros((len(codes), c.act_elements), np.int64)
        self._acc = np.zeros((len(codes), c.acc_depth, c.cols), np.int64)
        layout = self.program.tensors[self.program.input]
        for n, image in enumerate(codes):
            elements = padded_elements(layout, image)
            self._act[n, layout.start:layout.start + len(elements)] = elements
        tokens = {Unit.GEMM: 0, Unit.VECTOR: 0}     # given by each unit, not yet taken
        execute: dict[Opcode, Callable[..., None]] = {
            Opcode.GEMM: self._gemm, Opcode.VECTOR: self._vector, Opcode.FILL: self._fill}
        for index, instruction in enumerate(self._instructions):
            if instruction.opcode == Opcode.FINISH:
                break
            _exchange(tokens, instruction, index)
            execute[instruction.opcode](**instruction.fields)
        if any(tokens.values()):
            raise DeviceError(f"program {self.program.name!r} leaves tokens over: {tokens}")
        return self.read_all(self.program.output)

    def _gemm(self, *, weight_base: int, tiles: int, act_base: int, rows: int, row_stride: int,
              cols: int, col_stride: int, acc_base: int, accumulate: int, distance: int = 0,
              ) -> None:
        places = (act_base + np.arange(rows)[:, None] * row_stride
                  + np.arange(cols) * col_stride).reshape(-1, 1)
        acc = self._acc[:, acc_base:acc_base + len(places)]
        if not accumulate:
            acc[:] = 0
        operation = self.config.cell_spec.operations[distance]
        for offsets, codes in self._tiles[weight_base:weight_base + tiles]:
            acc += self._terms(self._act[:, places + offsets], codes, operation)

    def _terms(self, x: IntArray, codes: IntArray, operation: Operation) -> IntArray:
        """Sums ``(n, places, cols)`` of what the elements add for ``x (n, places, rows)``."""
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

    def _vector(self, *, acc_base: int, rows: int, row_stride: int, cols: int, col_stride: int,
                win_rows: int, win_row_stride: int, win_cols: int, win_col_stride: int,
                param_base: int, groups: int, out_base: int, out_row_stride: int,
                out_col_stride: int, activation: int, zero_point: int) -> None:
        c = self.config
        row, col, win_row, win_col = np.ogrid[:rows, :cols, :win_rows, :win_cols]
        places = (acc_base + row * row_stride + col * col_stride
                  + win_row * win_row_stride + win_col * win_col_stride)
        words = out_base + row * out_row_stride + col * out_col_stride
        for group in range(groups):
            for lane in range(c.vector_lanes):
                channel = group * c.vector_lanes + lane
                bias, multiplier, shift = self._params[param_base + group][lane]
                # lanes beyond the last column compute something that nothing reads
                acc: IntArray = self._acc[:, places, min(channel, c.cols - 1)]
                code = numerics.requantize(acc + bias, multiplier, shift, zero_point, c.act_bits)
                code = self._activate(code, activation, zero_point)
                self._act[:, words[..., 0, 0] * c.word_lanes + channel] = code.max(axis=(3, 4))

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

    def _fill(self, *, out_base: int, words: int, value: int) -> None:
        lanes = self.config.word_lanes
        self._act[:, out_base * lanes:(out_base + words) * lanes] = value


def _exchange(tokens: dict[Unit, int], instruction: Instruction, index: int) -> None:
    """Take and give tokens; program order is one legal order, so none may be missing."""
    unit = UNIT_OF[instruction.opcode]
    if stray := instruction.tokens & set(stray_tokens(unit)):
        raise DeviceError(f"instruction {index} ({instruction}) has {', '.join(sorted(stray))}, "
                          f"but {unit.name} has no such neighbour")
    for flag, step in (("pop_prev", -1), ("pop_next", 1)):
        if flag in instruction.tokens:
            giver = Unit(unit + step)
            if not tokens[giver]:
                raise DeviceError(f"instruction {index} ({instruction}) waits for a token that "
                                  f"nothing before it gives")
            tokens[giver] -= 1
    tokens[unit] += sum(flag in instruction.tokens for flag in ("push_prev", "push_next"))


def _decode_tiles(words: Mapping[int, int], config: AccelConfig,
                  ) -> list[tuple[IntArray, IntArray]]:
    """Per tile its row offsets ``(rows,)`` and weight codes ``(rows, cols)``."""
    bits, cols = config.weight_bits, config.cols
    tiles = []
    for tile in range(max(words, default=-1) // config.row_slots + 1):
        rows = [words.get(tile * config.row_slots + row, 0) for row in range(config.rows)]
        codes = [[word >> (bits * col) & ((1 << bits) - 1) for col in range(cols)]
                 for word in rows]
        tiles.append((np.array([word >> (bits * cols) for word in rows], np.int64),
                      np.array(codes, np.int64)))
    return tiles


def _decode_params(words: Mapping[int, int], config: AccelConfig,
                   ) -> list[list[tuple[int, int, int]]]:
    """Per word, per lane: bias, multiplier, shift."""
    bits = config.acc_bits + MULTIPLIER_BITS + SHIFT_BITS

    def entry(word: int) -> tuple[int, int, int]:
        bias = word & ((1 << config.acc_bits) - 1)
        bias -= (bias >> (config.acc_bits - 1)) << config.acc_bits
        word >>= config.acc_bits
        # a lane without a channel holds zeros; the hardware's result for it is never read
        return bias, word & ((1 << MULTIPLIER_BITS) - 1), max(1, word >> MULTIPLIER_BITS
                                                              & ((1 << SHIFT_BITS) - 1))

    return [[entry(word >> (lane * bits)) for lane in range(config.vector_lanes)]
            for _, word in sorted(words.items())]
