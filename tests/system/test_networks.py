"""Random graphs on every Device equal golden, tensor by tensor."""
from dataclasses import replace

import numpy as np
import pytest

from accel import golden
from accel.compile import CompileError, compile_graph
from accel.device import Device
from accel.emulate import Emulator
from accel.graph import Graph
from accel.spec.config import AccelConfig
from accel.spec.presets import PRESETS
from sim.native import NativeDevice
from tests.accel.test_compile import ROOMY, built
from tests.configs import (
    ADD,
    FIVE_BY_SEVEN,
    ONE_BY_ONE,
    SWITCHED,
    TINY,
    TWO_BY_THREE,
    config,
)
from tests.graphs import Layer, build, images

#: A network for each thing that can go wrong in addressing, and what it is for.
NETWORKS = {
    "same": ((3, 9, 8), [Layer(5, (3, 3), (1, 1), (1, 1), "tanh", ((2, 2), (2, 2))),
                         Layer(6, (3, 2), (2, 1), (1, 1), "relu"),
                         Layer(10, (2, 4), activation="selu"), Layer(3)]),
    "strides": ((2, 13, 11), [Layer(4, (5, 1), (3, 2), (2, 0)), Layer(9, (1, 3), (1, 2), (0, 2))]),
    "overlapping pools": ((1, 12, 12), [Layer(7, (3, 3), pool=((3, 3), (2, 2))),
                                        Layer(2, (2, 2), pool=((2, 1), (1, 1)))]),
    "one pixel": ((1, 1, 1), [Layer(1)]),
    "fully connected": ((40, 1, 1), [Layer(33, activation="relu"), Layer(17, activation="tanh"),
                                     Layer(1)]),
    "wide padding": ((2, 3, 4), [Layer(3, (5, 6), padding=(4, 5)), Layer(4, (3, 3), padding=(1, 1)),
                                 Layer(2, (1, 1), (2, 2), (2, 2))]),
}
#: Graphs that need more than a chain: additions first of all.
BUILT = ("residual, own summand last", "residual by copy", "doubled", "residual blocks",
         "inverted residual", "means", "tables")
SMALL_ACC = config("small-acc", acc_depth=32)
TFLITE = replace(ROOMY, name="tflite", rounding="tflite", acc_bits=32)
#: The same without a multiplier: its lanes are so many that they multiply in carry chains.
TFLITE_SHIFT = replace(TFLITE, name="tflite-shift", cell="shift", weight_bits=5, cols=8,
                       vector_lanes=8)
#: Nothing multiplies: powers of two alone, sums of two and of three.
ROOMY_SHIFT = replace(ROOMY, name="roomy-shift", cell="shift", weight_bits=5, scale_terms=1)
ROOMY_ADD = replace(ROOMY, name="roomy-add", cell="add", weight_bits=9, scale_terms=2)
ROOMY_SHIFTADD = replace(ROOMY, name="roomy-shiftadd", cell="shiftadd", weight_bits=9,
                         scale_terms=3)
#: Just enough memory for "wide padding", whose last tensor takes the first ones' place.
REUSE = config("reuse", act_depth=256, acc_depth=64, mem_depth=138)


def cases(configs: list[AccelConfig]) -> list:
    return [pytest.param(c, name, id=f"{c.name}-{name}") for c in configs for name in NETWORKS
            if all(layer.activation in {None, *(s.function for s in c.activation_specs)}
                   for layer in NETWORKS[name][1])]


def check(device: Device, graph: Graph, codes: np.ndarray, *, keep: bool) -> None:
    program = compile_graph(graph, device.config, keep_tensors=keep)
    expected = golden.run(graph, codes, device.config)
    device.load(program)
    outputs = device.run(codes)
    np.testing.assert_array_equal(outputs, expected[program.output].numpy())
    for name in program.tensors if keep else ():
        np.testing.assert_array_equal(device.read(name), expected[name][-1].numpy(), err_msg=name)


KEEP = [TINY, PRESETS["tiny-shift"], PRESETS["ecp5"], PRESETS["ecp5-shift"], ONE_BY_ONE,
        TWO_BY_THREE, FIVE_BY_SEVEN, SWITCHED, ADD, PRESETS["tiny-add"], PRESETS["ecp5-shiftadd"],
        SMALL_ACC, TFLITE]


@pytest.mark.parametrize(("c", "name"), cases(KEEP))
def test_emulator(c: AccelConfig, name: str) -> None:
    shape, layers = NETWORKS[name]
    check(Emulator(c), build(c, shape, layers, seed=3), images(c, shape, 8, seed=4), keep=True)


@pytest.mark.parametrize(("c", "name"), cases([TINY, ONE_BY_ONE, REUSE]))
def test_emulator_reusing_memory(c: AccelConfig, name: str) -> None:
    shape, layers = NETWORKS[name]
    check(Emulator(c), build(c, shape, layers, seed=3), images(c, shape, 8, seed=4), keep=False)


def test_memory_is_reused_where_it_must_be() -> None:
    graph = build(REUSE, *NETWORKS["wide padding"], seed=3)
    assert compile_graph(graph, REUSE).tensors["conv2_out"].start == 0
    with pytest.raises(CompileError, match=r"tensor 'conv2_out' \(2, 6, 7\) needs 42 words of "
                                           "memory, but mem_depth = 138 leaves no such gap; at "
                                           "least 180 would do"):
        compile_graph(graph, REUSE, keep_tensors=True)
    with pytest.raises(CompileError, match="needs 63 words of memory, but mem_depth = 137 leaves "
                                           "no such gap; at least 138 would do"):
        compile_graph(graph, replace(REUSE, mem_depth=137))


@pytest.mark.slow
@pytest.mark.parametrize("c", [TINY, ONE_BY_ONE, TWO_BY_THREE, FIVE_BY_SEVEN, SWITCHED,
                               PRESETS["ecp5-shift"], TFLITE, ROOMY_ADD, ROOMY_SHIFTADD],
                         ids=lambda c: c.name)
def test_rtl(c: AccelConfig) -> None:
    device = NativeDevice(c)
    for param in cases([c]):
        shape, layers = NETWORKS[param.values[1]]
        for seed in range(3):
            graph = build(c, shape, layers, seed)
            check(device, graph, images(c, shape, 8, seed), keep=bool(seed % 2))


@pytest.mark.slow
def test_a_slow_memory_takes_longer_and_changes_nothing() -> None:
    """Weights and tensors through a port that answers late, and every other cycle only."""
    c = replace(TINY, name="streamed", weight_depth=64)
    shape, layers = NETWORKS["same"]
    graph, codes, cycles = build(c, shape, layers, 1), images(c, shape, 2, 1), []
    for memory in ({}, {"latency": 9, "interval": 2}):
        device = NativeDevice(c, **memory)
        check(device, graph, codes, keep=True)
        cycles.append(device.counters["cycles"])
    assert cycles[0] < cycles[1] < 4 * cycles[0]


@pytest.mark.slow
@pytest.mark.parametrize("c", [ROOMY, TFLITE, TFLITE_SHIFT, ROOMY_SHIFT, ROOMY_ADD,
                               ROOMY_SHIFTADD], ids=lambda c: c.name)
def test_built_graphs_on_rtl(c: AccelConfig) -> None:
    device = NativeDevice(c)
    for name in BUILT:
        graph = built(name, c)
        for keep in (False, True):
            check(device, graph, images(c, graph.input.shape, 6, 5), keep=keep)
