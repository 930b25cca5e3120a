"""The cocotb benches find what is wrong, say where, and leave a waveform."""
from dataclasses import replace
from pathlib import Path

import pytest

from accel import golden
from accel.compile import compile_graph
from rtl.top import System
from sim.lane_checks import activation_check
from sim.runner import run_bench, simulators
from sim.verilator import SimulatorError
from tests.configs import ONE_BY_ONE
from tests.graphs import Layer, build, images

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("simulator", simulators())
def test_a_wrong_value_is_found(simulator: str) -> None:
    check = activation_check(replace(ONE_BY_ONE, activations=("relu",)))
    right = run_bench(check.component, "vectors", check.job, simulator=simulator)
    assert (right.mismatches, right.first, right.waves) == (0, "", "")
    assert right.compared == len([value for value in check.expected["o"] if value is not None])

    check.expected["o"][300] ^= 1
    check.expected["o"][301] ^= 1
    wrong = run_bench(check.component, "vectors", check.job, simulator=simulator)
    assert wrong.mismatches == 2
    assert wrong.first.startswith("activation relu, port o, index 300: expected ")
    assert simulator != "verilator" or Path(wrong.waves).stat().st_size > 0


def test_a_wrong_layer_is_named(tmp_path: Path) -> None:
    """The first tensor that differs, in execution order, with its index and both values."""
    shape, config = (2, 5, 5), ONE_BY_ONE
    graph = build(config, shape, [Layer(2, (3, 3)), Layer(3, (2, 2), activation="relu")], 1)
    program = compile_graph(graph, config, keep_tensors=True)
    program.save(tmp_path / "net.program")
    codes = images(config, shape, 2, 1)
    tensors = {name: values.numpy() for name, values in golden.run(graph, codes, config).items()}
    job = {"program": str(tmp_path / "net.program"), "config": config, "codes": codes,
           "golden": tensors}
    assert run_bench(System(config), "network", job).mismatches == 0

    value = int(tensors["conv0_out"][1, 1, 0, 2])
    tensors["conv0_out"][1, 1, 0, 2] += 1
    wrong = run_bench(System(config), "network", job)
    assert wrong.mismatches == 1
    assert wrong.first == (f"image 1, tensor conv0_out, index (1, 0, 2): expected {value + 1}, "
                           f"got {value}")
    assert Path(wrong.waves).stat().st_size > 0


def test_a_broken_bench_is_an_error() -> None:
    check = activation_check(replace(ONE_BY_ONE, activations=("relu",)))
    with pytest.raises(SimulatorError, match="bench vectors ended early"):
        run_bench(check.component, "vectors", {**check.job, "inputs": {"nothing": [1]}})
