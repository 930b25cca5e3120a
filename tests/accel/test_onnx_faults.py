"""`import_onnx`: each fault by name."""
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from accel.graph import GraphError
from accel.onnx_model import OnnxError, import_onnx
from accel.spec.presets import PRESETS
from tests import onnx_models
from tests.onnx_models import Builder, one_layer, padded

ECP5 = PRESETS["ecp5"]


def test_every_unsupported_operator_is_listed_with_its_shapes() -> None:
    b = Builder(["n", 3, 8, 9])
    x = b.quantized("images", 0.05, 7, np.int8)
    x = b.add("Sin", x)
    x = b.add("Erf", b.quantized(x, 0.1, 0))
    x = b.add("LRN", one_layer(x, b), size=3)
    y = b.add("AveragePool", one_layer(b.quantized("images", 0.05, 7, np.int8), b),
              kernel_shape=[2, 2], pads=[1, 1, 0, 0])
    with pytest.raises(OnnxError) as caught:
        import_onnx(b.model(b.quantized(b.add("Add", x, y), 1, 0), rank=4), ECP5)
    message = str(caught.value)
    for fault in ("sin2 (Sin of (n, 3, 8, 9)): Sin is not supported",
                  "erf5 (Erf of ('n', 3, 8, 9)): Erf is not supported",
                  "LRN of ('n', 4, 6, 7)): LRN is not supported",
                  "AveragePool of (n, 4, 6, 7)): padding must count (count_include_pad)",
                  "Supported operators: Add, ArgMax, AveragePool"):
        assert fault in message
    assert message.count(" of ") == 4       # what follows from these is not named


def broken(change: Callable[[Builder, str], str], **model: Any) -> str:
    """Message of a network of a quantized input and whatever ``change`` adds."""
    b = Builder(["n", 3, 8, 9])
    output = change(b, b.quantized("images", 0.05, 7, np.int8))
    with pytest.raises((OnnxError, GraphError)) as caught:
        import_onnx(b.model(output, **{"rank": 4, **model}), ECP5)
    return str(caught.value)


def test_faults_of_single_operators() -> None:
    def conv(b: Builder, x: str, *more: str, scale: Any = 0.01, **attributes: Any) -> str:
        return b.add("Conv", x, b.weight(np.ones((4, 3, 3, 3)), scale), *more, **attributes)

    assert "the bias must be a constant of the file, without NaN" in broken(
        lambda b, x: b.quantized(conv(b, x, b.array([0, np.nan, 0, 0])), 1, 0))
    assert "the weight must be quantized" in broken(
        lambda b, x: b.quantized(b.conv(x, 3, 4), 1, 0))
    assert "a scale must be positive and finite, not nan" in broken(
        lambda b, x: b.quantized(conv(b, x), np.nan, 0))
    assert "a scale must be positive and finite, not -1.0" in broken(
        lambda b, x: b.quantized(conv(b, x, scale=-1.0), 1, 0))
    assert "a requantizer scale must be in [2**-46, 2**15), not" in broken(
        lambda b, x: b.quantized(conv(b, x), 1e-30, 0))
    assert "of its output's, and both positive, not (0.05" in broken(
        lambda b, x: b.quantized(b.add("Add", x, x), 1e-30, 0))
    assert "weight (4, 3, 3, 3) in 3 groups does not fit (3, 8, 9)" in broken(
        lambda b, x: b.quantized(conv(b, x, group=3), 1, 0))
    assert "a window of (21, 3) does not fit the padded input of (8, 9)" in broken(
        lambda b, x: b.quantized(conv(b, x, dilations=[10, 1]), 1, 0))
    assert "behind the operator that computes it" in broken(
        lambda b, x: b.quantized(b.add("Tanh", conv(b, x)), 1, 0))
    assert "output 'conv" in broken(lambda b, x: conv(b, x))
    assert "axis must be the channels (1), not 2" in broken(
        lambda b, x: b.quantized(b.add("Concat", x, x, axis=2), 1, 0))
    assert "the positions of the maxima" in broken(lambda b, x: _two_outputs(b, x))
    assert "must be quantized, by a QuantizeLinear and DequantizeLinear before it" in broken(
        lambda b, x: b.quantized(b.add("Relu", "images"), 1, 0))
    assert "needs a tensor (channels, height, width), but reads (9, 8, 3), which is (3" in broken(
        lambda b, x: one_layer(b.add("Transpose", one_layer(
            x, b, "MaxPool", kernel_shape=[1, 1]), perm=[0, 3, 2, 1]), b))
    assert "must not mix images" in broken(
        lambda b, x: b.quantized(b.add("Reshape", x, b.array([3, 72], np.int64)), 1, 0))
    assert "codes are int16, but config 'ecp5' has activations of 8 bits" in broken(
        lambda b, x: b.quantized(conv(b, x), 1, 0, np.int16))
    assert "alpha must be 1.0, not 2.0" in broken(
        lambda b, x: b.quantized(b.add("Elu", x, alpha=2.0), 1, 0))
    assert "activation 'sigmoid' is not in config 'ecp5', which has relu, tanh, selu" in broken(
        lambda b, x: b.quantized(b.add("Sigmoid", x), 1, 0))
    assert "the graph has no nodes" in broken(lambda b, x: x)
    assert "an accumulator may reach" in broken(lambda b, x: b.quantized(conv(
        b, x, b.array([1e9, 0, 0, 0])), 1, 0))


def test_faults_of_padding() -> None:
    assert "zero padding must be read by a convolution alone" in broken(
        lambda b, x: one_layer(padded(b, x), b, "MaxPool", kernel_shape=[2, 2]))
    assert "must not be padded" in broken(lambda b, x: b.quantized(padded(b, x), 0.05, 7, np.int8))
    assert "must put zeros around height and width alone" in broken(
        lambda b, x: one_layer(padded(b, x, b.array(1.0)), b))


def _two_outputs(b: Builder, x: str) -> str:
    b.add("MaxPool", x, kernel_shape=[2, 2])
    b.nodes[-1].output.append("positions")
    return b.quantized(b.nodes[-1].output[0], 1, 0)


def test_faults_of_files_and_whole_models(tmp_path: Path) -> None:
    with pytest.raises(OnnxError, match=r"cannot read .*none.onnx: No such file"):
        import_onnx(tmp_path / "none.onnx", ECP5)
    model = onnx_models.quantized(onnx_models.perceptron(), tmp_path)
    path = tmp_path / "cut.onnx"
    path.write_bytes(model.SerializeToString()[:-500])
    with pytest.raises(OnnxError, match=r"cut.onnx is not a valid ONNX model: "):
        import_onnx(path, ECP5)
    path.write_bytes(b"")
    with pytest.raises(OnnxError, match=r"cut.onnx is not a valid ONNX model: "):
        import_onnx(path, ECP5)
    with pytest.raises(OnnxError, match=r"constant 'array0': cannot reshape array of size"):
        import_onnx(_short_constant(), ECP5)
    with pytest.raises(OnnxError, match="the model is not a valid ONNX model: "):
        import_onnx(Builder(["n", 3]).model("nothing"), ECP5)
    for shape, fault in ((["n", 3, "rows", 9], "has dynamic sizes rows; only the batch may be"),
                         (["n"], r"must have a shape \(n, features\) or \(n, channels")):
        b = Builder(shape)
        with pytest.raises(OnnxError, match=fault):
            import_onnx(b.model(b.quantized("images", 1, 0)), ECP5)
    b = Builder(["n", 3])
    plain = b.model(b.quantized("images", 1, 0))
    plain.graph.input.append(onnx.helper.make_tensor_value_info("mask", 1, ["n", 3]))
    with pytest.raises(OnnxError, match="must have one input, not 2: images, mask"):
        import_onnx(plain, ECP5)


def test_a_float_network_names_each_operator_that_is_not_quantized() -> None:
    with pytest.raises(OnnxError) as caught:
        import_onnx(onnx_models.residual(), ECP5)
    assert "conv0 (Conv of (n, 3, 16, 12), (8, 3, 3, 3), (8,)): its input must be quantized" in str(
        caught.value)


def _short_constant() -> onnx.ModelProto:
    b = Builder(["n", 3, 8, 9])
    model = b.model(b.conv("images", 3, 4), rank=4)
    model.graph.initializer[0].dims[0] = 5
    return model
