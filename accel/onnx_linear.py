"""ONNX operators that sum over windows or features: convolutions, products and pooling."""
from collections.abc import Sequence

import numpy as np

from accel.graph import IntArray, Padding, Tensor
from accel.onnx_call import Call, image, indices
from accel.onnx_values import (
    Codes,
    Constant,
    FloatArray,
    Linear,
    Mean,
    OnnxError,
    Pair,
    Pool,
    Real,
    Shape,
    Value,
)
from accel.spec.cells import Operation

#: Largest relative difference of two scales that are meant to be equal (both are float32).
SCALE_TOLERANCE = 1e-6


def conv(call: Call) -> Real:
    """``Conv``: input, weight, bias."""
    return _convolve(call, call.stored(0), call.constant(1, "the weight"), call.given(2))


def qlinear_conv(call: Call) -> Codes:
    """``QLinearConv``: input, weight and output, each with scale and zero point; bias."""
    x, weight = call.codes(0, 1, 2), call.quantized(3, 4, 5, axis=0)
    return call.write(_convolve(call, x, weight, _accumulators(call, 8, x.tensor, weight)),
                      call.format(6, 7))


def gemm(call: Call) -> Real:
    """``Gemm``: input, weight, bias."""
    return _product(call, call.stored(0), call.constant(1, "the weight"), call.given(2))


def qgemm(call: Call) -> Codes:
    """``QGemm``: input and weight, each with scale and zero point; bias; the output's format."""
    if call.given(7) is None:
        raise OnnxError("its output must be quantized")
    x = call.codes(0, 1, 2)
    weight = call.quantized(3, 4, 5, axis=0 if call.attributes.get("transB", 0) else 1)
    return call.write(_product(call, x, weight, _accumulators(call, 6, x.tensor, weight)),
                      call.format(7, 8))


def matmul(call: Call) -> Real:
    """``MatMul`` by a constant."""
    return _product(call, call.stored(0), call.constant(1, "the second factor"), None)


def qlinear_matmul(call: Call) -> Codes:
    """``QLinearMatMul``: both factors and the output, each with scale and zero point."""
    x, weight = call.codes(0, 1, 2), call.quantized(3, 4, 5, axis=1)
    return call.write(_product(call, x, weight, None), call.format(6, 7))


def _accumulators(call: Call, position: int, x: Tensor, weight: Constant) -> Constant | None:
    """The int32 bias of a QOperator, which is in accumulators."""
    if call.given(position) is None:
        return None
    scale = x.scale * (np.ones(1) if weight.scale is None else weight.scale)
    return Constant(call.array(position, "the bias"), scale)


def _convolve(call: Call, read: Codes, weight: Constant, bias: Value | None) -> Real:
    x = image(read)
    codes, scale = _weights(call, weight, x, axis=0)
    if codes.ndim != 4:
        raise OnnxError(f"the weight must have 4 dimensions, not {codes.shape}")
    out, depth, rows, cols = codes.shape
    groups = int(call.attributes.get("group", 1))
    if depth * groups != x.shape[0] or out % groups:
        raise OnnxError(f"weight {codes.shape} in {groups} groups does not fit {x.shape}")
    stride, dilation = _pair(call, "strides"), _pair(call, "dilations")
    extent = (rows - 1) * dilation[0] + 1, (cols - 1) * dilation[1] + 1
    top, left, bottom, right = read.border
    size = x.shape[1] + top + bottom, x.shape[2] + left + right
    first, second, third, fourth = _padding(call, size, extent, stride)
    padding = top + first, left + second, bottom + third, right + fourth
    shape = _shape(out, x, extent, stride, padding)
    return Real(Linear(x, shape, codes, scale, _bias(bias, scale), stride, padding, dilation,
                       groups), indices(shape))


def _product(call: Call, x: Codes, weight: Constant, bias: Value | None) -> Real:
    """A convolution whose kernel covers its input, in whatever order ONNX sees it."""
    call.require(transA=0)
    if weight.data.ndim != 2:
        raise OnnxError(f"the second factor must have 2 dimensions, not {weight.data.shape}")
    axis = 0 if call.attributes.get("transB", 0) else 1
    codes, scale = _weights(call, weight, x.tensor, axis)
    codes = codes if axis == 0 else codes.T
    out, terms = codes.shape
    if x.index.size != terms or x.index.shape[-1] != terms:
        raise OnnxError(f"needs {terms} features, not {x.index.shape}")
    ordered = np.empty_like(codes)
    ordered[:, x.index.reshape(-1)] = codes
    alpha, beta = (float(call.attributes.get(name, 1.0)) for name in ("alpha", "beta"))
    if alpha <= 0:
        raise OnnxError(f"alpha must be positive, not {alpha}")
    scale = scale * alpha
    linear = Linear(x.tensor, (out, 1, 1), ordered.reshape(out, *x.tensor.shape), scale,
                    _bias(bias, scale) * beta)
    return Real(linear, indices((out, 1, 1), (*x.index.shape[:-1], out)))


def _weights(call: Call, weight: Constant, x: Tensor, axis: int) -> tuple[IntArray, FloatArray]:
    """Integer weights, and the scale of each output channel's accumulators."""
    if weight.scale is None:
        raise OnnxError("the weight must be quantized")
    out = weight.data.shape[axis]
    if weight.scale.size not in {1, out} or (weight.scale.size > 1 and weight.axis != axis):
        raise OnnxError(f"the weight must have one scale or one of each of {out} output channels")
    codes, cell = weight.codes, call.config.cell_spec
    codable = set(cell.weights_of(Operation.PRODUCT)) if (
        Operation.PRODUCT in cell.operations) else set()
    if strange := sorted(set(np.unique(codes).tolist()) - codable):
        raise OnnxError(f"weights less their zero point are {strange[0]}..{strange[-1]} in places, "
                        f"which have no code in a {cell.kind} cell of {cell.weight_bits} bits")
    return codes, np.broadcast_to(x.scale * weight.scale, out)


def _bias(value: Value | None, scale: FloatArray) -> FloatArray:
    """Bias (out,) in accumulators of ``scale``."""
    if value is None:
        return np.zeros(len(scale))
    if not isinstance(value, Constant) or not np.isfinite(value.real).all():
        raise OnnxError("the bias must be a constant of the file, without NaN or infinity")
    if value.scale is not None and np.allclose(value.scale, scale, rtol=SCALE_TOLERANCE, atol=0):
        return np.broadcast_to(value.codes.astype(np.float64).reshape(-1), len(scale))
    return np.broadcast_to(value.real.reshape(-1), len(scale)) / scale


# Pooling

def max_pool(call: Call) -> Value:
    """``MaxPool``, of values or of codes."""
    call.require(dilations=[1, 1], storage_order=0)
    if len(call.node.output) > 1:
        raise OnnxError("the positions of the maxima are not computed")
    if isinstance(value := call.given(0), Codes):
        real = _pool(call, value)
        return call.write(real, (value.tensor.scale, value.tensor.zero_point))
    return _pool(call, call.stored(0))


def _pool(call: Call, codes: Codes) -> Real:
    x = image(codes)
    kernel, stride = _pair(call, "kernel_shape"), _pair(call, "strides")
    top, left, bottom, right = _padding(call, x.shape[1:], kernel, stride)
    more = _ceiling(call, x, kernel, stride, (top, left, bottom, right))
    padding = top, left, bottom + more[0], right + more[1]
    shape = _shape(x.shape[0], x, kernel, stride, padding)
    return Real(Pool(x, shape, kernel, stride, padding), indices(shape))


def average_pool(call: Call) -> Real:
    """``AveragePool``."""
    return _average(call, image(call.stored(0)))


def qlinear_average_pool(call: Call) -> Codes:
    """``QLinearAveragePool``: input and output, each with scale and zero point."""
    call.require(channels_last=0)
    return call.write(_average(call, image(call.codes(0, 1, 2))), call.format(3, 4))


def _average(call: Call, x: Tensor) -> Real:
    call.require(dilations=[1, 1])
    kernel, stride = _pair(call, "kernel_shape"), _pair(call, "strides")
    padding = _padding(call, x.shape[1:], kernel, stride)
    if any(padding) and not call.attributes.get("count_include_pad", 0):
        raise OnnxError("padding must count (count_include_pad): a convolution divides all "
                        "windows by one number")
    if any(_ceiling(call, x, kernel, stride, padding)):
        raise OnnxError("ceil_mode must not add windows")
    shape = _shape(x.shape[0], x, kernel, stride, padding)
    return Real(Mean(x, shape, kernel, stride, padding), indices(shape))


def global_average_pool(call: Call) -> Real:
    """``GlobalAveragePool``."""
    return _global_average(image(call.stored(0)))


def qlinear_global_average_pool(call: Call) -> Codes:
    """``QLinearGlobalAveragePool``: input and output, each with scale and zero point."""
    call.require(channels_last=0)
    return call.write(_global_average(image(call.codes(0, 1, 2))), call.format(3, 4))


def reduce_mean(call: Call) -> Real:
    """``ReduceMean`` over height and width."""
    axes = call.attributes.get("axes")
    if axes is None:
        axes = call.array(1, "axes").tolist()
    if sorted(axis % 4 for axis in axes) != [2, 3]:
        raise OnnxError(f"axes must be height and width (2, 3), not {axes}")
    real = _global_average(image(call.stored(0)))
    if call.attributes.get("keepdims", 1):
        return real
    return Real(real.operation, real.index.reshape(-1))


def _global_average(x: Tensor) -> Real:
    shape = x.shape[0], 1, 1
    return Real(Mean(x, shape, (x.shape[1], x.shape[2])), indices(shape))


# Windows

def _pair(call: Call, name: str) -> Pair:
    values = call.attributes.get(name, [1, 1])
    if len(values) != 2:
        raise OnnxError(f"{name} must be of two dimensions, not {values}")
    return int(values[0]), int(values[1])


def _padding(call: Call, size: Pair, extent: Pair, stride: Pair) -> Padding:
    mode = call.attributes.get("auto_pad", "NOTSET")
    if mode in {"NOTSET", "VALID"}:
        pads = call.attributes.get("pads", [0] * 4) if mode == "NOTSET" else [0] * 4
        if len(pads) != 4 or min(pads) < 0:
            raise OnnxError(f"pads must be 4 numbers of at least 0, not {pads}")
        return int(pads[0]), int(pads[1]), int(pads[2]), int(pads[3])
    total = [max((-(-n // s) - 1) * s + k - n, 0)
             for n, s, k in zip(size, stride, extent, strict=True)]
    less, more = [t // 2 for t in total], [t - t // 2 for t in total]
    first, last = (less, more) if mode == "SAME_UPPER" else (more, less)
    return first[0], first[1], last[0], last[1]


def _ceiling(call: Call, x: Tensor, kernel: Pair, stride: Pair, padding: Padding) -> Sequence[int]:
    """Rows and columns that ceil_mode adds; a window must begin in the input or its padding."""
    if not call.attributes.get("ceil_mode", 0):
        return 0, 0
    more = []
    for n, k, s, first, last in zip(x.shape[1:], kernel, stride, padding[:2], padding[2:],
                                    strict=True):
        windows = -(-(n + first + last - k) // s) + 1
        if (windows - 1) * s >= n + first:
            windows -= 1
        more.append(max(0, (windows - 1) * s + k - n - first - last))
    return more


def _shape(channels: int, x: Tensor, extent: Pair, stride: Pair, padding: Padding) -> Shape:
    top, left, bottom, right = padding
    rows, cols = x.shape[1] + top + bottom, x.shape[2] + left + right
    if extent[0] > rows or extent[1] > cols:
        raise OnnxError(f"a window of {extent} does not fit the padded input of {(rows, cols)}")
    return channels, (rows - extent[0]) // stride[0] + 1, (cols - extent[1]) // stride[1] + 1
