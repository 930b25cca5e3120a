"""The report that compares networks on their arrays: figures, builds, refusals; no real builds."""
import json
import re
import subprocess
import sys
import time
from argparse import ArgumentParser
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accel.cost.energy import energy_of
from accel.device import DeviceError
from accel.files import ROOT
from accel.pretrained import Prepared, accuracy, prepare
from accel.program import Program
from accel.report import compare as report
from accel.report import runs
from accel.spec.config import AccelConfig, ConfigError
from accel.spec.errors import InputError
from accel.spec.presets import preset
from boards import flow, process
from boards.process import BuildError, run_tool
from boards.spec import BoardSpec
from boards.tools import Tool

KEYS = ["network", "cell", "device", "lut4", "dsp", "fmax_mhz", "cycles", "inferences_per_s",
        "energy_uj", "accuracy"]
CYCLES = {"tiny": 400_000, "tiny-shift": 500_000}
MHZ = {"tiny": 130.5, "tiny-shift": 100.25}
LUT4 = {"tiny": 5000, "tiny-shift": 4000}
RECORD = {"path": "/bin/yosys", "version": "1.0", "origin": "PATH"}
BOTH = ["lenet5-tanh:tiny", "lenet5-tanh:tiny-shift"]
IMAGES = 40


@pytest.fixture(scope="module")
def ready() -> dict[str, Prepared]:
    return {name: prepare("lenet5-tanh", preset(name), IMAGES) for name in CYCLES}


@dataclass
class Fakes:
    """Stand-ins for builds and RTL: what they were asked for, and what they answer instead."""

    built: list[tuple[str, int, float]] = field(default_factory=list)
    simulated: list[str] = field(default_factory=list)
    failures: dict[str, Exception] = field(default_factory=dict)
    bram: int = 68
    wrong: int = 0

    def build(self, spec: BoardSpec, config: AccelConfig, *, seed: int, timeout_s: float,
              quiet: bool, publish: bool) -> flow.Build:
        assert (quiet, publish, timeout_s) == (True, False, 3600)
        self.built.append((config.name, seed, spec.clock_mhz))
        if error := self.failures.get(config.name):
            raise error
        achieved = MHZ[config.name]
        failure = "clock missed: sync" if achieved < spec.clock_mhz else ""
        resources = {"LUT4": LUT4[config.name], "FF": 900, "BRAM": self.bram}
        if config.cell == "mac":
            resources["DSP"] = 20
        return flow.Build(Path("build"), {
            "clocks": {"sync": {"net": "clk", "target_mhz": spec.clock_mhz,
                                "achieved_mhz": achieved}, "clk25": {"achieved_mhz": 900.0}},
            "resources": {name: {"used": used, "available": 9999}
                          for name, used in resources.items()},
            "tools": {"yosys": RECORD}}, False, failure)


class FakeDevice:
    """Answers with golden's codes, or some of them wrong."""

    def __init__(self, fakes: Fakes, config: AccelConfig, ready: dict[str, Prepared]) -> None:
        self.fakes, self.config, self.ready = fakes, config, ready[config.name]
        fakes.simulated.append(config.name)

    def load(self, program: Program) -> None:
        program.check(self.config)

    def run(self, codes: np.ndarray) -> np.ndarray:
        assert (codes == self.ready.codes[:1]).all()
        self.counters = {"cycles": CYCLES[self.config.name]}
        outputs = self.ready.expected[:1].copy()
        outputs.reshape(-1)[:self.fakes.wrong] += 1
        return outputs


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch, ready: dict[str, Prepared]) -> Fakes:
    fakes = Fakes()

    def prepared(network: str, config: AccelConfig, images: int) -> Prepared:
        assert images == 1
        return ready[config.name] if network == "lenet5-tanh" else prepare(network, config, images)
    monkeypatch.setattr(report, "prepare", prepared)
    monkeypatch.setattr(flow, "build", fakes.build)
    monkeypatch.setattr(report, "rtl_device", lambda config: FakeDevice(fakes, config, ready))
    return fakes


def call(*arguments: str) -> int:
    parser = ArgumentParser()
    parser.add_argument("--json", action="store_true")
    report.add_arguments(parser)
    return report.run(parser.parse_args(["--images", str(IMAGES), *arguments]))


def test_figures(fakes: Fakes, ready: dict[str, Prepared], capsys: pytest.CaptureFixture[str],
                 ) -> None:
    assert call(*BOTH, "--json", "--seed", "3") == 0
    out, errors = capsys.readouterr()
    found = json.loads(out)
    assert list(found) == ["report", "board", "device", "target_mhz", "seed", "images", "rows",
                           "notes", "tools"]
    assert (found["report"], found["board"], found["device"], found["target_mhz"], found["seed"],
            found["tools"]) == ("compare", "ulx3s", "Lattice LFE5U-85F-6BG381C", 125.0, 3,
                                {"yosys": RECORD})
    mac, shift = found["rows"]
    assert set(mac) == set(shift) > {*KEYS, "preset", "ff", "bram", "terms"}
    assert (mac["network"], mac["preset"], mac["cell"], mac["device"], mac["lut4"], mac["ff"],
            mac["dsp"], mac["bram"], mac["fmax_mhz"], mac["cycles"], mac["terms"]) == (
        "lenet5-tanh", "tiny", "mac", "Lattice LFE5U-85F-6BG381C", 5000, 900, 20, 68, 130.5,
        400_000, 416_520)
    assert (shift["preset"], shift["cell"], shift["lut4"], shift["dsp"]) == (
        "tiny-shift", "shift", 4000, 0)
    for row in (mac, shift):
        prepared = ready[row["preset"]]
        assert row["inferences_per_s"] == pytest.approx(
            MHZ[row["preset"]] * 1e6 / CYCLES[row["preset"]], abs=1e-3)
        assert row["energy_uj"] == energy_of(prepared.program, preset(row["preset"]),
                                             prepared.graph, "chip").own.total_uj
        assert row["accuracy"] == accuracy(prepared.expected, prepared.labels)
    assert (mac["missed"], shift["missed"]) == ("", "clock missed: sync")
    assert sorted(fakes.built) == [("tiny", 3, 125.0), ("tiny-shift", 3, 125.0)]
    assert "lenet5-tanh on tiny: 400,000 cycles" in errors
    assert "2/2" in errors


def test_table(fakes: Fakes, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*BOTH, "--jobs", "1") == 0
    out = capsys.readouterr().out
    cells = {line.split("│")[2].strip(): [cell.strip() for cell in line.split("│")[3:-1]]
             for line in out.splitlines() if "│ lenet5-tanh" in line}
    assert cells["tiny"][:6] == ["mac", "5,000 1.00x", "20 1.00x", "130.5 1.00x",
                                 "400,000 1.00x", "326.2 1.00x"]
    assert cells["tiny-shift"][:6] == ["shift", "4,000 0.80x", "0 0.00x", "100.2* 0.77x",
                                       "500,000 1.25x", "200.5 0.61x"]
    assert re.fullmatch(r"\d+\.\d%", cells["tiny"][-1])
    assert re.fullmatch(r"\d+\.\d% [+-]\d+\.\d", cells["tiny-shift"][-1])
    assert "* lenet5-tanh on tiny-shift: clock missed: sync" in out
    assert "not a measurement of the FPGA" in out
    assert "yosys: 1.0 (PATH)" in out


def test_one_build_and_one_simulator_serve_all_networks_of_a_configuration(
        fakes: Fakes, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("lenet5-tanh:tiny", "lenet5-tanh:tiny", "--json", "--clock", "100") == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows[0] == rows[1]
    assert (fakes.built, fakes.simulated) == ([("tiny", 1, 100.0)], ["tiny"])


def test_block_ram_limits_the_usable_clock(
        fakes: Fakes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(MHZ, "tiny", 230.0)
    for bram, clock in ((68, 212.0), (0, 230.0)):
        fakes.bram = bram
        assert call("lenet5-tanh:tiny", "--json") == 0
        (row,) = json.loads(capsys.readouterr().out)["rows"]
        assert (row["fmax_mhz"], row["achieved_mhz"]) == (clock, 230.0)
        assert row["inferences_per_s"] == pytest.approx(clock * 2.5)


@pytest.mark.parametrize("error", [
    "the netlist does not fit ulx3s (LFE5U-85F): LUT4 84000 of 83640; log: build/x.failed/top.rpt",
    "place and route: nextpnr-ecp5 ended with code 1; log: build/x\nERROR: no more room"])
def test_what_cannot_be_built_is_a_row(fakes: Fakes, capsys: pytest.CaptureFixture[str],
                                       error: str) -> None:
    fakes.failures = {"tiny": BuildError(error)}
    assert call(*BOTH, "--json") == 1
    failed, built = json.loads(capsys.readouterr().out)["rows"]
    assert failed["error"] == error.replace("\n", "; ")
    assert [failed[key] for key in ("lut4", "dsp", "fmax_mhz", "inferences_per_s")] == [None] * 4
    assert (failed["cycles"], built["error"], built["lut4"]) == (400_000, "", 4000)
    assert call(*BOTH) == 1
    out = capsys.readouterr().out
    assert f"lenet5-tanh on tiny: {failed['error']}" in out
    assert " 4,000 │" in out     # there is nothing to compare it with


def test_what_cannot_fit_is_not_built(fakes: Fakes, monkeypatch: pytest.MonkeyPatch,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    def check(config: AccelConfig, spec: BoardSpec) -> None:
        if config.name == "tiny":
            raise ConfigError("config 'tiny' does not fit ulx3s: DSP at least 192 of 156")
    monkeypatch.setattr(report.budget, "check_config", check)
    assert call(*BOTH, "--json") == 1
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows[0]["error"] == "config 'tiny' does not fit ulx3s: DSP at least 192 of 156"
    assert rows[1]["lut4"] == 4000
    assert [name for name, *_ in fakes.built] == ["tiny-shift"]


def test_a_bug_in_a_build_is_not_hidden(fakes: Fakes) -> None:
    fakes.failures = {"tiny": ZeroDivisionError("bug")}
    with pytest.raises(ZeroDivisionError):
        call(*BOTH)


def test_wrong_results_are_not_compared(fakes: Fakes) -> None:
    fakes.wrong = 2
    with pytest.raises(DeviceError, match="lenet5-tanh on tiny: the RTL is wrong: 2 of 10 outputs "
                                          "of the first image are not golden's"):
        call(*BOTH)
    assert fakes.built == []


def test_networks_that_are_not_trained_have_no_accuracy(ready: dict[str, Prepared]) -> None:
    case = report.Case("resnet8", preset("ecp5"))
    assert report._accuracy(case, ready["tiny"], IMAGES) is None
    row = {**dict.fromkeys(KEYS), "missed": "", "cycles": 7}
    assert report._cells(row, row) == ["-", "-", "-", "7 1.00x", "-", "not published", "-"]


def test_picture(fakes: Fakes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fakes.failures = {"tiny-shift": BuildError("no room")}
    path = tmp_path / "compare.svg"
    assert call(*BOTH, "--plot", str(path), "--json") == 1
    out, errors = capsys.readouterr()
    assert errors.splitlines()[-1] == str(path)
    svg = path.read_text()
    assert svg.startswith("<?xml")
    for text in ("LUT4", "DSP", "clock, MHz", "inferences/s", "accuracy (integer)", "5,000",
                 "tiny-shift", "130.5", "LFE5U-85F-6BG381C, place and route for 125 MHz"):
        assert text in svg
    found = json.loads(out)
    assert report.picture(found, "svg").decode() == svg
    assert report.picture(found, "png").startswith(b"\x89PNG")


def test_an_interrupt_stops_the_tools(fakes: Fakes, monkeypatch: pytest.MonkeyPatch,
                                      tmp_path: Path) -> None:
    def build(spec: BoardSpec, config: AccelConfig, **_: Any) -> flow.Build:
        if config.name == "tiny":
            run_tool(Tool("sleep", "/bin/sleep", "1", "PATH"), ["600"], tmp_path, title="sleep",
                     log=tmp_path / "log", timeout_s=600, quiet=True)
        raise AssertionError("was started behind the interrupt")

    def interrupt(*_: object) -> None:
        while not process._running:
            time.sleep(0.02)
        raise KeyboardInterrupt
    monkeypatch.setattr(flow, "build", build)
    monkeypatch.setattr(runs, "_watch", interrupt)
    with pytest.raises(KeyboardInterrupt):
        call(*BOTH, "--jobs", "1")
    assert not process._running


def test_default_rows() -> None:
    assert [(case.network, case.config.name) for case in report.cases_of(report.DEFAULT)] == [
        ("cnn", "ecp5"), ("cnn-shift", "ecp5-shift"), ("cnn-shiftadd", "ecp5-shiftadd"),
        ("cnn-shiftadd-1x1", "ecp5-shiftadd")]


@pytest.mark.parametrize(("arguments", "error"), [
    (["lenet6"], "NETWORK must be one of lenet5-tanh, .*autoencoder, not 'lenet6'"),
    (["mlp:huge"], "preset must be one of tiny, .*, not 'huge'"),
    (["mlp:"], "preset must be one of tiny, .*, not ''"),
    (["mlp:tiny-add"], "mlp on tiny-add: .*1.linear needs mac or shift or shiftadd cells, not add"),
    (["--board", "ulx"], "BOARD must be one of ulx3s, not 'ulx'"),
    (["--clock", "0"], "--clock must be more than 0, not 0"),
    (["--clock", "nan"], "--clock must be more than 0, not nan"),
    (["--clock", "61"], "the PLL cannot make 61 MHz from 25 MHz; nearest: "),
    (["--clock", "250"], "clock must be at most 212 MHz, not 250"),
    (["--images", "0"], "--images must be at least 1, not 0"),
    (["--jobs", "0"], "--jobs must be at least 1, not 0"),
    (["--seed", "-1"], "--seed must be at least 0, not -1"),
    (["--timeout", "0"], "--timeout must be more than 0, not 0"),
    (["--plot", "compare.gif"], r"--plot must end in .svg or .png, not 'compare.gif'"),
    (["--plot", "/nowhere/compare.svg"], "--plot .*: there is no folder /nowhere"),
    (["--plot", "/proc/compare.svg"], "--plot /proc/compare.svg cannot be written: No such file"),
    (["--plot", "a" * 246 + ".svg"], "--plot a*.svg cannot be written: File name too long")])
def test_bad_input(fakes: Fakes, arguments: list[str], error: str) -> None:
    with pytest.raises(InputError, match=error):
        call(*arguments)
    assert (fakes.built, fakes.simulated) == ([], [])


def test_bad_input_is_one_line_on_the_command_line() -> None:
    done = subprocess.run([sys.executable, "-m", "accel.report", "compare", "--images", "1001"],
                          cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (
        2, "", "error: --images must be at most 1000, not 1001\n")


def test_weights_that_are_missing(fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise FileNotFoundError(2, "No such file", "weights/mlp.npz")
    monkeypatch.setattr(report, "prepare", missing)
    with pytest.raises(InputError, match=r"mlp is not trained: there is no weights/mlp\.npz; "
                                         r"python -m accel\.train mlp makes it"):
        call("mlp")


def test_a_picture_over_a_folder(fakes: Fakes, tmp_path: Path) -> None:
    folder = tmp_path / "compare.svg"
    folder.mkdir()
    with pytest.raises(InputError, match=r"--plot .*compare\.svg cannot be written"):
        call("--plot", str(folder))
