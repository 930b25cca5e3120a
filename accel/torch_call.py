"""The float graph under construction: what each tensor of the exported module stands for."""
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch.fx import Node

from accel.graph import NO_PADDING, Padding
from accel.layers import Layer, Shape
from accel.spec.errors import InputError

#: Images in the exported example: two, so that an operator that mixes images shows in the shapes.
IMAGES = 2


class ModelError(InputError):
    """A module that has no float graph; the message lists every fault and the known layers."""


@dataclass(frozen=True)
class Value:
    """What a torch tensor holds: the output of layer ``name``, in its order, one row an image.

    Members
    -------
    shape
        Of the layer's output.
    border
        Zeros around it that belong to the torch tensor and not to the layer's output.
    host
        Operators that the host applies to it.
    """

    name: str
    shape: Shape
    border: Padding = NO_PADDING
    host: tuple[str, ...] = ()

    @property
    def outer(self) -> Shape:
        """Shape with the border."""
        channels, height, width = self.shape
        top, left, bottom, right = self.border
        return channels, height + top + bottom, width + left + right


@dataclass
class Scope:
    """The graph under construction: stored arrays, layers so far, and what fx nodes stand for."""

    arrays: dict[str, torch.Tensor]
    layers: dict[str, Layer] = field(default_factory=dict)
    values: dict[Node, Value] = field(default_factory=dict)

    def has_one_reader(self, value: Value) -> bool:
        """Nothing but a single operator reads ``value``, under whatever shape."""
        return all(len(node.users) == 1 for node, known in self.values.items()
                   if known.name == value.name)


@dataclass(frozen=True)
class Call:
    """One operator of the exported module, and the name of the layer that it may become."""

    scope: Scope
    node: Node
    name: str

    @property
    def operator(self) -> str:
        """ATen's name for it."""
        return operator_of(self.node)

    def image(self, node: object, *, border: bool = False) -> Value:
        """What ``node`` holds, which must be (n, *shape); with a border only where allowed."""
        value = self.features(node, border=border)
        assert isinstance(node, Node)
        if (size := size_of(node)) != (IMAGES, *value.outer):
            raise ModelError(f"needs {text(value.outer)}, as it is computed, not {text(size[1:])}")
        return value

    def features(self, node: object, *, border: bool = False) -> Value:
        """What ``node`` holds, in whatever shape."""
        value = self.scope.values.get(node) if isinstance(node, Node) else None
        if value is None:
            raise ModelError(f"reads {node}, which is not computed from the model's input")
        if value.host:
            raise ModelError(f"reads the {value.host[-1]}, which the host computes at the end")
        if value.border != NO_PADDING and not border:
            raise ModelError("reads a padded tensor; only a convolution or an average pooling can")
        return value

    def emit(self, layer: Layer, shape: Sequence[int] | None = None) -> Value:
        """Append ``layer``; ``shape`` is by default that of the operator's result."""
        channels, height, width = shape or size_of(self.node)[1:]
        self.scope.layers[layer.name] = layer
        return Value(layer.name, (channels, height, width))

    def parameters(self, weight: Node, bias: Node | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight and bias of a layer; zeros for a bias that is missing."""
        arrays = self.stored([weight, bias] if bias else [weight])
        return arrays[0], (arrays[1] if bias else torch.zeros(len(arrays[0]), dtype=torch.float64))

    def stored(self, nodes: Sequence[Node]) -> list[torch.Tensor]:
        """Parameters or buffers of the module, float64."""
        known = [self.scope.arrays[node.name].double() for node in nodes
                 if node.name in self.scope.arrays]
        if len(known) < len(nodes):
            raise ModelError("its weight and bias must be stored, or computed from what is")
        if not all(bool(array.isfinite().all()) for array in known):
            raise ModelError("its weight or bias holds NaN or infinity")
        return known


def operator_of(node: Node) -> str:
    """Such as ``relu``, for in-place ``relu_`` and each overload alike."""
    return getattr(node.target, "__name__", "").split(".")[0].removesuffix("_")


def size_of(node: Node) -> tuple[int, ...]:
    """Of the tensor that ``node`` gives; empty if it gives none."""
    return tuple(getattr(node.meta.get("val"), "shape", ()))


def text(shape: Sequence[object]) -> str:
    """Such as ``(n, 3, 8, 8)``."""
    return f"({', '.join(map(str, ('n', *shape)))})"
