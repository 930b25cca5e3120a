"""Fully connected layers run while their neighbours do; results are golden's in any order."""
from collections.abc import Sequence
from dataclasses import replace

import pytest

from accel.compile import compile_graph, search
from accel.compile.overlap import MOST_BLOCKS
from accel.cost.cycles import Span, simulate
from accel.cost.layers import total_cycles
from accel.graph import Graph
from accel.pretrained import calibrate
from accel.program import Program
from accel.spec.config import AccelConfig
from accel.spec.isa import Opcode
from accel.spec.presets import PRESETS
from tests.accel.test_compile import LARGE, PLAIN, ROOMY, check, instructions
from tests.configs import FIVE_BY_SEVEN, TINY, TWO_BY_THREE
from tests.graphs import Builder

DENSE = PRESETS["ecp5-dense"]
CONFIGS = [
    ROOMY, PLAIN, DENSE, replace(DENSE, name="wide vectors", vector_lanes=16),
    replace(TWO_BY_THREE, name="three-columns", **LARGE, activations=TINY.activations),
    replace(FIVE_BY_SEVEN, name="packed", **LARGE),
    replace(ROOMY, name="tflite", rounding="tflite"),
    replace(ROOMY, name="few-accumulators", acc_depth=8, out_depth=8),
    replace(ROOMY, name="fewest", acc_depth=2, out_depth=2)]
#: Widths of layers, the input's first; among them narrow ones, and ones of uneven width.
WIDTHS = [(40, 33), (65, 48, 7, 52), (9, 70, 70, 20, 1, 30), (120, 84, 10)]


def stack(config: AccelConfig, widths: Sequence[int]) -> Graph:
    """Fully connected layers."""
    net = Builder(config, (widths[0], 1, 1))
    x = net.input
    for width in widths[1:]:
        x = net.activation(net.conv(x, width), "relu")
    return net.graph()


def spans_by_layer(program: Program, config: AccelConfig, opcode: Opcode) -> list[list[Span]]:
    spans = zip(simulate(instructions(program, config), config), program.owners, strict=True)
    found: list[list[Span]] = [[] for _ in program.layers]
    for span, owner in spans:
        if span.instruction.opcode == opcode:
            found[owner].append(span)
    return found


def without_overlap(graph: Graph, config: AccelConfig, monkeypatch: pytest.MonkeyPatch) -> Program:
    with monkeypatch.context() as patch:
        patch.setattr(search, "overlapping", lambda jobs, config: None)
        return compile_graph(graph, config)


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_equals_golden_in_any_order_and_takes_no_longer(
        config: AccelConfig, widths: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    graph = stack(config, widths)
    plain = without_overlap(graph, config, monkeypatch)
    assert total_cycles(check(graph, config), config) <= total_cycles(plain, config)


def test_a_layer_begins_before_the_one_in_front_is_through(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = stack(DENSE, (128,) * 5)
    program = compile_graph(graph, DENSE)
    sums, results = (spans_by_layer(program, DENSE, opcode)
                     for opcode in (Opcode.GEMM, Opcode.VECTOR))
    for before, behind in zip(results[:-1], sums[1:], strict=True):
        assert behind[0].start < before[-1].start
    assert all(len(layer) <= MOST_BLOCKS for layer in results)
    plain = without_overlap(graph, DENSE, monkeypatch)
    assert total_cycles(program, DENSE) < 0.8 * total_cycles(plain, DENSE)


def test_the_input_is_read_while_the_rest_of_it_is_loaded() -> None:
    program = compile_graph(stack(DENSE, (640, 128, 128)), DENSE)
    loads, sums = (spans_by_layer(program, DENSE, opcode)[0]
                   for opcode in (Opcode.LOAD, Opcode.GEMM))
    assert sums[0].start < loads[-1].end
    assert sum(each.instruction.fields["words"] for each in loads) == 40


def test_a_layer_behind_a_convolution_is_sliced_too() -> None:
    """What it reads is not loaded; a pool in front makes its source one position."""
    net = Builder(ROOMY, (3, 6, 6))
    x = net.pool(net.conv(net.input, 24, (3, 3)), (4, 4), (4, 4))
    for width in (30, 17):
        x = net.activation(net.conv(x, width), "relu")
    program = check(net.graph(), ROOMY)
    assert any(each.opcode == Opcode.GEMM and each.fields["accumulate"]
               for each in instructions(program, ROOMY))


def test_a_program_that_would_not_fit_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = stack(DENSE, (128,) * 5)
    plain = without_overlap(graph, DENSE, monkeypatch)
    small = replace(DENSE, name="small", instruction_depth=len(plain.instructions()))
    assert len(compile_graph(graph, small).instructions()) == len(plain.instructions())


def test_the_autoencoder_uses_four_fifths_of_the_array() -> None:
    """MLPerf Tiny's autoencoder at batch 1: ten layers, none of which has work to hide behind."""
    graph = calibrate("autoencoder", DENSE)[1]
    cycles = total_cycles(compile_graph(graph, DENSE), DENSE)
    assert graph.macs / (cycles * DENSE.rows * DENSE.cols) >= 0.8
