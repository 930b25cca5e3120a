"""The host link of a running core: what it refuses, and that refusing changes nothing."""
from dataclasses import replace

import numpy as np
import pytest

from accel import host
from accel.compile import compile_graph
from accel.device import DeviceError
from accel.program import Image, Program, ProgramError
from accel.spec import link, numerics
from accel.spec.config import AccelConfig
from accel.spec.isa import Instruction, Isa, Opcode, Target
from accel.spec.link import Command, Register, Space, Status
from accel.spec.presets import PRESETS
from sim.native import NativeDevice
from tests.configs import NARROW_SHIFT, ONE_BY_ONE, TINY, WIDE
from tests.graphs import Layer, build, images

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def device() -> NativeDevice:
    return NativeDevice(TINY)


def status(device: NativeDevice, frame: bytes) -> Status:
    return Status(link.unseal(device.exchange(frame))[0])


def register(device: NativeDevice, which: Register) -> int:
    return int(host.converse(host.read_words(TINY, Space.REGISTER, which, 1), device.exchange)[0])


def memory(device: NativeDevice) -> list[int]:
    return host.converse(host.read_words(TINY, Space.MEMORY, 0, 10), device.exchange).tolist()


@pytest.fixture
def filled(device: NativeDevice) -> NativeDevice:
    host.converse(host.write_words(TINY, Space.MEMORY, 0, range(10)), device.exchange)
    return device


WRITE = link.write_request(Space.MEMORY, 4, bytes([99] * 20))


@pytest.mark.parametrize("place", range(1, 31, 3))
def test_corrupted_frame(filled: NativeDevice, place: int) -> None:
    whole, before = link.seal(WRITE), register(filled, Register.BAD_FRAMES)
    assert status(filled, whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1:]) == (
        Status.BAD_FRAME)
    assert register(filled, Register.BAD_FRAMES) == before + 1
    assert memory(filled) == list(range(10))


@pytest.mark.parametrize("length", [3, 7, 20, 30])
def test_truncated_frame(filled: NativeDevice, length: int) -> None:
    """Cut short, then the END that opens the next frame: rejected, counted, nothing written."""
    before = register(filled, Register.BAD_FRAMES)
    assert status(filled, link.seal(WRITE)[:length] + bytes([link.END])) == Status.BAD_FRAME
    assert register(filled, Register.BAD_FRAMES) == before + 1
    assert memory(filled) == list(range(10))


@pytest.mark.parametrize(("body", "expected"), [
    (bytes([7, Space.MEMORY, 0, 0, 0, 0, 1]), Status.BAD_COMMAND),
    (bytes([Command.WRITE, 9, 0, 0, 0, 0, 1]), Status.BAD_COMMAND),
    (link.write_request(Space.MEMORY, 0, b""), Status.BAD_COMMAND),
    (link.write_request(Space.WEIGHT, 0, bytes(7)), Status.BAD_COMMAND),
    (link.write_request(Space.MEMORY, TINY.mem_depth - 1, bytes(8)), Status.BAD_ADDRESS),
    (link.write_request(Space.MEMORY, 1 << 31, bytes(4)), Status.BAD_ADDRESS),
    (link.read_request(Space.MEMORY, TINY.mem_depth - 1, 2), Status.BAD_ADDRESS),
    (link.read_request(Space.MEMORY, 0, TINY.frame_bytes // 4 + 1), Status.BAD_COMMAND),
    (link.read_request(Space.MEMORY, 0, 0), Status.BAD_COMMAND),
    (link.read_request(Space.WEIGHT, 0, 1), Status.BAD_COMMAND),
    (b"\x01\x04", Status.BAD_FRAME),
], ids=str)
def test_bad_request(filled: NativeDevice, body: bytes, expected: Status) -> None:
    assert status(filled, link.seal(body)) == expected
    assert memory(filled) == list(range(10))


def run_instructions(device: NativeDevice, instructions: list[int]) -> tuple[int, int]:
    """Run raw instruction words; returns fault and index."""
    host.converse(host.write_words(TINY, Space.INSTRUCTION, 0, instructions), device.exchange)
    host.converse(host.write_words(TINY, Space.REGISTER, Register.CONTROL, [0]), device.exchange)
    while register(device, Register.CONTROL):
        pass
    return register(device, Register.FAULT), register(device, Register.FAULT_INDEX)


def word(opcode: Opcode, *tokens: str, **fields: int) -> int:
    """An instruction word; fields not given are 0."""
    isa = Isa(TINY)
    return isa.encode(Instruction(opcode, {
        **{field.name: 0 for field in isa.formats[opcode]}, **fields}, frozenset(tokens)))


def load(*tokens: str, **fields: int) -> int:
    return word(Opcode.LOAD, *tokens, **{"target": Target.OUTPUT, "rows": 2, "words": 3,
                                         "row_stride": 6, "mem_row_stride": 4, **fields})


def store(*tokens: str, **fields: int) -> int:
    return word(Opcode.STORE, *tokens, **{"rows": 2, "words": 5, "row_stride": 6,
                                          "mem_row_stride": 5, **fields})


#: Memory words 0..2 and 4..6, with a word of -1 before and behind each row, to 100..109.
FINE = [load("push_prev", left=1, right=1, value=-1), store("pop_next", mem_base=100), 0]
LAST = TINY.mem_depth - 1
FAULTS = {
    "fine": (FINE, link.FaultCode.NONE, 0),
    "opcode": ([FINE[0], load("pop_prev"), store("pop_prev"), 5, 0], link.FaultCode.BAD_OPCODE, 3),
    "token left over": ([FINE[0], 0], link.FaultCode.BAD_TOKENS, 1),
    "token never comes": ([word(Opcode.GEMM, "pop_prev"), word(Opcode.VECTOR, "pop_next"), 0],
                          link.FaultCode.BAD_TOKENS, 2),
    "load": ([load(), load("push_prev", mem_base=LAST - 1), store("pop_next"), 0],
             link.FaultCode.BAD_ADDRESS, 1),
    "store": ([store(mem_base=LAST - 9), store(mem_base=LAST - 8), store(), 0],
              link.FaultCode.BAD_ADDRESS, 1)}


@pytest.mark.parametrize("case", FAULTS, ids=str)
def test_fault(filled: NativeDevice, case: str) -> None:
    """A fault is named, and the next run is as if it had not been."""
    instructions, fault, index = FAULTS[case]
    assert run_instructions(filled, instructions) == (fault, index)
    host.converse(host.write_words(TINY, Space.MEMORY, 0, range(10)), filled.exchange)
    assert run_instructions(filled, FINE) == (link.FaultCode.NONE, 0)
    rows = host.converse(host.read_words(TINY, Space.MEMORY, 100, 10), filled.exchange).tolist()
    pad = 0xFFFFFFFF
    assert rows == [pad, 0, 1, 2, pad, pad, 4, 5, 6, pad]


def test_memory_is_the_units_while_they_run(filled: NativeDevice) -> None:
    instructions = FAULTS["token never comes"][0]
    host.converse(host.write_words(TINY, Space.INSTRUCTION, 0, instructions), filled.exchange)
    host.converse(host.write_words(TINY, Space.REGISTER, Register.CONTROL, [0]), filled.exchange)
    assert status(filled, link.seal(WRITE)) == Status.BUSY
    assert status(filled, link.seal(link.read_request(Space.MEMORY, 0, 1))) == Status.BUSY
    while register(filled, Register.CONTROL):
        pass
    assert memory(filled) == list(range(10))


@pytest.mark.parametrize("config", [ONE_BY_ONE, WIDE, NARROW_SHIFT, TINY], ids=lambda c: c.name)
def test_lanes_go_over_the_link_and_back(config: AccelConfig) -> None:
    lanes, (low, high) = config.word_lanes, numerics.limits(config.act_bits)
    codes = np.random.default_rng(1).integers(low, high + 1, (9, lanes))
    codes[:2] = [[low] * lanes, [high] * lanes]
    data = host.pack_lanes(codes.reshape(-1), config)
    words = [int.from_bytes(data[n:n + config.mem_bits // 8], "little")
             for n in range(0, len(data), config.mem_bits // 8)]
    assert words == [sum((int(code) % (1 << config.act_bits)) << (lane * config.act_bits)
                         for lane, code in enumerate(row)) for row in codes]
    assert (host.unpack_lanes(data, config) == codes).all()


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
