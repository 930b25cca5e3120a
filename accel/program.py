"""A compiled program: instructions, memory images, and where each tensor lives."""
import gzip
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.spec.config import AccelConfig
from accel.spec.errors import InputError
from accel.spec.isa import Isa
from accel.spec.link import Space

FORMAT = "systolith-program-3"


class ProgramError(InputError):
    """A program that cannot be read, or that was made for another configuration."""


@dataclass(frozen=True)
class Layout:
    """Where a ``(channels, height, width)`` tensor lives in memory, in elements.

    A memory word holds `AccelConfig.word_lanes` elements, the first in its low bits. Element
    (c, y, x) is at ``origin + channel_offsets[c] + y * row_stride + x * col_stride``; what else
    lies in the ``size`` elements from ``start`` on (whole words) is padding and holds the zero
    point.
    """

    shape: tuple[int, int, int]
    start: int
    size: int
    origin: int
    channel_offsets: tuple[int, ...]
    row_stride: int
    col_stride: int
    planar: bool            # a row has one channel after the other, with its halo's columns
    scale: float            # real = scale * (code - zero_point)
    zero_point: int

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Layout":
        """Build from plain lists and numbers."""
        fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value
                                  for key, value in content.items()}
        return cls(**fields)

    def addresses(self) -> npt.NDArray[np.int64]:
        """Element addresses, in the shape of the tensor."""
        _, height, width = self.shape
        return (self.origin + np.array(self.channel_offsets)[:, None, None]
                + np.arange(height)[:, None] * self.row_stride + np.arange(width) * self.col_stride)


@dataclass(frozen=True)
class Layer:
    """A layer of the network and its multiply-accumulates per image."""

    name: str
    macs: int


@dataclass(frozen=True)
class Image:
    """Words to write to an address space before the first run."""

    space: Space
    address: int
    words: tuple[int, ...]


@dataclass(frozen=True)
class Program:
    """Everything a `device.Device` needs to run a network.

    ``tensors`` maps the name of every stored tensor to its layout. After a run they all still
    hold their values if ``keeps_tensors``; otherwise later ones may have reused their place.
    """

    name: str
    config_digest: str
    images: tuple[Image, ...]
    tensors: Mapping[str, Layout]
    input: str
    output: str
    macs: int
    keeps_tensors: bool = False
    layers: tuple[Layer, ...] = ()
    owners: tuple[int, ...] = ()    # per instruction before FINISH, the layer it works for
    host: tuple[str, ...] = ()      # what the host computes from the output (`classes.OPERATORS`)

    def check(self, config: AccelConfig) -> None:
        """Refuse a configuration other than the one this program was compiled for."""
        if self.config_digest != config.digest:
            raise ProgramError(
                f"program {self.name!r} was compiled for config {self.config_digest}, but "
                f"{config.name!r} is {config.digest}: compile it again for {config.name!r}")

    def instructions(self) -> list[int]:
        """Instruction words in program order."""
        return [word for image in self.images if image.space == Space.INSTRUCTION
                for word in image.words]

    def disassemble(self, config: AccelConfig) -> str:
        """One line per instruction."""
        self.check(config)
        isa = Isa(config)
        return "\n".join(f"{index:4}  {isa.decode(word)}"
                         for index, word in enumerate(self.instructions()))

    def save(self, path: Path) -> None:
        """Write the program; an interrupted write leaves an older file as it was."""
        content = asdict(self) | {"format": FORMAT}
        content["images"] = [[image.space.name, image.address, [f"{w:x}" for w in image.words]]
                             for image in self.images]
        partial = path.with_name(path.name + ".partial")
        partial.write_bytes(gzip.compress(json.dumps(content).encode(), mtime=0))
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Program":
        """Read a program; `ProgramError` names the file and what is wrong with it."""
        try:
            content = json.loads(gzip.decompress(path.read_bytes()))
            if content.pop("format") != FORMAT:
                raise ValueError("another format")
            content["images"] = tuple(
                Image(Space[space], address, tuple(int(word, 16) for word in words))
                for space, address, words in content["images"])
            content["layers"] = tuple(Layer(**layer) for layer in content["layers"])
            content["owners"], content["host"] = tuple(content["owners"]), tuple(content["host"])
            content["tensors"] = {name: Layout.from_json(layout)
                                  for name, layout in content["tensors"].items()}
            return cls(**content)
        except OSError as error:
            if error.strerror:
                raise ProgramError(f"cannot read program {path}: {error.strerror}") from None
            raise ProgramError(f"{path} is not a program: {error}") from None
        except (EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ProgramError(f"{path} is not a whole {FORMAT} file: {error}") from None
