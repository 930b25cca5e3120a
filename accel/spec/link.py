"""The host link: frames, commands, the address map and the register file.

A frame is SLIP (RFC 1055): END, escaped bytes, END. Inside stand a body and its CRC-32
(``zlib.crc32``, little endian). A frame that is cut short or corrupted fails the CRC: the core
counts it, answers BAD_FRAME and writes nothing; the next END starts afresh.

Request body: command, space, address (4 bytes), then the data of a WRITE or the word count
(2 bytes) of a READ. Reply body: status, then the data of a READ. Numbers are little endian;
addresses count words of the space, and a word takes ``ceil(bits / 8)`` bytes.
"""
import zlib
from collections.abc import Iterable
from enum import IntEnum

from accel.spec.config import AccelConfig
from accel.spec.isa import Isa
from accel.spec.numerics import SHIFT_BITS

END, ESC, ESC_END, ESC_ESC = 0xC0, 0xDB, 0xDC, 0xDD
HEADER_BYTES, CRC_BYTES = 6, 4


class Command(IntEnum):
    """First byte of a request."""

    WRITE = 1
    READ = 2


class Status(IntEnum):
    """First byte of a reply."""

    OK = 0
    BAD_FRAME = 1     # CRC wrong, too short, or longer than the buffer
    BAD_COMMAND = 2   # unknown command or space, or data that is not whole words
    BAD_ADDRESS = 3   # some word lies outside the space
    BUSY = 4          # the core runs; only registers can be accessed


class Space(IntEnum):
    """Address spaces of the host link."""

    REGISTER = 0
    INSTRUCTION = 1
    WEIGHT = 2
    OFFSET = 3
    PARAM = 4
    MEMORY = 5      # what the memory port reaches: tensors, and weights that are streamed


class Register(IntEnum):
    """32-bit registers, by address. CONTROL alone can be written."""

    MAGIC = 0          # reads MAGIC
    DIGEST_LOW = 1     # the configuration's digest
    DIGEST_HIGH = 2
    CONTROL = 3        # write: start at the instruction address written; read: 1 while running
    FAULT = 4          # FaultCode of the last run
    FAULT_INDEX = 5    # index of the instruction that stopped the last run
    CYCLES = 6         # of the last run, start to stop
    LOAD_BUSY = 7      # cycles in which a scratchpad word was loaded
    LOAD_STALL = 8     # cycles in which the load unit waited for memory or a write port
    GEMM_BUSY = 9      # cycles in which the array took activations
    GEMM_STALL = 10    # cycles in which the array waited, an instruction at hand
    VECTOR_BUSY = 11   # cycles in which the vector unit took a step
    VECTOR_STALL = 12  # cycles in which it waited, an instruction at hand
    STORE_BUSY = 13    # cycles in which a memory word was stored
    STORE_STALL = 14   # cycles in which the store unit waited for memory
    BAD_FRAMES = 15    # frames rejected since reset


class FaultCode(IntEnum):
    """Why the core stopped."""

    NONE = 0
    BAD_OPCODE = 1
    BAD_TOKENS = 2     # tokens are left over at the end, or no unit has moved for 65,536 cycles
    BAD_ADDRESS = 3    # an address lies outside its memory; nothing was written there


#: Spaces that the host can read back.
READABLE = (Space.REGISTER, Space.MEMORY)

MAGIC = int.from_bytes(b"SYS1", "little")
REGISTER_BITS = 32


def offset_bits(config: AccelConfig) -> int:
    """Width of a row's activation offset, in bits."""
    return max(1, (config.act_elements - 1).bit_length())


def space_shape(config: AccelConfig, space: Space) -> tuple[int, int]:
    """Words and bits per word of an address space."""
    return {
        Space.REGISTER: (len(Register), REGISTER_BITS),
        Space.INSTRUCTION: (config.instruction_depth, Isa(config).word_bits),
        # row r of tile t, at t * row_slots + r: `cols` weight codes from the low bit up
        Space.WEIGHT: (config.weight_depth * config.row_slots, config.cols * config.weight_bits),
        # what each row adds to every activation address of a tile, row 0 in the low bits
        Space.OFFSET: (config.offset_depth, config.rows * offset_bits(config)),
        # `param_lanes` times what `param_code` says of a channel, from the low bit up
        Space.PARAM: (config.param_depth, config.param_lanes * param_bits(config)),
        Space.MEMORY: (config.mem_depth, config.mem_bits),
    }[space]


def param_bits(config: AccelConfig) -> int:
    """Width of what a requantizer needs to know of one channel, in bits."""
    return config.acc_bits + config.scales.code_bits + SHIFT_BITS


def param_code(config: AccelConfig, bias: int, multiplier: int, shift: int) -> int:
    """From the low bit up: bias, code of the multiplier (`Scales.encode`) and shift.

    The hardware inverts the accumulator of a negative multiplier before it adds the bias, so the
    bias is stored such that this negates the sum: ``~acc + (1 - bias) == -(acc + bias)``.
    """
    stored = 1 - bias if multiplier < 0 else bias
    return (stored % (1 << config.acc_bits) | config.scales.encode(multiplier) << config.acc_bits
            | shift << (config.acc_bits + config.scales.code_bits))


def param_of(config: AccelConfig, code: int) -> tuple[int, int, int]:
    """Bias, multiplier and shift, the inverse of `param_code`."""
    stored = code & ((1 << config.acc_bits) - 1)
    stored -= (stored >> (config.acc_bits - 1)) << config.acc_bits
    code >>= config.acc_bits
    multiplier = config.scales.decode(code & ((1 << config.scales.code_bits) - 1))
    return 1 - stored if multiplier < 0 else stored, multiplier, code >> config.scales.code_bits


def word_bytes(config: AccelConfig, space: Space) -> int:
    """Bytes that one word of ``space`` takes on the link."""
    return -(-space_shape(config, space)[1] // 8)


def seal(body: bytes) -> bytes:
    """Frame a body: append its CRC, escape, delimit."""
    data = body + zlib.crc32(body).to_bytes(CRC_BYTES, "little")
    escaped = data.replace(bytes([ESC]), bytes([ESC, ESC_ESC]))
    return bytes([END]) + escaped.replace(bytes([END]), bytes([ESC, ESC_END])) + bytes([END])


def unseal(frame: bytes) -> bytes:
    """Body of one frame (delimiters optional); ``ValueError`` if it is damaged."""
    data = frame.strip(bytes([END]))
    data = data.replace(bytes([ESC, ESC_END]), bytes([END]))
    data = data.replace(bytes([ESC, ESC_ESC]), bytes([ESC]))
    body, crc = data[:-CRC_BYTES], data[-CRC_BYTES:]
    if not body or zlib.crc32(body) != int.from_bytes(crc, "little"):
        raise ValueError(f"damaged frame of {len(frame)} bytes")
    return body


def write_request(space: Space, address: int, data: bytes) -> bytes:
    """Body that writes ``data`` (whole words) from word ``address`` on."""
    return bytes([Command.WRITE, space]) + address.to_bytes(4, "little") + data


def read_request(space: Space, address: int, words: int) -> bytes:
    """Body that reads ``words`` words from word ``address`` on."""
    return (bytes([Command.READ, space]) + address.to_bytes(4, "little")
            + words.to_bytes(2, "little"))


def pack_words(words: Iterable[int], size: int) -> bytes:
    """Unsigned words to bytes, ``size`` bytes each."""
    return b"".join(word.to_bytes(size, "little") for word in words)
