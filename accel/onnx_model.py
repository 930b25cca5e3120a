"""ONNX model with 8-bit codes to the integer graph: what onnxruntime.quantization writes.

Both forms are read: QDQ (QuantizeLinear and DequantizeLinear around float operators) and QOperator
(``QLinearConv``, ``QGemm``, ...), with any scales and zero points. uint8 activations become int8 by
taking 128 off codes and zero points. A tensor of the graph has the name of the ONNX tensor whose
codes it holds. Where the input is transposed or reshaped first (NHWC files), the graph begins
behind that, and the host does it. Softmax and argmax at the end are left to the host too.

onnxruntime computes the same accumulators, but scales them in float32 and rounds half to even,
where `numerics.requantize` rounds half away from zero after an integer multiplier; and it rounds
means and sums of dequantized float32 values. So equal inputs give outputs that differ by at most
1, where the real value lies next to a tie. (Its fused kernels for uint8 activations and int8
weights also saturate sums of two products, on processors that have AVX2 but not VNNI.)
"""
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from accel.graph import Graph, IntArray, Node, Tensor
from accel.onnx_call import Call, Scope, has_border, known, shape_of
from accel.onnx_operators import BORDERED, HANDLERS, VIEWS, reshaped
from accel.onnx_values import Codes, Constant, Host, OnnxError, Raw, Real, Shape, Unknown, Value
from accel.spec.config import AccelConfig
from accel.verify import verify

__all__ = ["SUPPORTED", "OnnxError", "import_onnx"]

#: Domains of the operators that we know: ONNX's own, in both spellings, and onnxruntime's.
DOMAINS = ("", "ai.onnx", "com.microsoft")
#: What becomes of code 0 of an unsigned input, by its ONNX type.
UNSIGNED_ZERO: dict[int, int] = {onnx.TensorProto.UINT8: -128, onnx.TensorProto.UINT16: -1 << 15}
#: Operators, as the file names them.
SUPPORTED = tuple(sorted(HANDLERS))


def import_onnx(model: onnx.ModelProto | str | Path, config: AccelConfig) -> Graph:
    """Integer graph of ``model`` (or of the file there) for ``config``.

    Raises `OnnxError` naming everything that cannot be expressed, each operator with its name and
    the shapes that it reads; `GraphError` for what the configuration cannot hold.
    """
    proto = _checked(model)
    source, target = _ends(proto)
    scope = Scope(config, _sizes(source)[0])
    computed = _fold_constants(proto, scope)
    scope.values[source.name] = _input(source, computed, scope)
    shapes, faults = _inferred_shapes(proto), []
    for node in computed:
        if not _evaluate(proto, scope, node) and (fault := _apply(scope, node)):
            read = ", ".join(_shape_text(scope, shapes, name) for name in node.input if name)
            faults.append(f"{node.name or node.output[0]} ({node.op_type} of {read}): {fault}")
    output, problem = _output(scope, target.name)
    if faults or problem or output is None or scope.input is None:
        raise OnnxError("cannot import the model: " + "; ".join(faults or [problem])
                        + f". Supported operators: {', '.join(SUPPORTED)}")
    graph = Graph(proto.graph.name or "onnx", scope.input, _needed(scope.nodes, output),
                  _host(scope.values[target.name]))
    verify(graph, config)
    return graph


def _checked(model: onnx.ModelProto | str | Path) -> onnx.ModelProto:
    """The model, from its file if need be, after onnx's own check."""
    name = "the model" if isinstance(model, onnx.ModelProto) else str(model)
    try:
        proto = model if isinstance(model, onnx.ModelProto) else onnx.load(model)
        onnx.checker.check_model(proto)
    except OSError as error:
        raise OnnxError(f"cannot read {name}: {error.strerror or error}") from None
    except (DecodeError, onnx.checker.ValidationError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise OnnxError(f"{name} is not a valid ONNX model: {reason}") from None
    return proto


def _ends(proto: onnx.ModelProto) -> tuple[onnx.ValueInfoProto, onnx.ValueInfoProto]:
    """Input and output of a network that has one of each."""
    held = {array.name for array in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in held]
    for what, values in (("input", inputs), ("output", proto.graph.output)):
        if len(values) != 1:
            raise OnnxError(f"the model must have one {what}, not {len(values)}: "
                            f"{', '.join(value.name for value in values) or 'none'}")
    return inputs[0], proto.graph.output[0]


def _sizes(value: onnx.ValueInfoProto) -> list[int]:
    """Shape of the input, with a batch of 1 where the file leaves it open."""
    kind = value.type.tensor_type
    if not kind.HasField("shape") or not 2 <= len(kind.shape.dim) <= 4:
        raise OnnxError(f"input {value.name!r} must have a shape (n, features) or (n, channels, "
                        "height, width)")
    batch, *dims = kind.shape.dim
    if unknown := [dim.dim_param or "?" for dim in dims if dim.dim_value < 1]:
        raise OnnxError(f"input {value.name!r} has dynamic sizes {', '.join(unknown)}; only the "
                        "batch may be open")
    return [max(1, batch.dim_value), *(dim.dim_value for dim in dims)]


def _fold_constants(proto: onnx.ModelProto, scope: Scope) -> list[onnx.NodeProto]:
    """Compute what depends on constants alone; the other nodes come back, in order."""
    for array in proto.graph.initializer:
        try:
            scope.values[array.name] = Constant(numpy_helper.to_array(array))
        except (TypeError, ValueError) as error:
            raise OnnxError(f"constant {array.name!r}: {error}") from None
    return [node for node in proto.graph.node if not _evaluate(proto, scope, node)]


def _evaluate(proto: onnx.ModelProto, scope: Scope, node: onnx.NodeProto) -> bool:
    """Whether the outputs of ``node`` are constants, which onnx's reference then computes.

    Not those of DequantizeLinear, which keep their codes.
    """
    values = {name: scope.values.get(name) for name in node.input if name}
    feeds = {name: value.data for name, value in values.items()
             if isinstance(value, Constant) and value.scale is None}
    if len(feeds) < len(values) or node.op_type == "DequantizeLinear":
        return False
    infos = [onnx.ValueInfoProto(name=name) for name in (*feeds, *node.output)]
    graph = onnx.helper.make_graph([node], "constant", infos[:len(feeds)], infos[len(feeds):])
    alone = onnx.helper.make_model(graph, opset_imports=proto.opset_import)
    try:
        outputs = ReferenceEvaluator(alone).run(None, feeds)
    except Exception:       # whatever an operator of the reference raises
        return False
    for name, output in zip(node.output, outputs, strict=True):
        scope.values[name] = Constant(np.asarray(output))
    return True


def _input(value: onnx.ValueInfoProto, nodes: list[onnx.NodeProto], scope: Scope) -> Raw:
    """The input as the first operator sees it that does more than move elements."""
    sizes = _sizes(value)[1:]
    index = best = np.arange(int(np.prod(sizes))).reshape(sizes)
    name, readers = value.name, Counter(name for node in nodes for name in node.input)
    while readers[name] == 1:
        node = next(node for node in nodes if name in node.input)
        if node.op_type in VIEWS:
            values = [scope.values.get(other) for other in node.input[1:]]
            try:
                index = reshaped(Call.of(scope, node, [None, *values]), index)
            except (OnnxError, ValueError, IndexError):
                break       # which is found again when the node is applied
        elif node.op_type not in {"QuantizeLinear", "DequantizeLinear", "Identity"}:
            break
        # Images rather than features, which a product takes in any order.
        best = index if index.ndim == 3 or best.ndim != 3 else best
        name = node.output[0]
    order = np.empty(index.size, np.int64)
    order[best.reshape(-1)] = np.arange(index.size)
    zero = UNSIGNED_ZERO.get(value.type.tensor_type.elem_type, 0)
    return Raw(value.name, _filled(best), order.reshape(sizes), zero)


def _filled(index: IntArray) -> Shape:
    channels, height, width, *_ = *index.shape, 1, 1
    return channels, height, width


def _apply(scope: Scope, node: onnx.NodeProto) -> str:
    """Take ``node`` into the graph; what is wrong with it, or nothing."""
    for name in node.output:
        scope.values[name] = Unknown()
    if node.op_type not in HANDLERS or node.domain not in DOMAINS:
        return f"{node.domain}{'.' if node.domain else ''}{node.op_type} is not supported"
    call = Call.of(scope, node)
    if not known(call.inputs):
        return ""       # the operator at fault is named
    if node.op_type not in BORDERED and any(map(has_border, call.inputs)):
        return "zero padding must be read by a convolution alone"
    try:
        scope.values[node.output[0]] = HANDLERS[node.op_type](call)
    except OnnxError as error:
        return str(error)
    return ""


def _inferred_shapes(proto: onnx.ModelProto) -> dict[str, str]:
    """What onnx knows of the tensors' shapes, for messages."""
    try:
        inferred = onnx.shape_inference.infer_shapes(proto)
    except Exception:       # a model that is no better known for it
        return {}
    return {value.name: str(tuple(dim.dim_value or dim.dim_param or "?"
                                  for dim in value.type.tensor_type.shape.dim))
            for value in (*inferred.graph.value_info, *inferred.graph.output)}


def _shape_text(scope: Scope, shapes: dict[str, str], name: str) -> str:
    value = scope.values[name]
    return shapes.get(name, "?") if isinstance(value, Unknown) else shape_of(value)


def _output(scope: Scope, name: str) -> tuple[Tensor | None, str]:
    """The tensor that the network gives, or why there is none."""
    value: Value = scope.values.get(name, Unknown())
    if has_border(value):
        return None, f"output {name!r} must not be padded"
    if isinstance(value, Host):
        return value.source, ""
    if isinstance(value, Codes):
        return value.tensor, ""
    if isinstance(value, Real) and value.operation.format is not None:
        tensor, nodes = value.quantized(name, value.operation.format, scope.config)
        scope.nodes += nodes
        return tensor, ""
    return None, f"output {name!r} must be quantized"


def _host(value: Value) -> tuple[str, ...]:
    """What is left to the host."""
    return value.operators if isinstance(value, Host) else ()


def _needed(nodes: list[Node], output: Tensor) -> tuple[Node, ...]:
    """Nodes that ``output`` depends on, in order."""
    wanted, kept = {output.name}, []
    for node in reversed(nodes):
        if node.output.name in wanted:
            wanted |= {source.name for source in node.inputs}
            kept.append(node)
    return tuple(reversed(kept))
