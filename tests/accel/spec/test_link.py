"""Frames of the host link: what goes in comes out, and no damage goes unseen."""
from dataclasses import replace
from itertools import product

import pytest

from accel.spec.config import AccelConfig
from accel.spec.isa import Isa
from accel.spec.link import (
    CRC_BYTES,
    END,
    ESC,
    ESC_END,
    ESC_ESC,
    HEADER_BYTES,
    READABLE,
    Command,
    Register,
    Space,
    pack_words,
    read_request,
    seal,
    space_shape,
    unseal,
    word_bytes,
    write_request,
)
from accel.spec.presets import PRESETS

SPECIAL = (END, ESC, ESC_END, ESC_ESC)
SHORT = [bytes([Command.READ]), write_request(Space.PARAM, 0xC0DB, bytes([*SPECIAL, 0, 1])),
         read_request(Space.MEMORY, 7, 0xDBC0)]


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_unseal_is_the_inverse_of_seal(length: int) -> None:
    for values in product((*SPECIAL, 0, 0x41), repeat=length):
        body = bytes(values)
        frame = seal(body)
        assert unseal(frame) == body
        assert unseal(frame[1:]) == unseal(frame[:-1]) == body      # delimiters are optional
        assert frame[0] == frame[-1] == END
        assert END not in frame[1:-1]


def test_crc_bytes_are_escaped_too() -> None:
    bodies = [value.to_bytes(2, "little") for value in range(1 << 16)]
    frames = [seal(body) for body in bodies]
    plain = [len(frame) for frame, body in zip(frames, bodies, strict=True)
             if not {END, ESC} & set(body)]
    assert max(plain) > 2 + 2 + CRC_BYTES       # delimiters, body and CRC without an escape
    assert all(unseal(frame) == body for frame, body in zip(frames, bodies, strict=True))


def test_longest_body() -> None:
    body = bytes([END, ESC] * 512)
    assert unseal(seal(body)) == body


@pytest.mark.parametrize("body", SHORT, ids=bytes.hex)
def test_every_flipped_bit_is_seen(body: bytes) -> None:
    frame = seal(body)
    for bit in range(8, 8 * (len(frame) - 1)):      # all but the delimiters
        damaged = bytearray(frame)
        damaged[bit // 8] ^= 1 << (bit % 8)
        with pytest.raises(ValueError, match=f"damaged frame of {len(frame)} bytes"):
            unseal(bytes(damaged))


@pytest.mark.parametrize("body", SHORT, ids=bytes.hex)
def test_every_truncation_is_seen(body: bytes) -> None:
    inside = seal(body)[1:-1]
    for start in range(len(inside)):
        for stop in range(start, len(inside) + 1):
            if (start, stop) != (0, len(inside)):
                with pytest.raises(ValueError, match="damaged frame"):
                    unseal(inside[start:stop])


@pytest.mark.parametrize("frame", [b"", bytes([END]), bytes([END, END]), bytes(CRC_BYTES)],
                         ids=bytes.hex)
def test_an_empty_frame_is_damaged(frame: bytes) -> None:
    with pytest.raises(ValueError, match="damaged frame"):
        unseal(frame)


def test_requests_byte_by_byte() -> None:
    assert write_request(Space.WEIGHT, 0x01020304, b"ab").hex() == "0102" + "04030201" + "6162"
    assert read_request(Space.MEMORY, 0x10, 0x0203).hex() == "0205" + "10000000" + "0302"
    assert len(write_request(Space.REGISTER, 0, b"")) == HEADER_BYTES
    assert pack_words([1, 0x0203], 3) == bytes([1, 0, 0, 3, 2, 0])


@pytest.mark.parametrize("config", PRESETS.values(), ids=lambda config: config.name)
def test_spaces_hold_what_the_config_says(config: AccelConfig) -> None:
    for space in Space:
        words, bits = space_shape(config, space)
        assert words > 0
        assert 8 * (word_bytes(config, space) - 1) < bits <= 8 * word_bytes(config, space)
    assert space_shape(config, Space.INSTRUCTION) == (config.instruction_depth,
                                                      Isa(config).word_bits)
    assert space_shape(config, Space.REGISTER) == (len(Register), 32)
    assert space_shape(config, Space.WEIGHT) == (config.weight_depth * config.row_slots,
                                                 config.cols * config.weight_bits)
    assert space_shape(config, Space.OFFSET) == (
        config.offset_depth, config.rows * (config.act_elements - 1).bit_length())
    multiplier = {0: 17, 1: 0, 2: 4, 3: 8}[config.scale_terms] + ("add" in config.cell)
    assert space_shape(config, Space.PARAM) == (
        config.param_depth, config.param_lanes * (config.acc_bits + multiplier + 6))
    assert space_shape(config, Space.MEMORY) == (config.mem_depth, config.mem_bits)


@pytest.mark.parametrize(("changes", "bits"), [
    ({}, 32), ({"cols": 5}, 64), ({"weight_bits": 9}, 40), ({"act_bits": 7}, 32),
    ({"cols": 3, "act_bits": 5, "weight_bits": 5}, 24)], ids=str)
def test_a_word_of_memory_holds_activations_or_a_row_of_weights(changes: dict[str, int], bits: int,
                                                                ) -> None:
    assert replace(PRESETS["tiny"], activations=(), **changes).mem_bits == bits


def test_registers_and_spaces_are_numbered_without_gaps() -> None:
    """Programs on the host and bitstreams meet by these numbers."""
    assert [space.name for space in Space] == [
        "REGISTER", "INSTRUCTION", "WEIGHT", "OFFSET", "PARAM", "MEMORY"]
    assert [*Space] == [*range(6)]
    assert [*Register] == [*range(16)]
    units = ("LOAD", "GEMM", "VECTOR", "STORE")
    assert [register.name for register in Register if 7 <= register <= 14] == [
        f"{unit}_{what}" for unit in units for what in ("BUSY", "STALL")]
    assert set(READABLE) == {Space.REGISTER, Space.MEMORY}
