"""The host's side of the link, without the link: requests out, replies in, no I/O.

Each conversation is a generator that yields request frames and is sent reply frames, so that
one piece of code drives a serial port, a simulator's coroutine, or anything else that carries
bytes. `converse` runs one over a plain function.
"""
from collections.abc import Callable, Generator, Mapping

import numpy as np

from accel.device import DeviceError, IntArray, padded_elements
from accel.program import Layout, Program
from accel.spec import link
from accel.spec.config import AccelConfig
from accel.spec.link import FaultCode, Register, Space, Status

Conversation = Generator[bytes, bytes, "IntArray"]
POLLS = 1_000_000       # of CONTROL before a run counts as hung
COUNTERS = {"cycles": Register.CYCLES, "gemm_busy": Register.GEMM_BUSY,
            "vector_busy": Register.VECTOR_BUSY}
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
        yield from write_words(config, image.space, image.address, list(image.words))
    return NOTHING


def infer(program: Program, config: AccelConfig, codes: IntArray) -> Conversation:
    """Run one image: codes ``(c, h, w)`` to output codes ``(c, h, w)``."""
    layout = program.tensors[program.input]
    elements = padded_elements(layout, codes) % (1 << config.act_bits)
    yield from write_words(config, Space.ACTIVATION, layout.start, elements.tolist())
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
    """Codes of a stored tensor, ``(c, h, w)``."""
    addresses = layout.addresses()
    first, last = int(addresses.min()), int(addresses.max())
    span = yield from read_words(config, Space.ACTIVATION, first, last - first + 1)
    half = 1 << (config.act_bits - 1)
    codes: IntArray = (span[addresses - first] + half) % (2 * half) - half
    return codes


def read_words(config: AccelConfig, space: Space, address: int, count: int) -> Conversation:
    """``count`` words of a space, in as many frames as it takes."""
    size = link.word_bytes(config, space)
    words: list[int] = []
    while len(words) < count:
        step = min(count - len(words), config.frame_bytes // size)
        data = yield from _request(link.read_request(space, address + len(words), step))
        words += [int.from_bytes(data[n:n + size], "little") for n in range(0, len(data), size)]
    return np.array(words, np.int64)


def write_words(config: AccelConfig, space: Space, address: int, words: list[int],
                ) -> Conversation:
    """Write words of a space, in as many frames as it takes."""
    size = link.word_bytes(config, space)
    step = config.frame_bytes // size
    for n in range(0, len(words), step):
        data = link.pack_words(words[n:n + step], size)
        yield from _request(link.write_request(space, address + n, data))
    return NOTHING


def _request(body: bytes) -> Generator[bytes, bytes, bytes]:
    reply = yield link.seal(body)
    try:
        status, *data = link.unseal(reply)
    except ValueError as error:
        raise DeviceError(f"the reply to {body[:8].hex()} is a {error}") from None
    if status != Status.OK:
        name = Status(status).name if status in Status.__members__.values() else hex(status)
        raise DeviceError(f"the core refused request {body[:8].hex()}: {name}")
    return bytes(data)
