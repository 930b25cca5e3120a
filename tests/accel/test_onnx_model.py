"""`import_onnx`: every layer next to onnxruntime's, layouts, formats."""
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from accel import golden
from accel.graph import Activation, Clamp, Concat, Conv2d, Graph, IntArray, MaxPool2d
from accel.onnx_model import OnnxError, import_onnx
from accel.spec.config import AccelConfig
from accel.spec.presets import PRESETS
from tests import onnx_models
from tests.onnx_models import Builder, one_layer, padded

ECP5 = PRESETS["ecp5"]
TFLITE = replace(ECP5, rounding="tflite")
NETWORKS = [onnx_models.residual, onnx_models.separable, onnx_models.perceptron]
#: Share of outputs, over a network, that equal onnxruntime's: ties in means differ most.
EQUAL = 0.97


def differences(network: Graph, model: onnx.ModelProto, batch: Any, config: AccelConfig = ECP5,
                ) -> IntArray:
    """Codes of all layers less onnxruntime's, each layer fed onnxruntime's inputs."""
    codes = onnx_models.trace(model, batch)
    known = {network.input.name: _input_codes(network, model, batch, codes)}
    found = []
    for node in network.nodes:
        read = [torch.from_numpy(known[source.name]) for source in node.inputs]
        result = golden.compute(node, read, config).numpy()
        wanted = codes.get(node.output.name)
        known[node.output.name] = result if wanted is None else wanted.reshape(result.shape)
        if wanted is not None:
            found.append((result - known[node.output.name]).reshape(-1))
    return np.concatenate(found)


def _input_codes(network: Graph, model: onnx.ModelProto, batch: Any, codes: dict[str, IntArray],
                 ) -> IntArray:
    first = next((node for node in model.graph.node if node.op_type == "QuantizeLinear"
                  and codes[node.output[0]].size == batch.size), None)
    if batch.dtype == np.float32 and first is not None:
        batch = codes[first.output[0]]
    elif batch.dtype == np.uint8:
        batch = batch.astype(np.int64) - 128
    return batch.astype(np.int64).reshape(-1, *network.input.shape)


@pytest.mark.parametrize("unsigned", [True, False], ids=["uint8", "int8"])
@pytest.mark.parametrize("qdq", [True, False], ids=["qdq", "qoperator"])
@pytest.mark.parametrize("make", NETWORKS)
def test_every_layer_is_within_1_of_onnxruntime(make: Callable[[], onnx.ModelProto], qdq: bool,
                                                unsigned: bool, tmp_path: Path) -> None:
    model = onnx_models.quantized(make(), tmp_path, qdq, unsigned)
    network = import_onnx(tmp_path / "quantized.onnx", ECP5)
    found = differences(network, model, onnx_models.images(model, 40, 9))
    assert abs(found).max() <= 1
    assert (found == 0).mean() > EQUAL
    computed = onnx_models.code_types(model)
    assert network.output.name in computed
    assert sum(node.output.name in computed for node in network.nodes) > 4


@pytest.mark.parametrize("make", NETWORKS)
def test_one_scale_for_all_weights_and_the_other_rounding(make: Callable[[], onnx.ModelProto],
                                                          tmp_path: Path) -> None:
    model = onnx_models.quantized(make(), tmp_path, per_channel=False)
    batch = onnx_models.images(model, 40, 9)
    assert abs(differences(import_onnx(model, ECP5), model, batch)).max() <= 1
    assert abs(differences(import_onnx(model, TFLITE), model, batch, TFLITE)).max() <= 1


def test_the_whole_network_stays_close_to_the_float_one(tmp_path: Path) -> None:
    plain = onnx_models.residual()
    model = onnx_models.quantized(plain, tmp_path)
    network, batch = import_onnx(model, ECP5), onnx_models.images(model, 40, 9)
    codes = _input_codes(network, model, batch, onnx_models.trace(model, batch))
    last = golden.run(network, codes, ECP5)[network.output.name].numpy()[..., 0, 0]
    wanted = onnx_models.trace(model, batch)[network.output.name]
    assert abs(last - wanted).max() <= 3
    assert (last.argmax(1) == wanted.argmax(1)).mean() > 0.9


def within_1(b: Builder, output: str, config: AccelConfig = ECP5, kind: int = TensorProto.FLOAT,
             rank: int = 4) -> Graph:
    """The graph of the network that ends in ``output``, after comparing it with onnxruntime."""
    model = b.model(output, kind, rank)
    network = import_onnx(model, config)
    shape = [dim.dim_value or 20 for dim in b.input.type.tensor_type.shape.dim]
    rng = np.random.default_rng(5)
    if b.input.type.tensor_type.elem_type == TensorProto.FLOAT:
        batch = rng.normal(0, 1.5, shape).astype(np.float32)
    elif b.input.type.tensor_type.elem_type == TensorProto.UINT8:
        batch = rng.integers(0, 256, shape).astype(np.uint8)
    else:
        batch = rng.integers(-128, 128, shape).astype(np.int8)
    assert abs(differences(network, model, batch, config)).max() <= 1
    return network


@pytest.mark.parametrize(("kind", "attributes"), [
    ("Conv", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("Conv", {"auto_pad": "SAME_LOWER", "strides": [2, 1], "dilations": [1, 1]}),
    ("Conv", {"auto_pad": "VALID"}), ("Conv", {"pads": [0, 2, 1, 0], "dilations": [2, 3]}),
    ("MaxPool", {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1}),
    ("MaxPool", {"kernel_shape": [2, 2], "strides": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1}),
    ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 0, 1, 1], "count_include_pad": 1}),
    ("AveragePool", {"kernel_shape": [2, 5], "strides": [2, 1], "ceil_mode": 1}),
    ("GlobalAveragePool", {}), ("ReduceMean", {"axes": [-1, 2]}),
], ids=str)
def test_windows(kind: str, attributes: dict[str, Any]) -> None:
    b = Builder(["n", 3, 8, 9])
    x = b.quantized("images", 0.05, 7, np.int8)
    within_1(b, one_layer(x, b, kind, **attributes))


@pytest.mark.parametrize("zero", [0, 128, 250])
def test_limits_fall_into_the_format_or_become_a_clamp(zero: int) -> None:
    b = Builder(["n", 3, 8, 9])
    x = b.add("Relu", one_layer(b.quantized("images", 0.05, 7, np.int8), b))
    limited = b.quantized(b.add("Clip", x, "", b.array(6.0)), 0.1, zero)
    network = within_1(b, limited)
    clamps = [node for node in network.nodes if isinstance(node, Clamp)]
    high = min(127, zero - 128 + 60)
    assert [(clamp.low, clamp.high) for clamp in clamps] == (
        [(zero - 128, high)] if zero or high < 127 else [])


def test_pooling_and_limits_without_codes_in_between() -> None:
    b = Builder(["n", 3, 8, 9])
    x = b.add("Relu", b.add("MaxPool", b.quantized("images", 0.05, 7, np.int8),
                            kernel_shape=[2, 2]))
    network = within_1(b, b.quantized(x, 0.05, 7, np.int8))
    assert [type(node) for node in network.nodes] == [MaxPool2d, Clamp]
    x = b.add("MaxPool", b.quantized("images", 0.05, 7, np.int8), kernel_shape=[2, 2])
    network = within_1(b, one_layer(x, b))      # a convolution reads the pooled codes
    assert [type(node) for node in network.nodes] == [MaxPool2d, Conv2d]


def test_a_file_that_starts_with_codes_and_moves_channels_first() -> None:
    b = Builder([1, 8, 9, 3], kind=TensorProto.UINT8)
    x = b.add("DequantizeLinear", "images", b.array(0.05), b.array(9, np.uint8))
    x = b.add("Transpose", x, perm=[0, 3, 1, 2])
    x = b.quantized(x, 0.05, 9)         # the same format again costs nothing
    y = one_layer(x, b)
    network = import_onnx(b.model(b.add("Transpose", y, perm=[0, 2, 3, 1]), rank=4), ECP5)
    assert network.input.shape == (3, 8, 9)
    assert (network.input.name, network.input.zero_point) == ("images", 9 - 128)
    batch = np.random.default_rng(1).integers(0, 256, (1, 8, 9, 3)).astype(np.uint8)
    wanted = onnx_models.trace(b.model(y, rank=4), batch)[network.output.name]
    codes = batch.transpose(0, 3, 1, 2).astype(np.int64) - 128
    assert abs(golden.run(network, codes, ECP5)[network.output.name].numpy() - wanted).max() <= 1


def test_features_are_found_in_any_order() -> None:
    b = Builder(["n", 3, 4, 5])
    y = one_layer(b.quantized("images", 0.05, 7, np.int8), b, pads=[1] * 4)
    x = b.add("Flatten", b.add("Transpose", y, perm=[0, 2, 3, 1]))
    weight = b.weight(b.rng.integers(-128, 128, (80, 6)), b.rng.uniform(0.001, 0.004, 6),
                      np.zeros(6), axis=1)
    network = within_1(b, b.quantized(b.add("MatMul", x, weight), 0.07, 120), rank=2)
    assert network.nodes[-1].output.shape == (6, 1, 1)


def test_batch_from_the_input_as_torch_writes_a_flatten() -> None:
    b = Builder(["n", 3, 4, 5])
    x = b.quantized("images", 0.05, 7, np.int8)
    size = b.add("Gather", b.add("Shape", x), b.array([0], np.int64), axis=0)
    x = b.add("Reshape", x, b.add("Concat", size, b.array([-1], np.int64), axis=0))
    weight = b.weight(b.rng.integers(-128, 128, (6, 60)), 0.003)
    x = b.add("Gemm", b.add("Identity", x), b.add("Transpose", weight, perm=[1, 0]),
              b.array(b.rng.normal(0, 1, 6)))
    within_1(b, b.quantized(x, 0.07, 120), rank=2)


def test_weights_with_a_zero_point_are_folded_exactly() -> None:
    b = Builder(["n", 3, 8, 9])
    codes = b.rng.integers(0, 256, (4, 3, 3, 3))
    x = b.add("Conv", b.quantized("images", 0.05, 7), b.weight(codes, 0.004, 128, np.uint8))
    network = within_1(b, b.quantized(x, 0.11, 100))
    assert isinstance(network.nodes[0], Conv2d)
    assert np.array_equal(network.nodes[0].weight, codes - 128)
    b = Builder(["n", 3, 8, 9])
    x = b.add("Conv", b.quantized("images", 0.05, 7), b.weight(codes, 0.004, 120, np.uint8))
    with pytest.raises(OnnxError, match=r"less their zero point are 128..131 in places, which have "
                       r"no code in a mac cell of 8 bits"):
        import_onnx(b.model(b.quantized(x, 0.11, 100), rank=4), ECP5)


def test_concatenation_of_other_formats_and_a_constant_of_each_channel() -> None:
    b = Builder(["n", 3, 8, 9])
    x = b.quantized("images", 0.05, 7, np.int8)
    y = one_layer(x, b, pads=[1] * 4)
    joined = b.quantized(b.add("Concat", x, y, axis=1), 0.11, 100)
    x = b.add("Add", joined, b.array(b.rng.normal(0, 1, (7, 1, 1))))
    network = within_1(b, b.quantized(x, 0.13, 90))
    (concat,) = [node for node in network.nodes if isinstance(node, Concat)]
    assert concat.inputs[1] == network.nodes[0].output      # in the format already
    assert len(network.nodes) == 4


def test_zero_padding_goes_into_the_convolution_behind_it() -> None:
    b = Builder(["n", 3, 8, 9])
    x = b.add("Pad", b.quantized("images", 0.05, 7, np.int8),
              b.array([0, 0, 0, 2, 0, 0, 1, 0], np.int64))
    x = b.quantized(x, 0.05, 7, np.int8)
    network = within_1(b, one_layer(x, b, auto_pad="SAME_UPPER", strides=[2, 2]))
    (conv,) = network.nodes
    assert isinstance(conv, Conv2d)
    assert conv.padding == (1, 3, 2, 1)


def test_zero_padding_of_codes(tmp_path: Path) -> None:
    b = Builder(["n", 3, 8, 9])
    x = b.conv(padded(b, b.add("Relu", b.conv("images", 3, 4))), 4, 5, pads=[0, 1, 0, 0])
    model = onnx_models.quantized(b.model(x, rank=4), tmp_path, qdq=False)
    assert "Pad" in {node.op_type for node in model.graph.node}
    network = import_onnx(model, ECP5)
    assert abs(differences(network, model, onnx_models.images(model, 9, 9))).max() <= 1


def test_float_weights_that_the_file_quantizes() -> None:
    b = Builder(["n", 3, 8, 9])
    weight = b.quantized(b.array(b.rng.normal(0, 0.2, (4, 3, 3, 3))), 0.005, 0, np.int8)
    x = b.add("Conv", b.quantized("images", 0.05, 7), weight)
    within_1(b, b.quantized(x, 0.11, 100))


def test_activations_whose_formats_match() -> None:
    b = Builder(["n", 3, 8, 9])
    x = b.quantized(one_layer(b.quantized("images", 0.05, 7, np.int8), b), 1 / 32, 0, np.int8)
    network = within_1(b, b.quantized(b.add("Tanh", x), 1 / 128, 0, np.int8))
    assert isinstance(network.nodes[-1], Activation)
    b.add("Tanh", b.quantized("images", 0.05, 7, np.int8))
    with pytest.raises(OnnxError, match=r"scale and zero point of its input and output are .*; "
                       r"tanh of config 'ecp5' has \(0.03125, 0\) and \(0.0078125, 0\)"):
        import_onnx(b.model(b.quantized(b.nodes[-1].output[0], 1 / 128, 0, np.int8), rank=4), ECP5)


def test_dead_branches_and_a_host_part_are_left_out() -> None:
    b = Builder(["n", 3, 8, 9])
    x = b.quantized("images", 0.05, 7, np.int8)
    y = one_layer(x, b)
    one_layer(x, b)
    flat = b.quantized(b.add("Softmax", b.add("Flatten", y)), 1 / 256, 0)
    model = b.model(b.add("ArgMax", flat, axis=1), TensorProto.INT64)
    graph = import_onnx(model, ECP5)
    assert len(graph.nodes) == 1
    assert graph.host == ("softmax", "argmax")


@pytest.mark.parametrize(("kind", "axis", "named"), [("ArgMax", None, 0), ("Softmax", 2, 2),
                                                     ("LogSoftmax", -1, 3)])
def test_a_host_part_is_over_the_classes(kind: str, axis: int | None, named: int) -> None:
    b = Builder(["n", 3, 8, 9])
    y = one_layer(b.quantized("images", 0.05, 7, np.int8), b)
    output = b.add(kind, y, **({} if axis is None else {"axis": axis}))
    with pytest.raises(OnnxError, match=rf"{kind} of .* must be over the classes, not over axis "
                                        rf"{named} of \(n, 4, 6, 7\)"):
        import_onnx(b.model(output, rank=4), ECP5)
