"""Float ONNX networks for tests, quantized by onnxruntime, and what onnxruntime computes."""
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from accel.graph import IntArray

FloatArray = npt.NDArray[np.float32]
OPSET, IR_VERSION = 17, 8


class Builder:
    """A network under construction; a method adds an operator and names its output."""

    def __init__(self, shape: Sequence[int | str], seed: int = 1, kind: int = TensorProto.FLOAT,
                 ) -> None:
        self.rng = np.random.default_rng(seed)
        self.input = helper.make_tensor_value_info("images", kind, shape)
        self.nodes: list[onnx.NodeProto] = []
        self.arrays: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """An operator with one output."""
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [f"{name}_out"], name=name,
                                           domain=domain, **attributes))
        return f"{name}_out"

    def array(self, values: npt.ArrayLike, kind: npt.DTypeLike = np.float32) -> str:
        """A constant of the file."""
        name = f"array{len(self.arrays)}"
        self.arrays.append(numpy_helper.from_array(np.asarray(values, dtype=kind), name))
        return name

    def conv(self, x: str, inputs: int, outputs: int, kernel: int = 3, group: int = 1,
             **attributes: Any) -> str:
        """A convolution with random weights and biases, padded to keep the size."""
        terms = inputs // group * kernel ** 2
        weight = self.rng.normal(0, terms ** -0.5, (outputs, inputs // group, kernel, kernel))
        attributes.setdefault("pads", [kernel // 2] * 4)
        return self.add("Conv", x, self.array(weight), self.array(self.rng.normal(0, 0.3, outputs)),
                        group=group, kernel_shape=[kernel, kernel], **attributes)

    def gemm(self, x: str, inputs: int, outputs: int) -> str:
        """A fully connected layer with random weights."""
        weight = self.rng.normal(0, inputs ** -0.5, (outputs, inputs))
        return self.add("Gemm", x, self.array(weight), self.array(self.rng.normal(0, 0.3, outputs)),
                        transB=1)

    def quantized(self, x: str, scale: float, zero: int, kind: npt.DTypeLike = np.uint8) -> str:
        """``x`` through QuantizeLinear and DequantizeLinear."""
        form = self.array(scale), self.array(zero, kind)
        return self.add("DequantizeLinear", self.add("QuantizeLinear", x, *form), *form)

    def weight(self, codes: npt.ArrayLike, scale: npt.ArrayLike, zero: npt.ArrayLike = 0,
               kind: npt.DTypeLike = np.int8, **attributes: Any) -> str:
        """A quantized constant through DequantizeLinear."""
        return self.add("DequantizeLinear", self.array(codes, kind), self.array(scale),
                        self.array(zero, kind), **attributes)

    def model(self, output: str, kind: int = TensorProto.FLOAT, rank: int = 2) -> onnx.ModelProto:
        """The network that ends in ``output``."""
        target = helper.make_tensor_value_info(output, kind, [None] * rank)
        graph = helper.make_graph(self.nodes, "network", [self.input], [target], self.arrays)
        return helper.make_model(graph, ir_version=IR_VERSION, opset_imports=[
            helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)])


def residual() -> onnx.ModelProto:
    """ResNet-like: convolutions, two additions, one across a stride, maximum and mean pooling."""
    b = Builder(["n", 3, 16, 12])
    x = b.add("Relu", b.conv("images", 3, 8))
    x = b.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    y = b.conv(b.add("Relu", b.conv(x, 8, 8)), 8, 8)
    x = b.add("Relu", b.add("Add", x, y))
    y = b.conv(b.add("Relu", b.conv(x, 8, 16, strides=[2, 2])), 16, 16)
    x = b.add("Add", b.conv(x, 8, 16, 1, strides=[2, 2]), y)
    x = b.add("GlobalAveragePool", b.add("Relu", x))
    return b.model(b.add("Softmax", b.gemm(b.add("Flatten", x), 16, 10)))


def separable() -> onnx.ModelProto:
    """MobileNet-like: depthwise and pointwise convolutions, limits, a concatenation, mean pools."""
    b = Builder(["n", 2, 15, 11], seed=2)
    x = b.conv("images", 2, 8, strides=[2, 2])
    x = b.add("Clip", x, b.array(0.0), b.array(6.0))
    for strides in ([1, 1], [2, 2]):
        x = b.add("Relu", b.conv(x, 8, 8, group=8, strides=strides))
        x = b.add("Clip", b.conv(x, 8, 8, 1), b.array(-0.5), b.array(1.5))
    y = b.conv(x, 8, 6, 3, group=2, dilations=[2, 2], pads=[2, 2, 2, 2])
    x = b.add("Concat", x, y, axis=1)
    x = b.add("AveragePool", x, kernel_shape=[2, 2], strides=[1, 1])
    x = b.add("ReduceMean", x, axes=[2, 3], keepdims=0)
    return b.model(b.gemm(x, 14, 5))


def perceptron() -> onnx.ModelProto:
    """Products of both kinds, on features in an odd order."""
    b = Builder(["n", 6, 5], seed=3)
    x = b.add("Reshape", b.add("Transpose", "images", perm=[0, 2, 1]), b.array([-1, 30], np.int64))
    x = b.add("Relu", b.gemm(x, 30, 24))
    weight = b.rng.normal(0, 0.2, (24, 16))
    x = b.add("Add", b.add("MatMul", x, b.array(weight)), b.array(b.rng.normal(0, 0.3, 16)))
    x = b.gemm(b.add("Relu", x), 16, 12)
    return b.model(b.gemm(x, 12, 4))


class _Images(CalibrationDataReader):     # type: ignore[misc]  # the package has no types
    def __init__(self, images: FloatArray) -> None:
        self.batches: Iterator[FloatArray] = iter(np.split(images, len(images)))

    def get_next(self) -> dict[str, FloatArray] | None:
        """One image, until there are none."""
        image = next(self.batches, None)
        return None if image is None else {"images": image}


def images(model: onnx.ModelProto, count: int, seed: int) -> FloatArray:
    """Random images (count, ...) for a network."""
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    return np.random.default_rng(seed).normal(0.2, 1, (count, *shape)).astype(np.float32)


def quantized(model: onnx.ModelProto, folder: Path, qdq: bool = True, unsigned: bool = True,
              per_channel: bool = True) -> onnx.ModelProto:
    """``model`` as onnxruntime.quantization writes it."""
    plain, result = folder / "float.onnx", folder / "quantized.onnx"
    onnx.save(model, plain)
    quantize_static(
        plain, result, _Images(images(model, 32, 7)),
        QuantFormat.QDQ if qdq else QuantFormat.QOperator, per_channel=per_channel,
        activation_type=QuantType.QUInt8 if unsigned else QuantType.QInt8,
        weight_type=QuantType.QInt8)
    return onnx.load(result)


def trace(model: onnx.ModelProto, batch: npt.NDArray[Any]) -> dict[str, IntArray]:
    """Signed codes of every integer tensor by name, as onnxruntime computes them unfused."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    typed = code_types(model)
    del watched.graph.output[:]
    watched.graph.output.extend(helper.make_tensor_value_info(name, kind, None)
                                for name, kind in typed.items())
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options,
                                           providers=["CPUExecutionProvider"])
    found = session.run(list(typed), {session.get_inputs()[0].name: batch})
    return {name: array.astype(np.int64) - (128 if array.dtype == np.uint8 else 0)
            for name, array in zip(typed, found, strict=True)}


def code_types(model: onnx.ModelProto) -> dict[str, int]:
    """Element types of the tensors of 8-bit codes that operators compute."""
    types = {array.name: array.data_type for array in model.graph.initializer}
    types |= {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    zero = {"QuantizeLinear": 2, "QLinearConv": 7, "QLinearMatMul": 7, "QGemm": 8,
            "QLinearAdd": 7, "QLinearConcat": 1, "QLinearAveragePool": 4,
            "QLinearGlobalAveragePool": 4, "QLinearSigmoid": 4}
    computed = {}
    for node in model.graph.node:
        position = zero.get(node.op_type, 0)
        types[node.output[0]] = types.get(node.input[position], TensorProto.FLOAT)
        if node.op_type in {"DequantizeLinear", "QLinearSoftmax"}:
            types[node.output[0]] = TensorProto.FLOAT
        elif types[node.output[0]] in {TensorProto.INT8, TensorProto.UINT8}:
            computed[node.output[0]] = types[node.output[0]]
    return computed


def one_layer(x: str, b: Builder, kind: str = "Conv", **attributes: Any) -> str:
    """A convolution of 3 to 4 channels or a pooling layer of ``x``, quantized."""
    if kind == "Conv":
        weight = b.weight(b.rng.integers(-128, 128, (4, 3, 3, 3)), b.rng.uniform(0.001, 0.01, 4),
                          np.zeros(4), axis=0)
        x = b.add("Conv", x, weight, **attributes)
    else:
        x = b.add(kind, x, **attributes)
    return b.quantized(x, 0.11, 100)


def padded(b: Builder, x: str, *value: str) -> str:
    """An image with a border of 1, of zeros or of ``value``."""
    return b.add("Pad", x, b.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64), *value)
