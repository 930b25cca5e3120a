"""What each ONNX operator becomes: the table `HANDLERS` and its functions.

In a QDQ model every operator stands between DequantizeLinear and QuantizeLinear; in a QOperator
model (``QLinearConv``, ...) it has the formats among its inputs. Both end in the same `Real`
values, quantized at once in the second case.
"""
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import onnx

from accel import onnx_linear as linear
from accel.graph import IntArray
from accel.onnx_call import CODE_TYPES, Call, indices, natural, same_values, shape_of
from accel.onnx_values import (
    Codes,
    Constant,
    Host,
    Join,
    Linear,
    OnnxError,
    Raw,
    Real,
    Sum,
    Table,
    Value,
    shifted,
)
from accel.spec.numerics import limits

Handler = Callable[[Call], Value]
#: Attributes of functions that have some, and the only values that circuits are made for.
PARAMETERS: dict[str, dict[str, float | str]] = {
    "Elu": {"alpha": 1.0}, "Gelu": {"approximate": "none"},
    "HardSigmoid": {"alpha": 1 / 6, "beta": 0.5},
    "Selu": {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}}
#: Attributes whose default in ONNX is none of those.
REQUIRED = {"HardSigmoid": ("alpha",)}


def _quantize(call: Call) -> Value:
    value = call.given(0)
    if isinstance(value, Host):
        return value
    call.require(block_size=0)
    signed = call.attributes.get("output_dtype", 0) == onnx.TensorProto.INT8
    form = call.format(1, 2, 0 if signed else limits(call.config.act_bits)[0])
    return call.read(value, form) if isinstance(value, Raw) else call.write(call.real(0), form)


def _dequantize(call: Call) -> Value:
    value = call.given(0)
    if isinstance(value, Host):
        return value
    call.require(block_size=0)
    if isinstance(value, Constant):
        return call.quantized(0, 1, 2, call.attributes.get("axis", 1))
    return same_values(call.codes(0, 1, 2))


# Elementwise

def _relu(call: Call) -> Value:
    return _limited(call.real(0), 0.0, math.inf)


def _clip(call: Call) -> Value:
    low, high = (float(call.constant(position, "a limit").real.reshape(()))
                 if call.given(position) else float(call.attributes.get(name, default))
                 for position, name, default in ((1, "min", -math.inf), (2, "max", math.inf)))
    if not low <= high:
        raise OnnxError(f"limits must rise, not {low}..{high}")
    return _limited(call.real(0), low, high)


def _limited(real: Real, low: float, high: float) -> Real:
    return replace(real, low=min(max(real.low, low), high), high=max(min(real.high, high), low))


def _activation(call: Call, function: str) -> Value:
    codes = call.stored(0)
    return Real(_table(call, codes, function), codes.index)


def _qlinear_sigmoid(call: Call) -> Value:
    codes = call.codes(0, 1, 2)
    return call.write(Real(_table(call, codes, "sigmoid"), codes.index), call.format(3, 4))


def _table(call: Call, codes: Codes, function: str) -> Table:
    kind = call.node.op_type
    known = PARAMETERS.get(kind, {})
    given = {name: call.attributes.get(name, None if name in REQUIRED.get(kind, ()) else value)
             for name, value in known.items()}
    if faults := [f"{name} must be {known[name]}, not {value or 'its default'}"
                  for name, value in given.items() if not _equal(value, known[name])]:
        raise OnnxError("; ".join(faults))
    specs = {spec.function: spec for spec in call.config.activation_specs}
    if function not in specs:
        raise OnnxError(f"activation {function!r} is not in config {call.config.name!r}, which "
                        f"has {', '.join(specs) or 'none'}")
    return Table(codes.tensor, function)


def _equal(given: object, known: float | str) -> bool:
    if isinstance(given, float | int) and isinstance(known, float):
        return math.isclose(given, known, rel_tol=1e-6)
    return given == known


def _add(call: Call) -> Value:
    one, two = call.given(0), call.given(1)
    if isinstance(one, Constant):
        return _add_constant(call, 1, one)
    if isinstance(two, Constant):
        return _add_constant(call, 0, two)
    return _sum(call.stored(0), call.stored(1))


def _qlinear_add(call: Call) -> Value:
    form = call.format(6, 7)
    for position, other in ((0, 3), (3, 0)):
        if isinstance(call.given(position), Constant):
            scaled = call.quantized(position, position + 1, position + 2, axis=0)
            codes = call.codes(other, other + 1, other + 2)
            return call.write(_plus(call, same_values(codes), scaled), form)
    return call.write(_sum(call.codes(0, 1, 2), call.codes(3, 4, 5)), form)


def _sum(one: Codes, two: Codes) -> Real:
    if one.tensor.shape != two.tensor.shape or not np.array_equal(one.index, two.index):
        raise OnnxError(f"adds tensors of different shape or order, {one.index.shape} and "
                        f"{two.index.shape}")
    return Real(Sum((one.tensor, two.tensor)), one.index)


def _add_constant(call: Call, position: int, constant: Constant) -> Value:
    return _plus(call, call.real(position), constant)


def _plus(call: Call, real: Real, constant: Constant) -> Real:
    """A bias: of the product before, or of a convolution of its own."""
    channels = real.operation.shape[0]
    try:
        spread = np.broadcast_to(constant.real, (1, *real.index.shape))[0]
    except ValueError:
        raise OnnxError(f"adds a constant of {constant.data.shape} to {real.index.shape}") from None
    flat = np.empty(real.index.size)
    flat[real.index.reshape(-1)] = spread.reshape(-1)
    rows = flat.reshape(channels, -1)
    if not np.isfinite(rows).all() or (rows != rows[:, :1]).any():
        raise OnnxError("a constant that is added must be one finite number of each channel")
    if isinstance(real.operation, Linear) and not _is_limited(real):
        operation = real.operation
        return replace(real, operation=replace(
            operation, bias=operation.bias + rows[:, 0] / operation.scale))
    codes = call.store(real, f"{call.name}.input")
    return Real(shifted(codes.tensor, rows[:, 0], call.config), codes.index)


def _is_limited(real: Real) -> bool:
    return (real.low, real.high) != (-math.inf, math.inf)


def _pass(call: Call) -> Value:
    value = call.given(0)
    if value is None or len([name for name in call.node.output if name]) > 1:
        raise OnnxError("must have one input and one output")
    return value


# Several tensors, other shapes

def _concat(call: Call) -> Value:
    parts = [call.real(position) for position in range(len(call.inputs))]
    return _joined(call, parts)


def _qlinear_concat(call: Call) -> Value:
    parts = [same_values(call.codes(position, position + 1, position + 2))
             for position in range(2, len(call.inputs), 3)]
    return call.write(_joined(call, parts), call.format(0, 1))


def _joined(call: Call, parts: Sequence[Real]) -> Real:
    shapes = [part.operation.shape for part in parts]
    rank = parts[0].index.ndim
    if call.attributes.get("axis", 1) % (rank + 1) != 1 or rank not in {1, 3}:
        raise OnnxError(f"axis must be the channels (1), not {call.attributes.get('axis', 1)}")
    if any(part.index.ndim != rank or part.index.shape[0] != shape[0]
           or not natural(part.index) for part, shape in zip(parts, shapes, strict=True)) or len(
               {shape[1:] for shape in shapes}) > 1:
        raise OnnxError("joins tensors of different height or width, or in different orders: "
                        f"{', '.join(str(part.index.shape) for part in parts)}")
    channels = sum(shape[0] for shape in shapes)
    shape = channels, *shapes[0][1:]
    return Real(Join(parts, shape), indices(shape, (channels, *parts[0].index.shape[1:])))


def reshaped(call: Call, index: IntArray) -> IntArray:
    """``index`` as the shape operator ``call`` leaves it; the batch stays where it is."""
    batch, kind = call.scope.batch, call.node.op_type
    full = np.broadcast_to(index, (batch, *index.shape))
    if kind == "Flatten":
        axis = call.attributes.get("axis", 1) % (full.ndim + 1)
        result = full.reshape(int(np.prod(full.shape[:axis], dtype=int)), -1)
    elif kind == "Transpose":
        result = full.transpose(call.attributes.get("perm") or range(full.ndim)[::-1])
        if call.attributes.get("perm", [1])[0] != 0:
            raise OnnxError("must leave the batch in the first place")
    elif kind == "Reshape":
        wanted = [full.shape[i] if size == 0 and not call.attributes.get("allowzero", 0) else size
                  for i, size in enumerate(call.array(1, "the new shape").tolist())]
        result = full.reshape(wanted)
    else:
        axes = call.attributes.get("axes")
        if axes is None and call.given(1):
            axes = call.array(1, "axes").tolist()
        if axes is None:
            raise OnnxError("axes must be given")
        result = (np.expand_dims if kind == "Unsqueeze" else np.squeeze)(full, tuple(axes))
    if result.shape[:1] != (batch,) or result[0].size != index.size:
        raise OnnxError(f"must not mix images: {full.shape} becomes {result.shape}")
    return np.asarray(result[0])


def _reshape(call: Call) -> Value:
    value = call.given(0)
    if isinstance(value, Constant):
        return _transposed(call, value)
    assert isinstance(value, Codes | Raw | Real | Host)
    try:
        return replace(value, index=reshaped(call, value.index))
    except (ValueError, IndexError) as error:
        raise OnnxError(str(error)) from None


def _transposed(call: Call, constant: Constant) -> Constant:
    """A quantized weight; its scales go along."""
    if call.node.op_type != "Transpose":
        raise OnnxError("a quantized constant can be transposed but not reshaped")
    order = call.attributes.get("perm") or list(range(constant.data.ndim))[::-1]
    return replace(constant, data=constant.data.transpose(order), axis=order.index(constant.axis))


def _pad(call: Call) -> Value:
    """Zeros around an image, which the convolution that reads it adds to its padding."""
    call.require(mode="constant")
    if call.given(3):
        raise OnnxError("axes must be left out")
    pads = call.attributes.get("pads")
    pads = list(pads if pads is not None else call.array(1, "pads"))
    value = call.given(0)
    assert isinstance(value, Codes | Real)
    zero, fill = 0, call.attributes.get("value", 0.0)
    if isinstance(value, Codes):
        zero = value.tensor.zero_point
    if call.given(2):
        array = call.array(2, "the value")
        fill = int(array.reshape(-1)[0]) - CODE_TYPES[array.dtype.name][1] if (
            array.dtype.name in CODE_TYPES) else float(array.reshape(-1)[0])
    if len(pads) != 8 or min(pads) < 0 or any(pads[:2] + pads[4:6]) or fill != zero:
        raise OnnxError("must put zeros around height and width alone")
    around = zip(value.border, (*pads[2:4], *pads[6:]), strict=True)
    top, left, bottom, right = (int(old + new) for old, new in around)
    return replace(value, border=(top, left, bottom, right))


def _shape_of(call: Call) -> Value:
    value = call.given(0)
    assert isinstance(value, Codes | Raw | Real | Host)
    shape = np.array([call.scope.batch, *value.index.shape])
    return Constant(shape[call.attributes.get("start", 0):call.attributes.get("end", len(shape))])


def _host(call: Call) -> Value:
    value = call.given(0)
    codes = value if isinstance(value, Codes | Host) else call.stored(0)
    shape, axis = codes.index.shape, call.attributes.get("axis", HOST_AXES[call.node.op_type])
    if (axis := axis % (len(shape) + 1)) == 0 or shape[axis - 1] != codes.index.size:
        raise OnnxError(f"must be over the classes, not over axis {axis} of {shape_of(codes)}")
    operator = HOST_OPERATORS[call.node.op_type]
    if isinstance(codes, Host):
        return replace(codes, operators=(*codes.operators, operator))
    return Host(codes.index, codes.tensor, (operator,))


#: Operators that may read zero padding: those that pass it on, and those that have their own.
BORDERED = ("Pad", "QuantizeLinear", "DequantizeLinear", "Identity", "Dropout", "Conv",
            "QLinearConv")
#: Operators that only change how elements are seen.
VIEWS = ("Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
FUNCTIONS = {"Tanh": "tanh", "Sigmoid": "sigmoid", "Selu": "selu", "Elu": "elu", "Gelu": "gelu",
             "Softplus": "softplus", "HardSigmoid": "hardsigmoid", "HardSwish": "hardswish"}
#: What the host does: its name here, and the axis where none is given (since operator set 13).
HOST_OPERATORS = {"Softmax": "softmax", "QLinearSoftmax": "softmax", "LogSoftmax": "log_softmax",
                  "ArgMax": "argmax"}
HOST_AXES = {"Softmax": -1, "QLinearSoftmax": -1, "LogSoftmax": -1, "ArgMax": 0}
HANDLERS: dict[str, Handler] = {
    "QuantizeLinear": _quantize, "DequantizeLinear": _dequantize,
    "Conv": linear.conv, "Gemm": linear.gemm, "MatMul": linear.matmul,
    "MaxPool": linear.max_pool, "AveragePool": linear.average_pool,
    "GlobalAveragePool": linear.global_average_pool, "ReduceMean": linear.reduce_mean,
    "Relu": _relu, "Clip": _clip, "Add": _add, "Concat": _concat,
    "QLinearConv": linear.qlinear_conv, "QGemm": linear.qgemm,
    "QLinearMatMul": linear.qlinear_matmul, "QLinearAdd": _qlinear_add,
    "QLinearConcat": _qlinear_concat, "QLinearAveragePool": linear.qlinear_average_pool,
    "QLinearGlobalAveragePool": linear.qlinear_global_average_pool,
    "QLinearSigmoid": _qlinear_sigmoid,
    "Pad": _pad, "Identity": _pass, "Dropout": _pass, "Shape": _shape_of,
    **dict.fromkeys(HOST_OPERATORS, _host),
    **dict.fromkeys(VIEWS, _reshape),
    **{kind: partial(_activation, function=name) for kind, name in FUNCTIONS.items()}}
