"""`verify` names every fault of a graph, in one error."""
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from accel.graph import (
    Activation,
    Add,
    Clamp,
    Concat,
    Conv2d,
    Graph,
    GraphError,
    MaxPool2d,
    Node,
    Tensor,
)
from accel.spec.cells import Operation
from accel.spec.config import AccelConfig
from accel.spec.presets import PRESETS
from accel.verify import verify
from tests import configs

TINY = PRESETS["tiny"]
SHIFTADD = PRESETS["tiny-shiftadd"]
TFLITE = replace(TINY, rounding="tflite")
X = Tensor("x", (4, 6, 6), 0.5, 3)
Y = replace(X, name="y")
HALF = replace(X, name="y", shape=(4, 3, 3))


def conv(**changes: Any) -> Conv2d:
    """A legal depthwise 3x3 convolution of `X`, with changes."""
    fields: dict[str, Any] = {
        "name": "n", "input": X, "output": Y, "weight": np.ones((4, 1, 3, 3), np.int64),
        "bias": np.zeros(4, np.int64), "multiplier": np.full(4, 70000),
        "shift": np.full(4, 20), "padding": (1, 1, 1, 1), "groups": 4}
    return Conv2d(**{**fields, **changes})


def add(**changes: Any) -> Add:
    """A legal addition of `X` to itself, with changes."""
    fields: dict[str, Any] = {"name": "n", "inputs": (X, X), "output": Y, "multipliers": (9, 9),
                              "shifts": (0, 0), "multiplier": 1, "shift": 7}
    return Add(**{**fields, **changes})


def distance(**changes: Any) -> Conv2d:
    """The same as sums of distances, of either sign."""
    return conv(**{"operation": Operation.DISTANCE, "multiplier": np.array([128, -128, 112, -96]),
                   **changes})


LEGAL: list[tuple[Node, AccelConfig]] = [
    (conv(), TINY), (conv(shift=np.full(4, 31)), TFLITE), (conv(offset=-128), TINY),
    (conv(weight=np.ones((8, 2, 3, 2), np.int64), bias=np.zeros(8, np.int64), groups=2,
          multiplier=np.full(8, 131071), shift=np.full(8, 63), stride=(2, 1), dilation=(2, 3),
          padding=(0, 1, 1, 2), output=Tensor("y", (8, 2, 6), 1.0, 0)), TINY),
    (distance(), SHIFTADD), (distance(), configs.ADD), (distance(groups=2, weight=np.full(
        (4, 2, 3, 3), -128)), SHIFTADD), (add(multipliers=(128, 0)), SHIFTADD),
    (conv(multiplier=np.full(4, 128)), configs.ADD),     # sums are distances from the lowest code
    (add(), TINY), (add(multipliers=(65535, 0), shift=40), TINY),
    (add(multipliers=(1 << 30, 3), shifts=(31, 62), multiplier=2 ** 31 - 1, shift=31), TFLITE),
    (Clamp("n", X, Y, 3, 3), TINY), (Activation("n", X, Y, "relu"), TINY),
    (MaxPool2d("n", X, HALF, (2, 3), (2, 2), (0, 1, 0, 0)), TINY),
    (Concat("n", (X, X, X), replace(Y, shape=(12, 6, 6))), TINY),
]


@pytest.mark.parametrize(("node", "config"), LEGAL, ids=lambda value: type(value).__name__)
def test_legal_nodes_pass(node: Node, config: AccelConfig) -> None:
    verify(Graph("g", X, (node,)), config)


FAULTS: list[tuple[Node, AccelConfig, str]] = [
    (conv(groups=3), TINY, "groups must divide the 4 input and 4 output channels, not be 3"),
    (conv(groups=0), TINY, "groups must divide the 4 input and 4 output channels, not be 0"),
    (conv(groups=2), TINY, "weights for 2 input channels, but the input has 4"),
    (conv(weight=np.ones((4, 9), np.int64)), TINY, "weight must have shape (out, in / groups, "),
    (conv(weight=np.ones((4, 1, 0, 3), np.int64)), TINY, "each at least 1, not (4, 1, 0, 3)"),
    (conv(output=HALF), TINY, "output shape must be (4, 6, 6), not (4, 3, 3)"),
    (conv(stride=(0, 1)), TINY, "stride must be 2 numbers of at least 1, not (0, 1)"),
    (conv(dilation=(1, 0)), TINY, "dilation must be 2 numbers of at least 1, not (1, 0)"),
    (conv(padding=(1, 1)), TINY, "padding must be 4 numbers of at least 0, not (1, 1)"),
    (conv(padding=(1, 1, -1, 1)), TINY, "padding must be 4 numbers of at least 0"),
    (conv(dilation=(4, 1)), TINY, "a window of (9, 3) does not fit the padded input of (8, 8)"),
    (conv(bias=np.zeros(3, np.int64)), TINY, "bias must have shape (4,), not (3,)"),
    (conv(multiplier=np.ones((4, 1), np.int64)), TINY, "multiplier must have shape (4,), not (4,"),
    (conv(shift=np.full(4, 20.0)), TINY, "shift must be int64, not float64"),
    (conv(weight=np.full((4, 1, 3, 3), 128)), TINY, "weights [128] have no code in a mac cell"),
    (conv(offset=128), TINY, "offset must be in -128..127, not 128"),
    (conv(multiplier=np.array([-1, 0, 0, 131072])), TINY,
     "multiplier must not be negative in this configuration, as -1 is"),
    (conv(multiplier=np.full(4, 2 ** 31), shift=np.full(4, 31)), TFLITE,
     "multiplier must be in 0..2147483647, not 2147483648"),
    (conv(shift=np.array([0, 64, 9, 9])), TINY, "shift must be in 1..63, not 0..64"),
    (conv(shift=np.full(4, 63)), TFLITE, "shift must be in 1..62, not 63..63"),
    (conv(bias=np.array([0, 0, 0, 2 ** 27 - 9 * 128])), TINY,
     "an accumulator may reach 134217728, which needs acc_bits >= 29, not 28"),
    (conv(weight=np.full((4, 1, 3, 3), -128), shift=np.full(4, 16)), TFLITE,
     "an accumulator may reach 4831838208 after the left shift"),
    (conv(weight=np.full((4, 1, 3, 3), 2)), configs.ADD,
     "needs mac or shift or shiftadd cells, not add"),
    (distance(), TINY, "needs add or shiftadd cells, not mac"),
    (distance(weight=np.full((4, 1, 3, 3), 128)), SHIFTADD, "weights [128] have no code in a"),
    (distance(weight=np.full((4, 1, 3, 3), 127)), replace(configs.ADD, acc_bits=12),
     "an accumulator may reach 2296, which needs acc_bits >= 13, not 12"),
    (conv(multiplier=np.full(4, 128)), replace(configs.ADD, acc_bits=12, activations=("relu",)),
     "an accumulator may reach 3448, which needs acc_bits >= 13, not 12"),
    (conv(), replace(configs.ADD, weight_bits=8),
     "adds up activations of 8 bits, which takes weight_bits >= 9 in an add cell, not 8"),
    (conv(multiplier=np.array([128, 115, 112, -1])), PRESETS["tiny-shift"],
     "as -1 is; n: multiplier must be a sum of 3 powers of two (scale_terms), the first of them 2"),
    (add(multipliers=(8, 9)), SHIFTADD, "multipliers must be 0 or a power of two up to 2**7 "),
    (add(inputs=(X, replace(X, shape=(4, 6, 5)))), TINY,
     "reads 'x', which no earlier node computes; n: output shape must be (4, 6, 5), not (4, 6, 6)"),
    (add(multipliers=(65536, 1)), TINY, "multipliers must be in 0..65535, not 1..65536"),
    (add(shifts=(0, 1)), TINY, "shifts must be in 0..0, not 0..1"),
    (add(multiplier=2), TINY, "multiplier must be in 1..1, not 2"),
    (add(shift=41), TINY, "shift must be in 1..40, not 41"),
    (add(shift=40), TFLITE, "shifts must be in 31..62, not 0..0"),
    (add(shifts=(31, 31), shift=30), TFLITE, "shift must be in 31..62, not 30"),
    (add(multipliers=(-1, 2 ** 31), shifts=(31, 31), shift=31), TFLITE,
     "multipliers must be in 0..2147483647, not -1..2147483648"),
    (Clamp("n", X, Y, 4, 3), TINY, "limits must rise within -128..127, not 4..3"),
    (Clamp("n", X, Y, -129, 3), TINY, "limits must rise within -128..127, not -129..3"),
    (Clamp("n", X, replace(Y, scale=0.25), 0, 1), TINY,
     "input 'x' has scale 0.5 and zero point 3, the output 0.25 and 3; a Clamp cannot change them"),
    (Clamp("n", X, HALF, 0, 1), TINY, "output shape must be (4, 6, 6), not (4, 3, 3)"),
    (MaxPool2d("n", X, replace(HALF, zero_point=4), (2, 2), (2, 2)), TINY,
     "a MaxPool2d cannot change them"),
    (MaxPool2d("n", X, Y, (2, 2), (2, 2)), TINY, "output shape must be (4, 3, 3), not (4, 6, 6)"),
    (MaxPool2d("n", X, HALF, (2, 2), (2, 2), (0, 2, 0, 0)), TINY,
     "padding (0, 2, 0, 0) must be smaller than the kernel (2, 2)"),
    (MaxPool2d("n", X, Y, (7, 7), (1, 1)), TINY, "a window of (7, 7) does not fit"),
    (MaxPool2d("n", X, Y, (0, 2), (1, 1)), TINY, "kernel must be 2 numbers of at least 1"),
    (Concat("n", (X, X), Y), TINY, "output shape must be (8, 6, 6), not (4, 6, 6)"),
    (Concat("n", (), Y), TINY, "inputs must have one height and width, not []"),
    (Concat("n", (X, HALF), Y), TINY, "inputs must have one height and width, not [(4, 6, 6), "),
    (Concat("n", (X, replace(X, scale=1.0)), Y), TINY, "a Concat cannot change them"),
    (Activation("n", X, Y, "gelu"), TINY, "activation 'gelu' is not in config 'tiny', which has"),
    (Activation("n", X, Y, "tanh"), TINY, "input of tanh must have scale 2**-5 and zero point 0, "),
    (Activation("n", X, HALF, "relu"), TINY, "output shape must be (4, 6, 6), not (4, 3, 3)"),
    (conv(output=replace(Y, zero_point=-129)), TINY, "output 'y': zero point must be in -128..127"),
    (conv(output=replace(Y, scale=0.0)), TINY, "'y': scale must be positive and finite, not 0.0"),
    (conv(output=replace(Y, scale=float("nan"))), TINY, "scale must be positive and finite"),
    (conv(output=replace(Y, shape=(4, 6, 0))), TINY, "shape must be (channels, height, width), "),
    (conv(output=X), TINY, "computes 'x' a second time"),
]


@pytest.mark.parametrize(("node", "config", "fault"), FAULTS,
                         ids=[fault[:50] for _, _, fault in FAULTS])
def test_each_fault_is_named(node: Node, config: AccelConfig, fault: str) -> None:
    with pytest.raises(GraphError) as caught:
        verify(Graph("g", X, (node,)), config)
    assert str(caught.value).startswith("graph 'g': n: ")
    assert fault in str(caught.value)


def test_every_fault_stands_in_one_error() -> None:
    nodes = (conv(shift=np.full(4, 64)), Clamp("m", Y, replace(Y, name="z"), 5, 1),
             Activation("o", replace(Y, name="none"), replace(Y, name="z"), "relu"))
    with pytest.raises(GraphError) as caught:
        verify(Graph("g", replace(X, zero_point=200), nodes), TINY)
    message = str(caught.value)
    for fault in ("input 'x': zero point", "n: reads 'x', which no earlier", "n: shift must be",
                  "m: limits must rise", "o: reads 'none', which no earlier node computes",
                  "o: computes 'z' a second time"):
        assert fault in message
    with pytest.raises(GraphError, match="graph 'empty': the graph has no nodes"):
        verify(Graph("empty", X, ()), TINY)
