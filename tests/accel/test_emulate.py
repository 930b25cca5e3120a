"""The emulator alone: instructions written by hand, and what it refuses."""
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from accel.device import DeviceError, IntArray
from accel.emulate import Emulator
from accel.program import Image, Layout, Program, ProgramError
from accel.spec.config import AccelConfig
from accel.spec.isa import MOST_TOKENS, Instruction, Isa, Opcode, Target
from accel.spec.link import Space
from tests.configs import config

SMALL = config("small", act_depth=32, out_depth=16, weight_depth=8, mem_depth=64,
               instruction_depth=1024)
LANES = SMALL.word_lanes
#: Words of the input and of the output, each a row of positions, one behind the other in memory.
WORDS = 12
#: What a memory holds that nobody has written.
UNKNOWN = 127


def layout(start: int, positions: int) -> Layout:
    """``positions`` words from word ``start`` on, one position each."""
    return Layout((LANES, 1, positions), start * LANES, positions * LANES, start * LANES,
                  tuple(range(LANES)), positions * LANES, LANES, False, 1.0, 0)


def step(opcode: Opcode, *tokens: str, **fields: int) -> Instruction:
    """An instruction whose fields are 0 unless given; counts of loops are 1."""
    ones = {"groups", "lane_groups", "rows", "cols", "words", "tiles", "win_rows", "win_cols"}
    form = {field.name: int(field.name in ones) for field in Isa(SMALL).formats[opcode]}
    return Instruction(opcode, {**form, **fields}, frozenset(tokens))


LOAD = step(Opcode.LOAD)
GEMM = step(Opcode.GEMM)
VECTOR = step(Opcode.VECTOR, lane_groups=SMALL.vector_groups, low=-128, high=127)
STORE = step(Opcode.STORE)


def having(instruction: Instruction, *tokens: str, **fields: int) -> Instruction:
    return Instruction(instruction.opcode, {**instruction.fields, **fields},
                       instruction.tokens | set(tokens))


def program(*steps: Instruction, to: AccelConfig = SMALL) -> Program:
    """Input in words 0 and on, output behind it; tile 0 and the scales copy a word."""
    isa = Isa(SMALL)
    code = SMALL.cell_spec.encode(1)
    tile = [code << (SMALL.weight_bits * row) if row < LANES else 0 for row in range(SMALL.rows)]
    one = (1 << 16 << SMALL.acc_bits) | (16 << 17 << SMALL.acc_bits)      # 2**16 / 2**16
    bits = SMALL.acc_bits + 17 + 6
    word = sum(one << (bits * lane) for lane in range(SMALL.param_lanes))
    offsets = sum(row << ((SMALL.act_elements - 1).bit_length() * row)
                  for row in range(SMALL.rows))
    images = (Image(Space.INSTRUCTION, 0, tuple(map(isa.encode, (
                  *steps, Instruction(Opcode.FINISH, {}))))),
              Image(Space.WEIGHT, 0, tuple(tile)), Image(Space.OFFSET, 0, (offsets,)),
              Image(Space.PARAM, 0, (word,) * 2 * SMALL.vector_groups))
    return Program("hand", to.digest, images, {"in": layout(0, WORDS), "out": layout(WORDS, WORDS)},
                   "in", "out", 0)


def run(*steps: Instruction, **options: object) -> IntArray:
    """Output words ``(WORDS, LANES)`` for `codes`."""
    emulator = Emulator(SMALL, **options)
    emulator.load(program(*steps))
    return emulator.run(codes()[None])[0].reshape(LANES, WORDS).T


def codes() -> IntArray:
    return np.random.default_rng(1).integers(-128, 128, (LANES, 1, WORDS))


def refuses(*steps: Instruction) -> str:
    with pytest.raises(DeviceError, match="program 'hand' ") as caught:
        run(*steps)
    return str(caught.value)


@pytest.mark.parametrize("base", [0, 3, 11, 15])
def test_output_scratchpad_and_memory(base: int) -> None:
    """Rows of two words, three apart in memory; in the scratchpad one behind the other."""
    result = run(
        having(LOAD, "push_prev", target=Target.OUTPUT, rows=3, words=2, mem_row_stride=3,
               base=base, row_stride=2),
        having(STORE, "pop_next", out_base=base, rows=2, words=3, row_stride=3, mem_base=WORDS,
               mem_row_stride=6))
    words = codes().reshape(LANES, WORDS).T
    expected = np.full((WORDS, LANES), UNKNOWN)
    expected[[0, 1, 2, 6, 7, 8]] = words[[0, 1, 3, 4, 6, 7]]
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("base", [0, 9, 15, 16, 22, 31])
def test_a_word_goes_through_every_unit(base: int) -> None:
    """Padding around what is loaded, and addresses that stay in their half of the scratchpad."""
    fields = {"mem_base": 1, "rows": 2, "mem_row_stride": 3, "words": 2, "base": base,
              "row_stride": 4, "top": 1, "left": 1, "right": 1, "value": -7}
    steps = [having(LOAD, "push_next", **fields),
             having(GEMM, "pop_prev", "push_next", act_base=base * LANES, rows=3,
                    row_stride=4 * LANES, cols=4, col_stride=LANES, acc_base=5),
             having(VECTOR, "pop_prev", "push_next", acc_base=5, rows=1, cols=12, col_stride=1,
                    to_output=1, out_base=10, out_col_stride=1),
             having(STORE, "pop_prev", out_base=10, words=12, mem_base=WORDS)]
    words = codes().reshape(LANES, WORDS).T
    expected = np.full((3, 4, LANES), -7)
    expected[1, 1:3], expected[2, 1:3] = words[1:3], words[4:6]
    np.testing.assert_array_equal(run(*steps), expected.reshape(-1, LANES))


def test_vector_writes_both_scratchpads_groups_side_by_side() -> None:
    """Group after group of accumulators; what GEMM reads then is what was written."""
    copied = {"act_base": 16 * LANES, "rows": 6, "row_stride": LANES}
    result = run(
        having(LOAD, "push_next", words=6),
        having(GEMM, "pop_prev", "push_next", rows=6, row_stride=LANES),
        having(VECTOR, "pop_prev", "push_prev", groups=2, acc_group_stride=3, rows=3,
               row_stride=1, to_activation=1, to_output=1, out_base=16, out_row_stride=2),
        having(GEMM, "pop_next", "push_next", **copied),
        having(VECTOR, "pop_prev", "push_next", rows=6, row_stride=1, to_output=1, out_base=6,
               out_row_stride=1),
        having(STORE, "pop_prev", words=12, mem_base=WORDS))
    order = [0, 3, 1, 4, 2, 5]
    words = codes().reshape(LANES, WORDS).T[order]
    np.testing.assert_array_equal(result, np.concatenate([words, words]))


def test_the_maximum_of_windows_and_the_limits() -> None:
    result = run(
        having(LOAD, "push_next", words=12),
        having(GEMM, "pop_prev", "push_next", rows=12, row_stride=LANES),
        having(VECTOR, "pop_prev", "push_next", rows=2, row_stride=6, cols=2, col_stride=1,
               win_rows=2, win_row_stride=3, win_cols=2, win_col_stride=1, to_output=1,
               out_row_stride=2, out_col_stride=1, low=-20, high=50),
        having(STORE, "pop_prev", words=4, mem_base=WORDS))
    words = codes().reshape(LANES, 4, 3)
    windows = [words[:, 2 * y:2 * y + 2, x:x + 2].max(axis=(1, 2)) for y in (0, 1) for x in (0, 1)]
    np.testing.assert_array_equal(result[:4], np.clip(windows, -20, 50))


def test_an_addition() -> None:
    """In place: ``(3 * (own - 5) + 9 * (other + 7)) / 8``, rounded, plus 2."""
    result = run(
        having(LOAD, words=6),
        having(LOAD, "push_next", target=Target.OUTPUT, words=6, mem_base=6, base=14),
        having(GEMM, "pop_prev", "push_next", rows=6, row_stride=LANES),
        having(VECTOR, "pop_prev", "push_next", rows=6, row_stride=1, to_output=1, out_base=14,
               out_row_stride=1, low=-100, high=90, add=1, add_base=14, own_zero_point=5,
               own_multiplier=3, other_zero_point=-7, other_multiplier=9, add_shift=3,
               add_zero_point=2),
        having(STORE, "pop_prev", out_base=14, words=6, mem_base=WORDS))
    own, other = np.split(codes().reshape(LANES, WORDS).T, 2)
    total = 3 * (own - 5) + 9 * (other + 7)
    rounded = np.sign(total) * ((abs(total) + 4) // 8) + 2
    np.testing.assert_array_equal(result[:6], np.clip(np.clip(rounded, -128, 127), -100, 90))


def test_nothing_behind_finish_runs() -> None:
    finish = Instruction(Opcode.FINISH, {})
    assert (run(finish, having(STORE, "pop_prev", mem_base=WORDS)) == UNKNOWN).all()


def test_any_order_that_the_tokens_allow() -> None:
    """Loads into memory that is stored before: with tokens the same in any order."""
    steps = []
    for word in range(WORDS):
        steps += [having(LOAD, "push_prev", *(["pop_prev"] if word else []), mem_base=word,
                         target=Target.OUTPUT),
                  having(STORE, "pop_next", *(["push_next"] if word < WORDS - 1 else []),
                         mem_base=WORDS + word)]
    words = codes().reshape(LANES, WORDS).T
    orders = (min, max, lambda ready: random.Random(1).choice(ready))
    for order in orders:
        result = run(*steps, order=lambda ready, order=order: ready.index(order(ready)))
        np.testing.assert_array_equal(result, words)


TOKENS: dict[str, tuple[Sequence[Instruction], Sequence[str]]] = {
    "none": ([LOAD, GEMM, VECTOR, STORE], []),
    "never given": ([having(LOAD, "pop_prev")], [
        "deadlocks: every unit waits for a token, at instructions 0 (LOAD ", "pop_prev)"]),
    "each waits for the other": ([LOAD, having(GEMM, "pop_next"), VECTOR, STORE,
                                  having(VECTOR, "pop_prev")], [
        "deadlocks", "instructions 1 (GEMM ", "; 4 (VECTOR "]),
    "the wrong neighbour": ([having(LOAD, "push_prev"), having(GEMM, "pop_prev")], [
        "deadlocks", "instructions 1 (GEMM "]),
    "too few": ([having(STORE, "push_next"), having(LOAD, "pop_prev"), having(LOAD, "pop_prev")], [
        "deadlocks", "instructions 2 (LOAD "]),
    "left over": ([having(LOAD, "push_next", "push_prev"), having(STORE, "pop_next")], [
        "leaves tokens over: {'LOAD to GEMM': 1}"]),
    "some left over": ([having(VECTOR, "push_next")] * 3 + [having(STORE, "pop_prev")], [
        "leaves tokens over: {'VECTOR to STORE': 2}"])}


@pytest.mark.parametrize(("steps", "message"), TOKENS.values(), ids=TOKENS)
def test_tokens(steps: Sequence[Instruction], message: Sequence[str]) -> None:
    if message:
        text = refuses(*steps)
        assert [part for part in message if part not in text] == []
    else:
        run(*steps)


@pytest.mark.parametrize("count", [MOST_TOKENS, MOST_TOKENS + 1])
def test_no_more_tokens_than_the_hardware_counts(count: int) -> None:
    steps = [having(STORE, "push_prev")] * count + [having(VECTOR, "pop_next")] * count
    if count > MOST_TOKENS:
        with pytest.raises(DeviceError, match="more than 255 tokens under way from STORE to VECT"):
            run(*steps)
    else:
        run(*steps)


MEANINGLESS = {
    "groups share accumulators": (
        having(GEMM, groups=2, rows=2, cols=3, acc_group_stride=5),
        "has a GEMM whose 2 groups of 6 accumulators lie 5 apart"),
    "limits that fall": (having(VECTOR, low=3, high=2),
                         "has a VECTOR whose low = 3 is above its high = 2"),
    "a window of sums": (having(VECTOR, add=1, add_shift=1, win_cols=2),
                         "has a VECTOR that adds and has windows of 1 x 2"),
    "loaded from beyond memory": (having(LOAD, mem_base=63, words=2),
                                  "addresses memory at 64, which has 64 words"),
    "stored beyond memory": (having(STORE, mem_base=60, rows=2, mem_row_stride=4),
                             "addresses memory at 64, which has 64 words"),
    "more accumulators than there are": (
        having(GEMM, rows=3, groups=2, acc_group_stride=SMALL.acc_depth - 2),
        "has a GEMM over 513 accumulators, of which there are 512")}


@pytest.mark.parametrize(("step", "message"), MEANINGLESS.values(), ids=MEANINGLESS)
def test_instructions_that_mean_nothing(step: Instruction, message: str) -> None:
    assert message in refuses(step)


def test_what_just_fits() -> None:
    run(having(GEMM, groups=2, rows=2, cols=3, acc_group_stride=6),
        having(GEMM, groups=1, rows=2, cols=3, acc_group_stride=5),
        having(GEMM, acc_base=SMALL.acc_depth - 2, rows=2),
        having(GEMM, acc_base=SMALL.acc_depth - 1, rows=2),
        having(VECTOR, acc_base=SMALL.acc_depth - 1, win_rows=2, win_row_stride=3),
        having(VECTOR, low=3, high=3), having(LOAD, mem_base=62, words=2),
        having(LOAD, rows=0, top=1), having(STORE, mem_base=60, rows=2, mem_row_stride=3))


def test_a_program_for_another_configuration() -> None:
    with pytest.raises(ProgramError, match="was compiled for config"):
        Emulator(SMALL).load(program(LOAD, to=replace(SMALL, acc_depth=8)))
