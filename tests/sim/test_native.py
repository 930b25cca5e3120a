"""The host link of a running core: what it refuses, and that refusing changes nothing."""
from dataclasses import replace

import numpy as np
import pytest

from accel import host
from accel.compile import compile_graph
from accel.device import DeviceError
from accel.program import Image, Program, ProgramError
from accel.spec import link
from accel.spec.isa import Instruction, Isa, Opcode
from accel.spec.link import Command, Register, Space, Status
from accel.spec.presets import PRESETS
from sim.native import NativeDevice
from tests.configs import TINY
from tests.graphs import Layer, build, images

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def device() -> NativeDevice:
    return NativeDevice(TINY)


def status(device: NativeDevice, frame: bytes) -> Status:
    return Status(link.unseal(device.exchange(frame))[0])


def register(device: NativeDevice, which: Register) -> int:
    return int(host.converse(host.read_words(TINY, Space.REGISTER, which, 1), device.exchange)[0])


def activations(device: NativeDevice) -> list[int]:
    return host.converse(host.read_words(TINY, Space.ACTIVATION, 0, 40), device.exchange).tolist()


@pytest.fixture
def filled(device: NativeDevice) -> NativeDevice:
    host.converse(host.write_words(TINY, Space.ACTIVATION, 0, list(range(40))), device.exchange)
    return device


WRITE = link.write_request(Space.ACTIVATION, 4, bytes([99] * 20))


@pytest.mark.parametrize("place", range(1, 31, 3))
def test_corrupted_frame(filled: NativeDevice, place: int) -> None:
    whole, before = link.seal(WRITE), register(filled, Register.BAD_FRAMES)
    assert status(filled, whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1:]) == (
        Status.BAD_FRAME)
    assert register(filled, Register.BAD_FRAMES) == before + 1
    assert activations(filled) == list(range(40))


@pytest.mark.parametrize("length", [3, 7, 20, 30])
def test_truncated_frame(filled: NativeDevice, length: int) -> None:
    """Cut short, then the END that opens the next frame: rejected, counted, nothing written."""
    before = register(filled, Register.BAD_FRAMES)
    assert status(filled, link.seal(WRITE)[:length] + bytes([link.END])) == Status.BAD_FRAME
    assert register(filled, Register.BAD_FRAMES) == before + 1
    assert activations(filled) == list(range(40))


@pytest.mark.parametrize(("body", "expected"), [
    (bytes([7, Space.ACTIVATION, 0, 0, 0, 0, 1]), Status.BAD_COMMAND),
    (bytes([Command.WRITE, 9, 0, 0, 0, 0, 1]), Status.BAD_COMMAND),
    (link.write_request(Space.ACTIVATION, 0, b""), Status.BAD_COMMAND),
    (link.write_request(Space.WEIGHT, 0, bytes(7)), Status.BAD_COMMAND),
    (link.write_request(Space.ACTIVATION, TINY.act_elements - 1, bytes(2)), Status.BAD_ADDRESS),
    (link.write_request(Space.ACTIVATION, 1 << 31, bytes(2)), Status.BAD_ADDRESS),
    (link.read_request(Space.ACTIVATION, TINY.act_elements - 1, 2), Status.BAD_ADDRESS),
    (link.read_request(Space.ACTIVATION, 0, TINY.frame_bytes + 1), Status.BAD_COMMAND),
    (link.read_request(Space.ACTIVATION, 0, 0), Status.BAD_COMMAND),
    (link.read_request(Space.WEIGHT, 0, 1), Status.BAD_COMMAND),
    (b"\x01\x04", Status.BAD_FRAME),
], ids=str)
def test_bad_request(filled: NativeDevice, body: bytes, expected: Status) -> None:
    assert status(filled, link.seal(body)) == expected
    assert activations(filled) == list(range(40))


def run_instructions(device: NativeDevice, instructions: list[int]) -> tuple[int, int]:
    """Run raw instruction words; returns fault and index."""
    host.converse(host.write_words(TINY, Space.INSTRUCTION, 0, instructions), device.exchange)
    host.converse(host.write_words(TINY, Space.REGISTER, Register.CONTROL, [0]), device.exchange)
    while register(device, Register.CONTROL):
        pass
    return register(device, Register.FAULT), register(device, Register.FAULT_INDEX)


FILL = Instruction(Opcode.FILL, {"out_base": 500, "words": 3, "value": 1})
VECTOR = Instruction(Opcode.VECTOR, {
    field.name: 1 if field.name in {"rows", "cols", "win_rows", "win_cols", "groups"} else 0
    for field in Isa(TINY).formats[Opcode.VECTOR]})


@pytest.mark.parametrize(("third", "fault", "index"), [
    (0, link.FaultCode.NONE, 0),
    (5, link.FaultCode.BAD_OPCODE, 2),
    (Isa(TINY).encode(replace(FILL, tokens=frozenset(["push_next"]))),
     link.FaultCode.BAD_TOKENS, 2),
    (Isa(TINY).encode(replace(VECTOR, tokens=frozenset(["push_prev"]))),
     link.FaultCode.BAD_TOKENS, 3),
], ids=["fine", "opcode", "no such neighbour", "token left over"])
def test_fault(third: int, fault: link.FaultCode, index: int) -> None:
    fill = Isa(TINY).encode(FILL)
    assert run_instructions(NativeDevice(TINY), [fill, fill, third, 0]) == (fault, index)


def program() -> Program:
    return compile_graph(build(TINY, (1, 5, 5), [Layer(3, (3, 3))], 1), TINY)


def test_runs_report_a_fault(device: NativeDevice) -> None:
    good = program()
    bad = replace(good, images=(*good.images, Image(Space.INSTRUCTION, 1, (6,))))
    device.load(bad)
    with pytest.raises(DeviceError, match="stopped at instruction 1: BAD_OPCODE"):
        device.run(images(TINY, (1, 5, 5), 1, 1))


def test_program_for_another_config(device: NativeDevice) -> None:
    with pytest.raises(ProgramError, match=r"was compiled for config \w{16}, but 'tiny' is \w{16}"):
        device.load(replace(program(), config_digest=PRESETS["ecp5"].digest))


def test_core_of_another_config(device: NativeDevice) -> None:
    """The hardware's identity register refuses, not only the file's digest."""
    other = replace(TINY, param_depth=64)
    foreign = compile_graph(build(other, (1, 5, 5), [Layer(3, (3, 3))], 1), other)
    with pytest.raises(DeviceError, match=f"built for config {TINY.digest}.*{other.digest}"):
        host.converse(host.load(foreign, other), device.exchange)


def test_wrong_image_shape(device: NativeDevice) -> None:
    device.load(program())
    with pytest.raises(DeviceError, match=r"must have shape \(1, 5, 5\), not \(1, 5, 6\)"):
        device.run(np.zeros((1, 1, 5, 6), np.int64))
