"""Torch module to float graph: what the network computes, before quantization.

`torch.export` writes the module down as a list of ATen operators; a fully connected layer is
taken as a convolution whose kernel covers its input, so that flattening needs no layer of its
own, and what does nothing in evaluation mode (dropout, identity) vanishes.

A layer is named after its module and its kind, ``0.conv`` or ``features.act1.tanh``; a functional
call has no module of its own and goes by that of the code that makes it.
"""
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.fx import Node
from torch.nn import functional

from accel.spec.errors import InputError

Shape = tuple[int, ...]

#: What `import_torch` understands, as a user writes it.
SUPPORTED = ("Conv2d", "Linear on a flattened tensor", "ReLU", "SELU", "Tanh", "ELU", "Sigmoid",
             "GELU", "SiLU", "Softplus", "Hardtanh", "Hardsigmoid", "Hardswish", "MaxPool2d",
             "Flatten", "Dropout", "Identity")
ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": torch.relu, "selu": torch.selu, "tanh": torch.tanh, "elu": functional.elu,
    "sigmoid": torch.sigmoid, "gelu": functional.gelu, "silu": functional.silu,
    "softplus": functional.softplus, "hardtanh": functional.hardtanh,
    "hardsigmoid": functional.hardsigmoid, "hardswish": functional.hardswish}
#: Parameters of the operators that have some, and the only values that circuits are made for.
PARAMETERS: dict[str, dict[str, object]] = {
    "elu": {"alpha": 1, "scale": 1, "input_scale": 1}, "gelu": {"approximate": "none"},
    "softplus": {"beta": 1, "threshold": 20}, "hardtanh": {"min_val": -1, "max_val": 1}}


class ModelError(InputError):
    """A module that has no float graph; the message lists every fault and the known layers."""


@dataclass(frozen=True, eq=False)
class FloatConv:
    """Convolution of ``weight`` (out, in, kernel_h, kernel_w) with ``bias`` (out,), float64."""

    name: str
    weight: torch.Tensor
    bias: torch.Tensor
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to ``x`` (n, channels, height, width)."""
        return functional.conv2d(x, self.weight, self.bias, self.stride, self.padding)


@dataclass(frozen=True)
class FloatActivation:
    """An elementwise function, one of `ACTIVATIONS`."""

    name: str
    function: str

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to ``x`` of any shape."""
        return ACTIVATIONS[self.function](x)


@dataclass(frozen=True)
class FloatMaxPool:
    """Maximum over windows, without padding."""

    name: str
    kernel: tuple[int, int]
    stride: tuple[int, int]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to ``x`` (n, channels, height, width)."""
        return functional.max_pool2d(x, self.kernel, self.stride)


Layer = FloatConv | FloatActivation | FloatMaxPool


@dataclass(frozen=True, eq=False)
class FloatGraph:
    """A chain of layers; every tensor is (n, channels, height, width), float64."""

    input_shape: tuple[int, int, int]
    layers: tuple[Layer, ...]

    def trace(self, images: torch.Tensor) -> list[torch.Tensor]:
        """``images`` (n, *input_shape) and the output of each layer, in order."""
        tensors = [images.double()]
        for layer in self.layers:
            tensors.append(layer(tensors[-1]))
        return tensors


def import_torch(model: nn.Module, input_shape: tuple[int, int, int]) -> FloatGraph:
    """Float graph of ``model``, which is put in evaluation mode.

    ``input_shape`` is (channels, height, width). Raises `ModelError` naming everything that
    cannot be expressed: each unsupported operator and parameter, with its layer.
    """
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise ModelError(f"input_shape must be (channels, height, width), not {input_shape}")
    program = _export(model, input_shape)
    chain = _Chain(_arrays(program), input_shape)
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in program.graph_signature.user_inputs:
            chain.last = node
        elif node.op == "call_function":
            chain.add(node)
        elif node.op == "output" and node.args[0] != (chain.last,):
            chain.faults.append("the model must return one tensor, its last layer's")
    if not chain.faults and not any(isinstance(layer, FloatConv) for layer in chain.layers):
        chain.faults.append("the model has no Conv2d or Linear layer")
    if chain.faults:
        raise ModelError("cannot import the model: " + "; ".join(chain.faults)
                         + f". Supported layers: {', '.join(SUPPORTED)}")
    return FloatGraph(input_shape, tuple(chain.layers))


def _export(model: nn.Module, input_shape: Shape) -> torch.export.ExportedProgram:
    like = next(model.parameters(), torch.zeros(()))
    # Two images, so that an operator that mixes images shows in the shapes.
    example = torch.zeros((2, *input_shape), dtype=like.dtype, device=like.device)
    try:
        return torch.export.export(model.eval(), (example,))
    except Exception as error:      # whatever the module's own code raises
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"cannot import the model: on an input of shape {(2, *input_shape)} "
                         f"it fails with: {reason}") from error


def _arrays(program: torch.export.ExportedProgram) -> dict[str, torch.Tensor]:
    """Parameters and buffers by the name of their placeholder, float64."""
    signature = program.graph_signature
    targets = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    values = {**program.state_dict, **program.constants}
    return {name: values[target].detach().cpu().double() for name, target in targets.items()}


@dataclass
class _Chain:
    """The graph under construction: layers so far, the shape of their output, and faults."""

    arrays: dict[str, torch.Tensor]
    shape: Shape
    layers: list[Layer] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    last: Node | None = None

    def add(self, node: Node) -> None:
        """Append the layer, if any, that ``node`` stands for."""
        operator = _operator(node)
        kind, handler = _HANDLERS.get(operator, (operator, _unknown))
        name, size = self._name(node, kind), _size(node)
        try:
            if handler is not _unknown and node.args[0] is not self.last:
                raise ModelError(f"reads {node.args[0]} and not the layer before it; the layers "
                                 "must form a chain")
            layer = handler(self, node, name, *node.args[1:], **node.kwargs)
            self.layers += [layer] if layer else []
        except ModelError as error:
            self.faults.append(f"{name}: {error}")
        if handler is _unknown and self.last not in node.all_input_nodes:
            return      # works on something else, such as a weight
        if len(size) == 4:
            self.shape = size[1:]
        elif handler in (_linear, _unknown):
            self.shape = (*size[1:2], 1, 1)
        self.last = node

    def _name(self, node: Node, kind: str) -> str:
        stack = list(node.meta.get("nn_module_stack", {}).values())
        name = ".".join(filter(None, (stack[-1][0] if stack else "", kind)))
        taken, count = {layer.name for layer in self.layers}, 1
        while (numbered := name if count == 1 else f"{name}_{count}") in taken:
            count += 1
        return numbered

    def parameters(self, weight: Node, bias: Node | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight and bias of a layer; zeros for a bias that is missing."""
        arrays = [self.arrays.get(node.name) for node in (weight, bias) if node]
        known = [array for array in arrays if array is not None]
        if len(known) < len(arrays):
            raise ModelError("its weight and bias must be stored, not computed")
        if not all(bool(array.isfinite().all()) for array in known):
            raise ModelError("its weight or bias holds NaN or infinity")
        return known[0], known[1] if bias else torch.zeros(len(known[0]), dtype=torch.float64)


def _operator(node: Node) -> str:
    """Such as ``relu``, for in-place ``relu_`` and each overload alike."""
    return getattr(node.target, "__name__", "").split(".")[0].removesuffix("_")


def _size(node: Node) -> Shape:
    return tuple(getattr(node.meta.get("val"), "shape", ()))


def _pair(value: Sequence[int]) -> tuple[int, int]:
    return value[0], value[-1]


def _require(**given: tuple[object, object]) -> None:
    """Each keyword is a parameter's value and the only value that is supported."""
    if faults := [f"{name} must be {allowed}, not {value}"
                  for name, (value, allowed) in given.items() if value != allowed]:
        raise ModelError("; ".join(faults))


def _conv(chain: _Chain, node: Node, name: str, weight: Node, bias: Node | None = None,
          stride: Sequence[int] = (1, 1), padding: Sequence[int] | str = (0, 0),
          dilation: Sequence[int] = (1, 1), groups: int = 1) -> Layer:
    _require(dilation=(_pair(dilation), (1, 1)), groups=(groups, 1))
    array, offset = chain.parameters(weight, bias)
    if isinstance(padding, str):
        if padding == "same" and not all(size % 2 for size in array.shape[2:]):
            raise ModelError("padding 'same' needs a kernel of odd size, not "
                             f"{tuple(array.shape[2:])}")
        padding = [size // 2 if padding == "same" else 0 for size in array.shape[2:]]
    return FloatConv(name, array, offset, _pair(stride), _pair(padding))


def _linear(chain: _Chain, node: Node, name: str, weight: Node, bias: Node | None = None,
            ) -> Layer | None:
    if len(given := _size(node.all_input_nodes[0])) != 2:
        raise ModelError(f"Linear needs a flattened tensor (n, features), not {given}")
    array, offset = chain.parameters(weight, bias)
    if chain.faults:        # then the shape is not known for sure
        return None
    return FloatConv(name, array.reshape(len(array), *chain.shape), offset)


def _max_pool(chain: _Chain, node: Node, name: str, kernel: Sequence[int],
              stride: Sequence[int] = (), padding: Sequence[int] = (0, 0),
              dilation: Sequence[int] = (1, 1), ceil_mode: bool = False) -> Layer:
    _require(padding=(_pair(padding), (0, 0)), dilation=(_pair(dilation), (1, 1)),
             ceil_mode=(ceil_mode, False))
    return FloatMaxPool(name, _pair(kernel), _pair(stride or kernel))


def _activation(chain: _Chain, node: Node, name: str, *values: object, **named: object) -> Layer:
    function = _operator(node)
    allowed = PARAMETERS.get(function, {})
    given = dict(zip(allowed, values, strict=False)) | named
    _require(**{parameter: (value, allowed.get(parameter)) for parameter, value in given.items()})
    return FloatActivation(name, function)


def _reshape(chain: _Chain, node: Node, name: str, *parameters: object) -> None:
    size = _size(node)
    if size not in ((2, math.prod(chain.shape)), (2, *chain.shape)):
        raise ModelError("only flattening to (n, features) is supported; two images of shape "
                         f"{chain.shape} become {size}")


def _dropout(chain: _Chain, node: Node, name: str, probability: float, train: bool) -> None:
    _require(training=(train, False))


def _unknown(chain: _Chain, node: Node, name: str, *args: object, **kwargs: object) -> None:
    raise ModelError(f"operator {_operator(node)} is not supported")


#: ATen operator -> kind in a layer's name, and what makes the layer.
_HANDLERS: dict[str, tuple[str, Callable[..., Layer | None]]] = {
    "conv2d": ("conv", _conv), "linear": ("linear", _linear), "max_pool2d": ("pool", _max_pool),
    **{function: (function, _activation) for function in ACTIVATIONS},
    **{operator: (operator, _reshape) for operator in ("flatten", "unflatten", "view", "reshape")},
    "dropout": ("dropout", _dropout)}
