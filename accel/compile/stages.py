"""Grouping: a convolution and what the vector unit does behind it is one stage."""
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from accel.graph import (
    NO_PADDING,
    Activation,
    Add,
    Clamp,
    Concat,
    Conv2d,
    Graph,
    MaxPool2d,
    Node,
    Padding,
    Tensor,
)
from accel.spec.config import AccelConfig
from accel.spec.errors import InputError
from accel.spec.numerics import limits


class CompileError(InputError):
    """A graph that the hardware cannot run, or that does not fit the configuration."""


@dataclass(frozen=True, eq=False)
class Stage:
    """What one pass through array and vector unit computes.

    A convolution, then a table activation, an addition, a clamp and a maximum over windows, each
    if there is one.

    Members
    -------
    output
        The tensor that the stage writes.
    value
        What the convolution's output has become before the addition.
    add, other
        The addition and the tensor that comes from elsewhere.
    low, high
        Limits of the result.
    pad_value
        Code around the convolution's input.
    """

    conv: Conv2d
    output: Tensor
    value: Tensor
    low: int
    high: int
    pad_value: int
    activation: str | None = None
    add: Add | None = None
    other: Tensor | None = None
    pool: MaxPool2d | None = None
    clamped: bool = False

    @property
    def window(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Pooling kernel and stride, rows before columns; 1x1 where nothing is pooled."""
        return (self.pool.kernel, self.pool.stride) if self.pool else ((1, 1), (1, 1))

    @property
    def sources(self) -> tuple[Tensor, ...]:
        """The tensors that it reads."""
        return (self.conv.input, self.other) if self.other else (self.conv.input,)


#: Concatenated tensors by name, each with its parts.
Joined = Mapping[str, tuple[Tensor, ...]]


def group(graph: Graph, config: AccelConfig) -> tuple[list[Stage], Joined]:
    """Stages in execution order; a node that fits behind none gets a copying convolution.

    A concatenation is no stage: its parts are written where they belong.
    """
    grouping = _Grouping(config, Counter(tensor.name for node in graph.nodes
                                         for tensor in node.inputs))
    for node in graph.nodes:
        grouping.take(node)
    return grouping.stages, grouping.joined


class _Grouping:
    """The stages so far."""

    def __init__(self, config: AccelConfig, readers: Counter[str]) -> None:
        self.config, self.readers = config, readers
        self.stages: list[Stage] = []
        self.joined: dict[str, tuple[Tensor, ...]] = {}

    def take(self, node: Node) -> None:
        """Append ``node`` to a stage, or start one for it."""
        if isinstance(node, Conv2d):
            # in depthwise mode, a channel's place decides which column computes it
            spread = node.groups > 1 and self._is_spread(node.input)
            self._start(replace(node, input=self._packed(node.input)) if spread else node)
        elif isinstance(node, Add):
            self._add(replace(node, inputs=(self._packed(node.inputs[0]),
                                            self._packed(node.inputs[1]))))
        elif isinstance(node, Concat):
            self._join(node)
        else:
            if self._is_spread(node.input):
                node = replace(node, input=self._packed(node.input))
            index = self._open(node.input)
            if index is None or not self._attach(index, node):
                # padding must lose against every code, so it is the lowest
                padding = node.padding if isinstance(node, MaxPool2d) else NO_PADDING
                self._start(copy_of(node.input, node.name, padding, self.config),
                            limits(self.config.act_bits)[0] if any(padding) else None)
                self._attach(len(self.stages) - 1, node, padded=True)

    def _join(self, node: Concat) -> None:
        """Each part gets its own words of every position; one that others made is copied."""
        parts = []
        taken = {part.name for others in self.joined.values() for part in others}
        made = {stage.output.name for stage in self.stages}
        for number, part in enumerate(node.inputs):
            if part.name in taken or part.name not in made:
                name = f"{node.name}.{number}"
                self._start(packing(part, name, self.config) if self._is_spread(part)
                            else copy_of(part, name, NO_PADDING, self.config))
                part = self.stages[-1].output
            taken.add(part.name)
            parts.append(part)
        self.joined[node.output.name] = tuple(parts)

    def _is_spread(self, tensor: Tensor) -> bool:
        """Whether a concatenation leaves lanes free between the channels of ``tensor``."""
        *parts, _ = self.joined.get(tensor.name, (tensor,))
        return any(part.shape[0] % self.config.cols for part in parts)

    def _packed(self, tensor: Tensor) -> Tensor:
        """``tensor``, or a copy in which no lane is free."""
        if not self._is_spread(tensor):
            return tensor
        name = f"{tensor.name}.packed"
        if name not in {stage.output.name for stage in self.stages}:
            self._start(packing(tensor, tensor.name, self.config))
        return next(stage.output for stage in self.stages if stage.output.name == name)

    def _start(self, conv: Conv2d, pad_value: int | None = None) -> None:
        low, high = limits(self.config.act_bits)
        self.stages.append(Stage(
            conv, conv.output, conv.output, low, high,
            conv.input.zero_point if pad_value is None else pad_value))

    def _open(self, tensor: Tensor) -> int | None:
        """The stage that computes ``tensor``, if nobody else wants to see it."""
        if self.readers[tensor.name] != 1:
            return None
        return next((index for index, stage in enumerate(self.stages)
                     if stage.output.name == tensor.name), None)

    def _attach(self, index: int, node: Activation | Clamp | MaxPool2d, *, padded: bool = False,
                ) -> bool:
        """Add ``node`` to a stage, if that can be; ``padded``: the stage pads for it."""
        stage = self.stages[index]
        if stage.pool or (isinstance(node, MaxPool2d) and (
                stage.add or (any(node.padding) and not padded))):
            return False
        if isinstance(node, MaxPool2d):
            self.stages[index] = replace(stage, pool=node, output=node.output)
            return True
        if isinstance(node, Clamp) or node.function == "relu":
            low, high = ((node.low, node.high) if isinstance(node, Clamp)
                         else (node.input.zero_point, limits(self.config.act_bits)[1]))
            self.stages[index] = replace(
                stage, low=min(max(stage.low, low), high), high=max(min(stage.high, high), low),
                clamped=True, output=node.output)
            return True
        if stage.activation or stage.add or stage.clamped:
            return False
        self.stages[index] = replace(stage, activation=node.function, output=node.output,
                                     value=node.output)
        return True

    def _add(self, node: Add) -> None:
        """Behind the later of the two summands, if its stage is still open."""
        if not self.config.residual:
            raise CompileError(f"{node.name}: config {self.config.name!r} cannot add tensors; set "
                               "residual = true")
        index = max((index for tensor in node.inputs if (index := self._open(tensor)) is not None
                     and index == self._latest(node)), default=None)
        if index is None or self.stages[index].pool or self.stages[index].clamped \
                or self.stages[index].add:
            self._start(copy_of(node.inputs[0], node.name, NO_PADDING,
                                self.config))
            index, own = len(self.stages) - 1, 0
        else:
            own = 0 if node.inputs[0].name == self.stages[index].output.name else 1
        self.stages[index] = replace(self.stages[index], add=_own_first(node, own),
                                     other=node.inputs[1 - own], output=node.output)

    def _latest(self, node: Add) -> int:
        """The last stage that computes a summand."""
        names = {tensor.name for tensor in node.inputs}
        return max((index for index, stage in enumerate(self.stages)
                    if stage.output.name in names), default=-1)


def _own_first(node: Add, own: int) -> Add:
    order = (own, 1 - own)
    first, second = (node.inputs[place] for place in order)
    return replace(node, inputs=(first, second),
                   multipliers=(node.multipliers[own], node.multipliers[1 - own]),
                   shifts=(node.shifts[own], node.shifts[1 - own]))


def packing(tensor: Tensor, name: str, config: AccelConfig) -> Conv2d:
    """A 1 x 1 convolution that copies every channel of ``tensor`` by itself."""
    channels = tensor.shape[0]
    multiplier, shift = config.scales.nearest(1.0)
    return Conv2d(f"{name}.packing", tensor, replace(tensor, name=f"{name}.packed"),
                  np.eye(channels, dtype=np.int64)[:, :, None, None],
                  np.full(channels, -tensor.zero_point, np.int64),
                  np.full(channels, multiplier, np.int64), np.full(channels, shift, np.int64))


def copy_of(tensor: Tensor, name: str, padding: Padding, config: AccelConfig) -> Conv2d:
    """A depthwise convolution that copies ``tensor`` and what is around it."""
    channels, height, width = tensor.shape
    top, left, bottom, right = padding
    shape = (channels, height + top + bottom, width + left + right)
    multiplier, shift = config.scales.nearest(1.0)
    return Conv2d(f"{name}.copy", tensor, replace(tensor, name=f"{name}.copy", shape=shape),
                  np.ones((channels, 1, 1, 1), np.int64),
                  np.full(channels, -tensor.zero_point, np.int64),
                  np.full(channels, multiplier, np.int64), np.full(channels, shift, np.int64),
                  padding=padding, groups=channels)
