"""The report of layers: its figures, as JSON and as a table, and what it refuses."""
import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import onnx
import pytest

from accel.compile import compile_graph
from accel.cost.layers import layer_costs, total_cycles
from accel.cost.plain import plain_cycles
from accel.device import DeviceError
from accel.graph import Conv2d
from accel.onnx_model import import_onnx
from accel.pretrained import prepare
from accel.program import Program, ProgramError
from accel.report import layers as report
from accel.spec.config import ConfigError
from accel.spec.errors import InputError
from accel.spec.presets import preset
from sim import native
from sim.verilator import SimulatorError
from tests import onnx_models
from tests.accel.test_compile import ROOMY, built

ECP5 = preset("ecp5")


@pytest.fixture(scope="module")
def program() -> Program:
    return prepare("lenet5-tanh", ECP5, images=1).program


def options(model: object, *, as_json: bool = True, preset: str = "ecp5",
            config: Path | None = None, measure: bool = False) -> Namespace:
    return Namespace(model=str(model), calibration=None, preset=preset,
                     config=config and str(config), activations=None, measure=measure, json=as_json)


def test_json(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.run(options("lenet5-tanh")) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["report", "network", "preset", "config_digest", "cycles", "macs",
                           "utilisation", "plain_cycles", "plain_utilisation", "layers", "notes",
                           "rtl_cycles"]
    assert found["rtl_cycles"] is None
    assert (found["report"], found["network"], found["preset"], found["config_digest"]) == (
        "layers", "lenet5-tanh", "ecp5", ECP5.digest)
    assert found["macs"] == program.macs == 416_520
    assert found["cycles"] == total_cycles(program, ECP5)
    assert found["utilisation"] == round(416_520 / (found["cycles"] * 9 * 16), 4)
    assert all(list(row) == ["name", "macs", "cycles", "utilisation", "bound", "bytes_read",
                             "bytes_written", "plain_cycles"] for row in found["layers"])
    assert [row["name"] for row in found["layers"]] == [layer.name for layer in program.layers]
    assert sum(row["cycles"] for row in found["layers"]) == found["cycles"]
    assert sum(row["macs"] for row in found["layers"]) == found["macs"]
    for row, cost in zip(found["layers"], layer_costs(program, ECP5), strict=True):
        assert row["utilisation"] == round(cost.utilisation, 4)
        assert row["utilisation"] == round(row["macs"] / (row["cycles"] * 9 * 16), 4)
    assert found["plain_cycles"] == sum(row["plain_cycles"] for row in found["layers"])
    assert found["plain_utilisation"] == round(416_520 / (found["plain_cycles"] * 9 * 16), 4)
    # the image goes in once, ten codes in one word come out
    assert found["layers"][0]["bytes_read"] >= 28 * 28
    assert found["layers"][-1]["bytes_written"] == ECP5.mem_bits // 8


def test_table(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.run(options("lenet5-tanh", as_json=False)) == 0
    out = capsys.readouterr().out
    assert "lenet5-tanh on ecp5" in out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines()
            if line.startswith("│")]
    costs = layer_costs(program, ECP5)
    assert [row[0] for row in rows] == [*(cost.name for cost in costs), "all"]
    for row, cost in zip(rows, costs, strict=False):
        assert row[1:-1] == [f"{cost.macs:,}", f"{cost.cycles:,}", f"{cost.utilisation:.1%}",
                           cost.bound, f"{cost.bytes_read:,}", f"{cost.bytes_written:,}"]
    assert rows[-1][1:3] == ["416,520", f"{total_cycles(program, ECP5):,}"]
    for note in report.NOTES:
        assert note in out


def test_a_program_file(tmp_path: Path) -> None:
    """The figures of a network that has no name here; only its own configuration will do."""
    graph = built("pointwise behind depthwise", ROOMY)
    program = compile_graph(graph, ROOMY)
    found = report.layers(program, ROOMY)
    assert found["macs"] == graph.macs
    assert len(found["layers"]) == 5
    assert found["plain_cycles"] is found["plain_utilisation"] is None     # without the graph
    assert report.layers(program, ROOMY, graph)["plain_cycles"] == sum(
        plain_cycles(node, ROOMY) for node in graph.nodes if isinstance(node, Conv2d))

    prepare("lenet5-tanh", preset("tiny"), images=1).program.save(tmp_path / "net.program")
    assert report.run(options(tmp_path / "net.program", preset="tiny")) == 0
    with pytest.raises(ProgramError, match="was compiled for config"):
        report.run(options(tmp_path / "net.program"))
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ProgramError, match="text is not a program"):
        report.run(options(tmp_path / "text"))


def test_bad_names(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"MODEL must be one of lenet5-tanh, .*autoencoder, "
                                         r"FILE\.onnx or FILE\.py:FUNCTION, not 'lenet6'"):
        report.run(options("lenet6"))
    with pytest.raises(ConfigError, match=r"preset must be one of tiny, .*, not 'huge'"):
        report.run(options("lenet5-tanh", preset="huge"))
    with pytest.raises(ConfigError, match=r"cannot read config .*none\.toml"):
        report.run(options("lenet5-tanh", config=tmp_path / "none.toml"))


def test_a_bad_name_is_one_line_on_the_command_line() -> None:
    done = subprocess.run([sys.executable, "-m", "accel.report", "layers", "lenet6"],
                          cwd=Path(__file__).parents[2], capture_output=True, text=True,
                          check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("error: MODEL must be one of lenet5-tanh, ")


def test_an_onnx_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "net.onnx"
    onnx.save(onnx_models.quantized(onnx_models.separable(), tmp_path), file)
    assert report.run(options(file)) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["macs"] == import_onnx(file, ECP5).macs > 0
    assert found["plain_cycles"] > 0


@pytest.mark.slow
def test_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert report.run(options("lenet5-tanh", preset="tiny", measure=True)) == 0
    found = json.loads(capsys.readouterr().out)
    assert abs(found["cycles"] / found["rtl_cycles"] - 1) < 0.005
    assert report.run(options("lenet5-tanh", preset="tiny", measure=True, as_json=False)) == 0
    assert f"RTL: {found['rtl_cycles']:,} cycles, of which the model is off by " in (
        capsys.readouterr().out)


def test_measured_without_a_simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*_: object, **__: object) -> None:
        raise SimulatorError("no verilator")

    monkeypatch.setattr(native, "build", build)
    with pytest.raises(DeviceError, match="cannot simulate the RTL: no verilator"):
        report.run(options("lenet5-tanh", preset="tiny", measure=True))
