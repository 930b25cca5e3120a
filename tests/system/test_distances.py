"""GEMM instructions that sum distances, in the emulator and on RTL, against torch.

The compiler writes convolutions; here their instructions and weights are rewritten.
"""
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import unfold

from accel import golden
from accel.compile import compile_graph
from accel.device import Device
from accel.emulate import Emulator
from accel.graph import Conv2d, Graph, IntArray
from accel.program import Image, Program
from accel.spec.cells import OFF, CellSpec, Operation
from accel.spec.config import AccelConfig
from accel.spec.isa import Isa, Opcode
from accel.spec.link import Space
from sim.native import NativeDevice
from tests.configs import ADD, SWITCHED
from tests.graphs import Layer, build, images

SHAPE, LAYER = (2, 7, 6), Layer(6, (3, 2), (2, 1), (1, 1))
#: The cell of `SWITCHED` holds as many weights under both operations.
BOTH = SWITCHED.cell_spec


def distance_program(program: Program, config: AccelConfig) -> Program:
    """The same walk, but every term a distance from the same weight; zeros do not count."""
    def rewritten(image: Image) -> Image:
        change = REWRITE.get(image.space, lambda word, _: word)
        return replace(image, words=tuple(change(word, config) for word in image.words))

    return replace(program, config_digest=config.digest,
                   images=tuple(rewritten(image) for image in program.images))


def as_distance(weight: int) -> int:
    """The weight of a distance that stands for this weight of a product."""
    return min(weight, BOTH.weights_of(Operation.DISTANCE)[-1])


def rewrite_instruction(word: int, config: AccelConfig) -> int:
    instruction = Isa(SWITCHED).decode(word)
    if instruction.opcode != Opcode.GEMM:
        return Isa(config).encode(instruction)
    fields = {**instruction.fields, "distance": 1}
    if not config.array.switched:
        del fields["distance"]
    return Isa(config).encode(replace(instruction, fields=fields))


def rewrite_weights(word: int, config: AccelConfig) -> int:
    cell: CellSpec = config.cell_spec
    for col in range(config.cols):
        at = config.weight_bits * col
        code = word >> at & ((1 << config.weight_bits) - 1)
        if code != OFF:
            new = cell.encode(as_distance(BOTH.decode(code, Operation.PRODUCT)),
                              Operation.DISTANCE)
            word ^= (code ^ new) << at
    return word


REWRITE = {Space.INSTRUCTION: rewrite_instruction, Space.WEIGHT: rewrite_weights}


def expected(graph: Graph, codes: IntArray, bits: int) -> torch.Tensor:
    conv: Conv2d = graph.nodes[0]
    top, left, bottom, right = conv.padding
    padded = np.pad(codes, ((0, 0), (0, 0), (top, bottom), (left, right)),
                    constant_values=conv.input.zero_point)
    taps = unfold(torch.tensor(padded, dtype=torch.float64), conv.weight.shape[2:],
                  stride=conv.stride).long()                        # (n, taps, positions)
    weights = torch.tensor([[as_distance(int(w)) for w in channel.flatten()]
                            for channel in conv.weight])            # (channels, taps)
    terms = -(taps[:, None] - weights[None, :, :, None]).abs() * (weights != 0)[None, :, :, None]
    total = terms.sum(2).transpose(1, 2) + torch.tensor(conv.bias)  # (n, positions, channels)
    out = golden.requantize(total, torch.tensor(conv.multiplier), torch.tensor(conv.shift),
                            conv.output.zero_point, bits)
    return out.transpose(1, 2).reshape(len(codes), *conv.output.shape)


@pytest.mark.parametrize("config", [SWITCHED, ADD], ids=lambda config: config.name)
@pytest.mark.parametrize("device", [
    Emulator, pytest.param(NativeDevice, marks=pytest.mark.slow)], ids=lambda d: d.__name__)
def test_equals_torch(config: AccelConfig, device: type[Device]) -> None:
    graph, codes = build(SWITCHED, SHAPE, [LAYER], 5), images(SWITCHED, SHAPE, 6, 5)
    runner = device(config)
    runner.load(distance_program(compile_graph(graph, SWITCHED), config))
    result = runner.run(codes)
    assert len(np.unique(result)) > 20
    np.testing.assert_array_equal(result, expected(graph, codes, config.act_bits).numpy())


@pytest.mark.slow
def test_the_operation_changes_between_instructions() -> None:
    """Layers of both kinds in one program: what follows a distance layer is a product again."""
    graph = build(SWITCHED, SHAPE, [LAYER, Layer(5, (2, 2)), Layer(3, (1, 2))], 7)
    program = compile_graph(graph, SWITCHED, keep_tensors=True)
    isa, codes = Isa(SWITCHED), images(SWITCHED, SHAPE, 4, 7)
    gemms = [index for index, word in enumerate(program.instructions())
             if isa.decode(word).opcode == Opcode.GEMM]

    def mixed(image: Image) -> Image:
        if image.space != Space.INSTRUCTION:
            return image
        return replace(image, words=tuple(
            rewrite_instruction(word, SWITCHED) if index in gemms[::2] else word
            for index, word in enumerate(image.words)))

    program = replace(program, images=tuple(mixed(image) for image in program.images))
    outputs = []
    for device in (Emulator(SWITCHED), NativeDevice(SWITCHED)):
        device.load(program)
        outputs.append((device.run(codes), [device.read(name) for name in program.tensors]))
    np.testing.assert_array_equal(outputs[0][0], outputs[1][0])
    for ours, theirs in zip(outputs[0][1], outputs[1][1], strict=True):
        np.testing.assert_array_equal(ours, theirs)
