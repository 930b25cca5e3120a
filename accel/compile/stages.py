"""Grouping: a convolution with the activation and the pooling behind it is one stage."""
from dataclasses import dataclass

from accel.graph import Activation, Conv2d, Graph, MaxPool2d, Tensor
from accel.spec.errors import InputError


class CompileError(InputError):
    """A graph that the hardware cannot run, or that does not fit the configuration."""


@dataclass(frozen=True, eq=False)
class Stage:
    """What one pass through array and vector unit computes: conv, then activation, then pool."""

    conv: Conv2d
    activation: str | None = None
    pool: MaxPool2d | None = None

    @property
    def output(self) -> Tensor:
        """The tensor that the stage writes."""
        if self.pool:
            return self.pool.output
        return self.activated or self.conv.output

    # The activation's output tensor, where there is one and no pooling follows.
    activated: Tensor | None = None

    @property
    def window(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Pooling kernel and stride, rows before columns; 1x1 where nothing is pooled."""
        return (self.pool.kernel, self.pool.stride) if self.pool else ((1, 1), (1, 1))


def group(graph: Graph) -> list[Stage]:
    """Stages in execution order; `CompileError` lists every node that belongs to none."""
    readers: dict[str, int] = {}
    for tensor in (tensor for node in graph.nodes for tensor in node.inputs):
        readers[tensor.name] = readers.get(tensor.name, 0) + 1
    stages: list[Stage] = []
    stray: list[str] = []
    for node in graph.nodes:
        last = stages[-1] if stages else None
        follows = last is not None and (
            last.output == node.inputs[0] and readers[node.inputs[0].name] == 1)
        if isinstance(node, Conv2d) and node.groups == 1 and node.dilation == (1, 1) and (
                node.offset is None):
            stages.append(Stage(node))
        elif follows and last and isinstance(node, Activation) and not (
                last.activation or last.pool):
            stages[-1] = Stage(last.conv, node.function, activated=node.output)
        elif follows and last and isinstance(node, MaxPool2d) and not (
                last.pool or any(node.padding)):
            stages[-1] = Stage(last.conv, last.activation, node, last.activated)
        else:
            stray.append(f"{node.name} ({type(node).__name__})")
    if stray:
        raise CompileError(
            f"graph {graph.name!r}: {', '.join(stray)} cannot be placed; an activation must follow "
            f"a convolution, a pooling a convolution or its activation, as its only reader")
    return stages
