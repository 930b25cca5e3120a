"""Torch module to float graph: what the network computes, before quantization.

`torch.export` writes the module down as a list of ATen operators, which `accel.torch_operators`
turns into layers one by one. What is computed from parameters alone, as the powers of two of a
shift layer are, is done at once. What does nothing in evaluation mode (dropout, identity),
flattening and other changes of shape alone vanish; batch norms are folded into the layer before
them and zero padding into the layer behind it. Softmax and argmax at the end are left to the host.

``ReLU6``, ``Hardtanh`` and ``clamp`` become limits on codes, whatever their parameters: exact in
every format, without a circuit.

A layer is named after its module and its kind, ``0.conv`` or ``features.act1.tanh``; a functional
call has no module of its own and goes by that of the code that makes it.
"""
import contextlib

import torch
from torch import nn
from torch.fx import Node
from torch.fx.node import map_arg

from accel.graph import NO_PADDING
from accel.layers import INPUT, FloatGraph, Layer, Shape
from accel.torch_call import IMAGES, Call, ModelError, Scope, Value, operator_of, size_of, text
from accel.torch_operators import HANDLERS

__all__ = ["SUPPORTED", "FloatGraph", "ModelError", "import_torch"]

#: What `import_torch` understands, as a user writes it.
SUPPORTED = (
    "Conv2d", "Linear on a flattened tensor", "the layers of accel.nn", "BatchNorm behind those",
    "ReLU", "ReLU6", "SELU", "Tanh", "ELU", "Sigmoid", "GELU", "SiLU", "Softplus", "Hardtanh",
    "clamp", "Hardsigmoid", "Hardswish", "MaxPool2d", "AvgPool2d", "AdaptiveAvgPool2d",
    "mean over height and width", "+ of two tensors of one shape", "cat of channels",
    "ZeroPad2d before a convolution", "Flatten and reshape", "Dropout", "Identity",
    "and at the end softmax, log_softmax, argmax")


def import_torch(model: nn.Module, input_shape: tuple[int, ...]) -> FloatGraph:
    """Float graph of what ``model`` computes in evaluation mode; its own modes stay.

    ``input_shape`` is (channels, height, width) or (features,). Raises `ModelError` naming
    everything that cannot be expressed: each unsupported operator and parameter, with its layer.
    """
    if len(input_shape) not in (1, 3) or min(input_shape) < 1:
        raise ModelError("input_shape must be (channels, height, width) or (features,), not "
                         f"{input_shape}")
    program = _export(model, input_shape)
    scope, faults = Scope(_arrays(program)), _dynamic_shapes(program)
    shape = _filled(input_shape)
    output = None
    for node in program.graph.nodes if not faults else ():
        if node.op == "placeholder" and node.name in program.graph_signature.user_inputs:
            scope.values[node] = Value(INPUT, shape)
        elif node.op == "call_function":
            faults += _apply(scope, node)
        elif node.op == "output":
            output, problems = _output(scope, node)
            faults += problems
    if faults or output is None:
        raise ModelError("cannot import the model: " + "; ".join(faults)
                         + f". Supported: {', '.join(SUPPORTED)}")
    return FloatGraph(shape, _needed(list(scope.layers.values()), output.name), output.host)


def _filled(shape: tuple[int, ...]) -> Shape:
    """The first three sizes of ``shape``, filled up with ones."""
    channels, height, width, *_ = *shape, 1, 1, 1
    return channels, height, width


def _export(model: nn.Module, input_shape: tuple[int, ...]) -> torch.export.ExportedProgram:
    like = next(model.parameters(), torch.zeros(()))
    example = torch.zeros((IMAGES, *input_shape), dtype=like.dtype, device=like.device)
    modes = [(module, module.training) for module in model.modules()]
    try:
        return torch.export.export(model.eval(), (example,))
    except Exception as error:      # whatever the module's own code raises
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"cannot import the model: on an input of shape "
                         f"{(IMAGES, *input_shape)} it fails with: {reason}") from error
    finally:
        for module, training in modes:
            module.training = training


def _arrays(program: torch.export.ExportedProgram) -> dict[str, torch.Tensor]:
    """Copies of parameters and buffers by the name of their placeholder, each in its own type.

    What is computed from them rounds as it does in torch: near sqrt(1/2) a power of two depends
    on it.
    """
    signature = program.graph_signature
    targets = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    values = {**program.state_dict, **program.constants}
    return {name: values[target].detach().cpu().clone() for name, target in targets.items()}


def _dynamic_shapes(program: torch.export.ExportedProgram) -> list[str]:
    """The first tensor whose shape depends on the data."""
    for node in program.graph.nodes:
        if any(not isinstance(size, int) for size in size_of(node)):
            return [(f"it has dynamic shapes, as {node.name} gives {size_of(node)}; every shape "
                     "must follow from the input's")]
    return []


def _apply(scope: Scope, node: Node) -> list[str]:
    """Do what ``node`` says; the faults that keep it from being done."""
    read = [source for source in node.all_input_nodes if source in scope.values]
    if operator_of(node) == "_assert_tensor_metadata":
        return []
    if not read:
        _compute(scope, node)
        return []
    if not isinstance(node.target, torch._ops.OpOverload):
        scope.values[node] = Value("", _filled(size_of(node)[1:]))
        return []       # takes its part of what an operator gives that is refused already
    kind, handler = HANDLERS.get(operator_of(node), (operator_of(node), None))
    call = Call(scope, node, _name(scope, node, kind))
    try:
        if handler is None:
            shapes = ", ".join(text(size_of(source)[1:]) for source in read)
            raise ModelError(f"operator {call.operator} is not supported, on {shapes}")
        value = handler(call, *node.args, **node.kwargs)
    except ModelError as error:
        scope.values[node] = Value("", _filled(size_of(node)[1:]))
        return [f"{call.name}: {error}"]
    if getattr(node.target, "__name__", "").split(".")[0].endswith("_"):
        old = scope.values[read[0]]         # in place: whoever reads it later sees the new value
        scope.values.update({known: value for known, its in scope.values.items() if its == old})
    scope.values[node] = value
    return []


def _compute(scope: Scope, node: Node) -> None:
    """Do now what depends on parameters alone, such as a weight's reparametrization."""
    arrays = {source: scope.arrays.get(source.name) for source in node.all_input_nodes}
    target = node.target
    if (not isinstance(target, torch._ops.OpOverload) or not all(
            isinstance(array, torch.Tensor) for array in arrays.values())
            or torch.Tag.nondeterministic_seeded in target.tags):
        return
    args, named = map_arg((node.args, node.kwargs), arrays.__getitem__)
    with contextlib.suppress(RuntimeError, TypeError):      # it stays unknown to who reads it
        result = target(*args, **named)
        if isinstance(result, torch.Tensor):
            scope.arrays[node.name] = result


def _name(scope: Scope, node: Node, kind: str) -> str:
    stack = list(node.meta.get("nn_module_stack", {}).values())
    name = ".".join(filter(None, (stack[-1][0] if stack else "", kind)))
    count = 1
    while (numbered := name if count == 1 else f"{name}_{count}") in scope.layers:
        count += 1
    return numbered


def _output(scope: Scope, node: Node) -> tuple[Value | None, list[str]]:
    """What the model returns, and what is wrong with that."""
    results = node.args[0]
    value = None
    if isinstance(results, tuple) and len(results) == 1 and isinstance(results[0], Node):
        value = scope.values.get(results[0])
    if value is None:
        return None, ["the model must return one tensor, computed from its input"]
    if value.border != NO_PADDING:
        return None, ["the model must not return a padded tensor"]
    if value.name == INPUT:
        return None, ["the model computes nothing from its input"]
    return value, []


def _needed(layers: list[Layer], output: str) -> tuple[Layer, ...]:
    """Those layers that the output depends on; it is the last of them."""
    wanted, kept = {output}, []
    for layer in reversed(layers):
        if layer.name in wanted:
            wanted.update(layer.inputs)
            kept.append(layer)
    return tuple(reversed(kept))
