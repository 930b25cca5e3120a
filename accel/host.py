"""The host's side of the link, without the link: requests out, replies in, no I/O.

Each conversation is a generator that yields request frames and is sent reply frames, so that
one piece of code drives a serial port, a simulator's coroutine, or anything else that carries
bytes. `converse` runs one over a plain function.
"""
from collections.abc import Callable, Generator, Mapping, Sequence

import numpy as np

from accel.device import DeviceError, IntArray, input_elements
from accel.program import Layout, Program
from accel.spec import link
from accel.spec.config import AccelConfig
from accel.spec.link import FaultCode, Register, Space, Status

Conversation = Generator[bytes, bytes, "IntArray"]
Transfer = Generator[bytes, bytes, bytes]
POLLS = 1_000_000       # of CONTROL before a run counts as hung
#: Counters of a run, by name: cycles, and each unit's busy and stall.
COUNTERS = {register.name.lower(): register
            for register in Register if Register.CYCLES <= register <= Register.STORE_STALL}
#: Words that one frame more costs about as much as; such gaps are read along.
GAP_WORDS = 4
NOTHING: IntArray = np.zeros(0, np.int64)


def converse(conversation: Conversation, exchange: Callable[[bytes], bytes]) -> IntArray:
    """Run a conversation over ``exchange``, which carries a frame there and a frame back."""
    try:
        frame = next(conversation)
        while True:
            frame = conversation.send(exchange(frame))
    except StopIteration as done:
        result: IntArray = done.value
        return result


class LinkDevice:
    """A `device.Device` behind anything that carries frames.

    Parameters
    ----------
    config
        The configuration that the core must have.
    exchange
        Sends a frame and returns the reply frame; `device.DeviceError` if none comes.
    """

    def __init__(self, config: AccelConfig, exchange: Callable[[bytes], bytes]) -> None:
        self.config, self.exchange = config, exchange
        self.counters: Mapping[str, int] = {}

    def load(self, program: Program) -> None:
        """See `device.Device.load`; `device.DeviceError` if the core is another one."""
        converse(load(program, self.config), self.exchange)
        self.program = program

    def run(self, codes: IntArray) -> IntArray:
        """See `device.Device.run`; counters are those of the last image."""
        outputs = [converse(infer(self.program, self.config, image), self.exchange)
                   for image in codes]
        values = converse(read_counters(self.config), self.exchange)
        self.counters = dict(zip(COUNTERS, values.tolist(), strict=True))
        return np.stack(outputs)

    def read(self, tensor: str) -> IntArray:
        """See `device.Device.read`."""
        return converse(read_tensor(self.program.tensors[tensor], self.config), self.exchange)


def load(program: Program, config: AccelConfig) -> Conversation:
    """Check that the core is ``config``'s, then write the program's images."""
    program.check(config)
    magic, low, high = yield from read_words(config, Space.REGISTER, Register.MAGIC, 3)
    if magic != link.MAGIC:
        raise DeviceError(f"no Systolith core answers: the identity register reads {magic:#x}")
    if (digest := f"{int(high) << 32 | int(low):016x}") != config.digest:
        raise DeviceError(f"the core was built for config {digest}, but program "
                          f"{program.name!r} and config {config.name!r} are {config.digest}")
    for image in program.images:
        yield from write_words(config, image.space, image.address, image.words)
    return NOTHING


def infer(program: Program, config: AccelConfig, codes: IntArray) -> Conversation:
    """Run one image: codes ``(c, h, w)`` to output codes ``(c, h, w)``."""
    layout = program.tensors[program.input]
    words = pack_lanes(input_elements(layout, codes), config)
    yield from write_bytes(config, Space.MEMORY, layout.start // config.word_lanes, words)
    yield from write_words(config, Space.REGISTER, Register.CONTROL, [0])
    for _ in range(POLLS):
        running, fault, index = yield from read_words(
            config, Space.REGISTER, Register.CONTROL, 3)
        if not running:
            break
    else:
        raise DeviceError(f"program {program.name!r} still runs after {POLLS} polls")
    if fault:
        raise DeviceError(f"the core stopped at instruction {index}: {FaultCode(fault).name}")
    return (yield from read_tensor(program.tensors[program.output], config))


def read_counters(config: AccelConfig) -> Conversation:
    """Values of `COUNTERS`, in their order, of the last run."""
    return (yield from read_words(config, Space.REGISTER, Register.CYCLES, len(COUNTERS)))


def read_tensor(layout: Layout, config: AccelConfig) -> Conversation:
    """Codes of a stored tensor, ``(c, h, w)``, from the words of memory that hold some."""
    addresses = layout.addresses()
    words, lanes = np.divmod(addresses, config.word_lanes)
    wanted, place = np.unique(words, return_inverse=True)
    breaks = np.flatnonzero(np.diff(wanted) > GAP_WORDS) + 1
    spans = []
    for run in np.split(wanted, breaks):
        first, last = int(run[0]), int(run[-1])
        data = yield from read_bytes(config, Space.MEMORY, first, last - first + 1)
        spans.append(unpack_lanes(data, config)[run - first])
    codes: IntArray = np.concatenate(spans)[place.reshape(addresses.shape), lanes]
    return codes


def pack_lanes(elements: IntArray, config: AccelConfig) -> bytes:
    """Whole words of activation codes as they go over the link."""
    bits = (elements.reshape(-1, config.word_lanes, 1) >> np.arange(config.act_bits) & 1)
    rows = bits.reshape(len(bits), -1).astype(np.uint8)
    packed = np.packbits(rows, axis=1, bitorder="little")
    size = link.word_bytes(config, Space.MEMORY)
    return np.pad(packed, ((0, 0), (0, size - packed.shape[1]))).tobytes()


def unpack_lanes(data: bytes, config: AccelConfig) -> IntArray:
    """Inverse of `pack_lanes`: codes ``(words, lanes)``."""
    size = link.word_bytes(config, Space.MEMORY)
    rows = np.unpackbits(np.frombuffer(data, np.uint8).reshape(-1, size), axis=1,
                         bitorder="little")
    bits = rows[:, :config.word_lanes * config.act_bits].reshape(
        len(rows), config.word_lanes, config.act_bits)
    weights = 1 << np.arange(config.act_bits, dtype=np.int64)
    weights[-1] *= -1       # two's complement
    codes: IntArray = bits.astype(np.int64) @ weights
    return codes


def read_words(config: AccelConfig, space: Space, address: int, count: int) -> Conversation:
    """``count`` words of a space; of at most 63 bits, as arrays hold no more."""
    size = link.word_bytes(config, space)
    data = yield from read_bytes(config, space, address, count)
    return np.array([int.from_bytes(data[n:n + size], "little")
                     for n in range(0, len(data), size)], np.int64)


def read_bytes(config: AccelConfig, space: Space, address: int, count: int) -> Transfer:
    """``count`` words of a space as bytes, in as few frames as it takes."""
    most = config.frame_bytes // link.word_bytes(config, space)
    data = bytearray()
    for first in range(0, count, most):
        data += yield from _request(link.read_request(
            space, address + first, min(most, count - first)))
    return bytes(data)


def write_words(config: AccelConfig, space: Space, address: int, words: Sequence[int],
                ) -> Conversation:
    """Write words of a space, in as few frames as it takes."""
    data = link.pack_words(words, link.word_bytes(config, space))
    return (yield from write_bytes(config, space, address, data))


def write_bytes(config: AccelConfig, space: Space, address: int, data: bytes) -> Conversation:
    """Write words that are given as bytes."""
    size = link.word_bytes(config, space)
    step = config.frame_bytes // size * size
    for first in range(0, len(data), step):
        yield from _request(link.write_request(space, address + first // size,
                                               data[first:first + step]))
    return NOTHING


def _request(body: bytes) -> Transfer:
    reply = yield link.seal(body)
    try:
        status, *data = link.unseal(reply)
    except ValueError as error:
        raise DeviceError(f"the reply to {body[:8].hex()} is a {error}") from None
    if status != Status.OK:
        name = Status(status).name if status in Status.__members__.values() else hex(status)
        raise DeviceError(f"the core refused request {body[:8].hex()}: {name}")
    return bytes(data)
