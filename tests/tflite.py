"""Writes one-operator int8 .tflite models and runs them on TensorFlow Lite Micro's kernels."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from tflite_micro import runtime
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

from accel.graph import IntArray

VERSION = 3                 # of the file format
ARENA_BYTES = 1 << 22       # for an interpreter's tensors
TYPES = {"int8": schema.TensorType.INT8, "int32": schema.TensorType.INT32}


@dataclass(frozen=True)
class Quantized:
    """A tensor of the file: shape, scales (one or one per channel), zero point, constant data."""

    shape: tuple[int, ...]
    scales: tuple[float, ...]
    zero_point: int = 0
    axis: int = 0
    data: npt.NDArray[Any] | None = None


def model(operator: str, options: Mapping[str, Any], inputs: Sequence[Quantized],
          output: Quantized) -> bytes:
    """A file with one operator; ``options`` are the fields of its options table."""
    buffers = [_new(schema.BufferT())]      # buffer 0 means: no data
    tensors = [_tensor(index, tensor, buffers) for index, tensor in enumerate((*inputs, output))]
    count = len(inputs)
    kind = _options_name(operator)
    node = _new(schema.OperatorT(), opcodeIndex=0, inputs=list(range(count)), outputs=[count],
                builtinOptionsType=getattr(schema.BuiltinOptions, kind),
                builtinOptions=_new(getattr(schema, f"{kind}T")(), **options))
    read = [index for index, tensor in enumerate(inputs) if tensor.data is None]
    graph = _new(schema.SubGraphT(), tensors=tensors, inputs=read, outputs=[count],
                 operators=[node])
    number = getattr(schema.BuiltinOperator, operator)
    code = _new(schema.OperatorCodeT(), builtinCode=number, deprecatedBuiltinCode=number,
                version=5)
    whole = _new(schema.ModelT(), version=VERSION, operatorCodes=[code], subgraphs=[graph],
                 buffers=buffers)
    builder = flatbuffers.Builder(1024)
    builder.Finish(whole.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def run(content: bytes, *inputs: IntArray) -> IntArray:
    """Outputs (n, ...) for the images (n, ...) of each input, by the reference kernels."""
    interpreter = runtime.Interpreter.from_bytes(content, arena_size=ARENA_BYTES)
    outputs = []
    for image in zip(*inputs, strict=True):
        for index, codes in enumerate(image):
            shape = interpreter.get_input_details(index)["shape"]
            interpreter.set_input(codes.reshape(shape).astype(np.int8), index)
        interpreter.invoke()
        outputs.append(interpreter.get_output(0)[0].astype(np.int64))
    return np.stack(outputs)


def _options_name(operator: str) -> str:
    return {"CONV_2D": "Conv2DOptions", "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
            "FULLY_CONNECTED": "FullyConnectedOptions", "ADD": "AddOptions",
            "AVERAGE_POOL_2D": "Pool2DOptions", "MAX_POOL_2D": "Pool2DOptions"}[operator]


def _tensor(index: int, tensor: Quantized, buffers: list[Any]) -> Any:
    buffer, kind = 0, "int8"
    if tensor.data is not None:
        buffer, kind = len(buffers), tensor.data.dtype.name
        buffers.append(_new(schema.BufferT(), data=list(tensor.data.tobytes())))
    quantization = _new(schema.QuantizationParametersT(), scale=list(tensor.scales),
                        zeroPoint=[tensor.zero_point] * len(tensor.scales),
                        quantizedDimension=tensor.axis)
    return _new(schema.TensorT(), shape=list(tensor.shape), type=TYPES[kind], buffer=buffer,
                name=f"t{index}", quantization=quantization)


def _new(table: Any, **fields: Any) -> Any:
    for name, value in fields.items():
        assert hasattr(table, name), name
        setattr(table, name, value)
    return table
