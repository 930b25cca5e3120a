"""What the emulator refuses: token flags that could never be right."""
from dataclasses import replace

import pytest

from accel.compile import compile_graph
from accel.device import DeviceError
from accel.emulate import Emulator
from accel.program import Image, Program
from accel.spec.isa import Instruction, Isa, Opcode
from accel.spec.link import Space
from tests.configs import TINY
from tests.graphs import Layer, build, images

SHAPE = (1, 5, 5)
FILL = {"out_base": 500, "words": 1, "value": 0}


def with_first(*tokens: str) -> Program:
    """A program that begins with a FILL of these token flags."""
    program = compile_graph(build(TINY, SHAPE, [Layer(3, (3, 3))], 1), TINY)
    word = Isa(TINY).encode(Instruction(Opcode.FILL, FILL, frozenset(tokens)))
    first, *others = program.images
    return replace(program, images=(
        Image(Space.INSTRUCTION, 0, (word, *first.words)), *others))


@pytest.mark.parametrize(("tokens", "message"), [
    ((), None), (("pop_prev",), "instruction 0 .* waits for a token that nothing before it gives"),
    (("push_prev",), "leaves tokens over"),
    (("push_next",), "instruction 0 .* has push_next, but VECTOR has no such neighbour"),
    (("pop_next",), "instruction 0 .* has pop_next, but VECTOR has no such neighbour")], ids=str)
def test_tokens(tokens: tuple[str, ...], message: str | None) -> None:
    emulator = Emulator(TINY)
    emulator.load(with_first(*tokens))
    codes = images(TINY, SHAPE, 2, 1)
    if message is None:
        assert emulator.run(codes).shape == (2, 3, 3, 3)
    else:
        with pytest.raises(DeviceError, match=message):
            emulator.run(codes)
