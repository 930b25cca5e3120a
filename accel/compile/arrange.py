"""How tensors go from stage to stage: through memory, or inside the activation scratchpad.

The scratchpad has two halves, and addresses wrap around within each. What a stage reads lies in
one half; what it passes on without a way through memory, in the other.
"""
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from math import prod

from accel.compile.place import Window, window_of
from accel.compile.stages import Joined, Stage
from accel.graph import IntArray, Padding
from accel.program import Layout
from accel.spec.config import AccelConfig

#: Positions of a tensor that is worth passing on block by block; fewer make one block.
LEAST_POSITIONS = 16


class Way(Enum):
    """How a stage's output reaches its readers."""

    MEMORY = 0
    WHOLE = 1       # inside the scratchpad, all of it at once
    BLOCKS = 2      # inside the scratchpad, block by block, each read before the next but one


def ways(stages: Sequence[Stage], joined: Joined, config: AccelConfig, *, keep: bool,
         ) -> list[Way]:
    """The way of every stage's output; with ``keep`` all go to memory."""
    found = [Way.MEMORY] * len(stages)
    if keep:
        return found
    half = config.act_depth // 2
    readers: dict[str, list[int]] = {}
    parts = {part.name for others in joined.values() for part in others}
    for index, stage in enumerate(stages):
        for source in stage.sources:
            readers.setdefault(source.name, []).append(index)
    for index, (stage, following) in enumerate(pairwise(stages)):
        alone = (readers.get(stage.output.name) == [index + 1] and stage.output.name not in parts
                 and following.conv.input.name == stage.output.name)
        # an addition's results go where its other summand has been, on their way to memory
        if not alone or stage.add or (index and found[index - 1] is Way.BLOCKS):
            continue
        if (stage.conv.groups > 1 and _is_pointwise(following)
                and prod(stage.output.shape[1:]) >= LEAST_POSITIONS):
            found[index] = Way.BLOCKS
        elif max(window_of(each, None, config).words for each in (stage, following)) <= half:
            found[index] = Way.WHOLE
    return found


def _is_pointwise(stage: Stage) -> bool:
    """Whether each output position needs the same position of the input alone."""
    conv = stage.conv
    return (conv.weight.shape[2:] == (1, 1) and conv.stride == (1, 1) and not any(conv.padding)
            and conv.groups == 1 and stage.pool is None)


@dataclass
class Place:
    """A tensor with the padding that one stage needs, in a half of the activation scratchpad.

    Members
    -------
    half, depth
        Which half, and the words of each.
    base
        Word of row 0, padding included.
    layout
        Where it is loaded from; None if the vector unit writes it.
    """

    window: Window
    half: int
    depth: int
    base: int
    pad_value: int
    padding: Padding
    layout: Layout | None

    @property
    def top(self) -> int:
        """Rows of padding above."""
        return self.padding[0]

    def row(self, row: int) -> int:
        """Word where a row begins, before wrapping around."""
        return self.base + row * self.window.pitch

    def wrapped(self, words: IntArray) -> IntArray:
        """Addresses of words that are counted within the half."""
        return self.half * self.depth + words % self.depth

    def word(self, word: int) -> int:
        """As `wrapped`, for one."""
        return self.half * self.depth + word % self.depth

    def element(self, element: int, lanes: int) -> int:
        """Address of an element that is counted within the half."""
        return self.half * self.depth * lanes + element % (self.depth * lanes)


@dataclass
class Halves:
    """Hands out room in the two halves, each a ring."""

    config: AccelConfig
    following: list[int] = field(default_factory=lambda: [0, 0])
    side: int = 1

    @property
    def depth(self) -> int:
        """Words of a half."""
        return self.config.act_depth // 2

    def source(self, stage: Stage, layout: Layout) -> Place:
        """Room for what ``stage`` loads, in the half that was not used last."""
        self.side ^= 1
        return self._place(stage, layout, self.side)

    def passed(self, stage: Stage, other: Place) -> Place:
        """Room for what ``stage`` reads and the one before writes, which reads from ``other``.

        A tensor that is passed on block by block may be larger than its half.
        """
        self.side = 1 - other.half
        return self._place(stage, None, self.side)

    def _place(self, stage: Stage, layout: Layout | None, half: int) -> Place:
        window = window_of(stage, layout, self.config)
        base = self.following[half]
        self.following[half] = (base + window.words) % self.depth
        return Place(window, half, self.depth, base, stage.pad_value, stage.conv.padding, layout)


def outputs(stages: Sequence[Stage], found: Sequence[Way], *wanted: Way) -> frozenset[str]:
    """Names of the tensors that go one of the wanted ways."""
    return frozenset(stage.output.name for stage, way in zip(stages, found, strict=True)
                     if way in wanted)
