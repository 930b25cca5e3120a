"""The bitstream flow: its plan, its cache and its failures (fake tools), and one real bitstream."""
import json
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from accel.spec.config import ConfigError
from accel.spec.presets import PRESETS
from boards import budget, flow, tools
from boards.process import BuildError
from boards.registry import BOARDS, board
from boards.spec import BoardSpec
from rtl.emit import free_collisions

ULX3S = BOARDS["ulx3s"]
#: The smallest accelerator there is.
NANO = replace(PRESETS["tiny"], name="nano", rows=1, cols=1, vector_lanes=1, act_depth=16,
               weight_depth=16, acc_depth=16, param_depth=16, instruction_depth=8, activations=())
FAKE_TOOL = """#!{python}
import json, pathlib, sys
name, folder = pathlib.Path(sys.argv[0]).name, pathlib.Path(sys.argv[0]).parent
if "--version" in sys.argv or "-V" in sys.argv:
    sys.exit(print(name, "1.0"))
settings = json.loads((folder / "settings.json").read_text())
with open(folder / "calls", "a") as calls:
    print(name, file=calls)
if settings["fail"] == name:
    print("ERROR: no more room")
    sys.exit(1)
clock = "$glbnet$clk"
path = [{{"type": "clk-to-q", "delay": 0.5, "from": {{"cell": "a", "port": "Q"}}, "to": {{}}}},
        {{"type": "routing", "delay": 9, "from": {{}}, "to": {{"cell": "b", "port": "D"}}}}]
edge = "posedge " + clock
report = {{"fmax": {{clock: {{"constraint": settings["constraint"], "achieved": 61.25}}}},
          "critical_paths": [{{"from": edge, "to": edge, "path": path}}],
          "utilization": {{"TRELLIS_COMB": {{"used": 7, "available": 83640}}}}}}
outputs = {{"yosys": {{"top.stat.json": {{"design": {{"num_cells_by_type": settings["cells"]}}}},
                     "top.json": settings["netlist"]}},
           "nextpnr-ecp5": {{"top.report.json": report}}, "ecppack": {{"top.bit": 1}}}}
for file, content in outputs[name].items():
    pathlib.Path(file).write_text(json.dumps(content))
"""

#: The board at the clock that the fake tools' reports speak of.
BOARD = replace(ULX3S, clock_mhz=60.0)


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    return flow.make_plan(ULX3S, NANO, seed=5)


class Fakes:
    """Fake tools in ``folder``; `settings` say what they do and `calls` what ran."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.change()

    def change(self, fail: str = "", constraint: float = 60.002, cells: dict | None = None,
               netlist: dict | None = None) -> None:
        (self.folder / "settings.json").write_text(json.dumps(
            {"fail": fail, "constraint": constraint, "cells": cells or {"LUT4": 7},
             "netlist": netlist or {"modules": {}}}))

    @property
    def calls(self) -> list[str]:
        """Tools that ran since the last look."""
        path = self.folder / "calls"
        found = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return found


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str]) -> Fakes:
    monkeypatch.setattr(tools, "BUILD", tmp_path / "build")
    monkeypatch.setattr(flow, "BUILD", tmp_path / "build")
    monkeypatch.setattr(flow, "make_plan", lambda spec, config, seed: files)
    for name in flow.TITLES:
        path = tmp_path / name
        path.write_text(FAKE_TOOL.format(python=sys.executable))
        path.chmod(0o755)
        monkeypatch.setenv(tools.variable(name), str(path))
    return Fakes(tmp_path)


def test_plan_has_the_steps_and_is_repeatable(files: dict[str, str]) -> None:
    steps = dict(flow.tool_calls(files))
    assert list(steps) == ["yosys", "nextpnr-ecp5", "ecppack"]
    text = " ".join(steps["nextpnr-ecp5"])
    assert "--85k --package CABGA381 --speed 6" in text
    assert "--seed 5" in text
    assert "--report top.report.json" in text
    assert "--compress" in steps["ecppack"]
    assert "COLLISION_X_MASK 1'1" in files["top.il"]
    assert free_collisions(files["top.il"]) == files["top.il"]
    assert 'FREQUENCY PORT "clk25_0__io" 25000000.0 HZ;' in files["top.lpf"]
    assert flow.make_plan(ULX3S, NANO, seed=5) == files


def test_digest_depends_on_files_tools_and_seed(files: dict[str, str]) -> None:
    tool = tools.Tool("yosys", "/bin/yosys", "1", "PATH")
    digests = {flow.build_digest(files, {"yosys": tool}, 1),
               flow.build_digest(files, {"yosys": tool}, 2),
               flow.build_digest(files, {"yosys": replace(tool, version="2")}, 1),
               flow.build_digest({**files, "top.il": ""}, {"yosys": tool}, 1)}
    assert len(digests) == 4


def test_second_build_is_cached(fakes: Fakes) -> None:
    first = flow.build(BOARD, NANO, quiet=True)
    assert fakes.calls == ["yosys", "nextpnr-ecp5", "ecppack"]
    assert (first.cached, first.failure) == (False, "")
    assert first.result["clocks"] == {
        "sync": {"net": "clk", "target_mhz": 60.0, "achieved_mhz": 61.25}}
    assert first.result["critical_path"] == {
        "from": "a.Q", "to": "b.D", "logic_ns": 0.5, "routing_ns": 9, "levels": 0}
    assert first.result["resources"]["LUT4"] == {"used": 7, "available": 83640}
    assert first.result["config_digest"] == NANO.digest
    assert (fakes.folder / "build" / "ulx3s.bit").read_bytes() == first.bitstream.read_bytes()
    second = flow.build(BOARD, NANO, quiet=True)
    assert (second.cached, second.result, fakes.calls) == (True, first.result, [])
    assert not flow.build(BOARD, NANO, seed=2, quiet=True).cached


def test_a_damaged_build_is_not_trusted(fakes: Fakes) -> None:
    done = flow.build(BOARD, NANO, quiet=True)
    done.bitstream.write_bytes(b"")
    assert not flow.build(BOARD, NANO, quiet=True).cached


@pytest.mark.parametrize("tool", flow.TITLES)
def test_a_failing_tool_leaves_its_log_and_no_build(fakes: Fakes, tool: str) -> None:
    fakes.change(fail=tool)
    with pytest.raises(BuildError, match=f"{tool} ended with code 1; log: .*failed") as failure:
        flow.build(BOARD, NANO, quiet=True)
    assert "ERROR: no more room" in str(failure.value)
    folders = list((fakes.folder / "build" / "boards").iterdir())
    assert [folder.suffix for folder in folders] == [".failed"]
    assert not (fakes.folder / "build" / "ulx3s.bit").exists()
    fakes.change()
    assert not flow.build(BOARD, NANO, quiet=True).cached


def test_a_missed_clock_is_a_result_but_no_bitstream(fakes: Fakes) -> None:
    fakes.change(constraint=62.5)
    done = flow.build(BOARD, NANO, clock_mhz=62.5, quiet=True)
    assert done.failure.startswith("clock missed: sync 61.25 of 62.50 MHz; slowest path from a.Q")
    assert not (fakes.folder / "build" / "ulx3s.bit").exists()
    assert flow.build(BOARD, NANO, clock_mhz=62.5, quiet=True).failure == done.failure


def test_a_lost_constraint_is_an_error(fakes: Fakes) -> None:
    fakes.change(constraint=12.0)
    with pytest.raises(BuildError, match="no clock is constrained to 60 MHz"):
        flow.build(BOARD, NANO, quiet=True)


def test_an_overfull_netlist_stops_before_placement(fakes: Fakes) -> None:
    fakes.change(cells={"LUT4": 80000, "CCU2C": 2000, "MULT18X18D": 157})
    with pytest.raises(BuildError, match=r"does not fit .*LUT4 84000 of 83640; DSP 157 of 156"):
        flow.build(BOARD, NANO, quiet=True)
    assert fakes.calls == ["yosys"]


def test_nextpnr_gets_relaxed_carry_chains(fakes: Fakes) -> None:
    cell = {"type": "CCU2C", "parameters": {"INIT0": "0"}, "port_directions": {"COUT": "output"},
            "connections": {"CIN": ["0"], "COUT": [7]}}
    fakes.change(netlist={"modules": {"top": {"ports": {}, "cells": {"slice": cell}}}})
    done = flow.build(BOARD, NANO, quiet=True)
    netlist = json.loads((done.folder / "top.json").read_text())
    assert netlist["modules"]["top"]["cells"]["slice"]["connections"] == {
        "CIN": ["x"], "COUT": ["x"]}


def test_block_ram_limits_the_clock(fakes: Fakes) -> None:
    """Nextpnr does not know that the block RAM needs clock pulses of 2.359 ns."""
    message = "clock must be at most 212 MHz, not 225: the design has block RAM"
    with pytest.raises(ConfigError, match=message):
        flow.build(ULX3S, PRESETS["ecp5"], clock_mhz=225)
    fakes.change(cells={"DP16KD": 1})
    with pytest.raises(BuildError, match=message):
        flow.build(ULX3S, NANO, clock_mhz=225, quiet=True)
    assert fakes.calls == ["yosys"]
    fakes.change(constraint=225)
    assert "clock missed" in flow.build(ULX3S, NANO, clock_mhz=225, quiet=True).failure


def test_a_slow_tool_is_stopped(fakes: Fakes) -> None:
    (fakes.folder / "yosys").write_text('#!/bin/sh\n[ "$1" = -V ] && echo 1.0 || sleep 60\n')
    with pytest.raises(BuildError, match=r"took longer than 0.00\d* minutes"):
        flow.build(BOARD, NANO, timeout_s=0.5, quiet=True)


@pytest.mark.parametrize(("change", "message"), [
    ({"rows": 12}, r"DSP at least 192 of 156 .rows x cols = 12 x 16 MAC cells .dsp..$"),
    ({"rows": 12, "vector_lanes": 4}, "DSP at least 196 of 156 .* and 4 vector lanes"),
    ({"weight_depth": 65536}, r"BRAM at least \d+ of 208 .weight_depth = 65536")])
def test_configs_that_cannot_fit_are_refused_at_once(change: dict, message: str) -> None:
    config = replace(PRESETS["ecp5"], **change)
    with pytest.raises(ConfigError, match=f"does not fit ulx3s .*{message}"):
        flow.build(BOARD, config)


@pytest.mark.parametrize(("depth", "bits"), [
    ("weight_depth", 9 * 16 * 8), ("act_depth", 16 * 8), ("acc_depth", 16 * 32),
    ("out_depth", 16 * 8), ("mem_depth", 16 * 8), ("offset_depth", 9 * 13),
    ("param_depth", 4 * (32 + 17 + 6))])
def test_every_memory_counts(depth: str, bits: int) -> None:
    few, many = (budget.least_usage(config)["BRAM"] for config in (
        PRESETS["ecp5"], replace(PRESETS["ecp5"], **{depth: 65536})))
    more = (65536 - getattr(PRESETS["ecp5"], depth)) * bits / (18 * 1024)
    assert many - few == pytest.approx(more, abs=6)     # instructions and offsets are wider, too


@pytest.mark.parametrize("name", PRESETS)
def test_presets_may_fit(name: str) -> None:
    # the memory of those named so is too large for a chip: they are simulated
    large = name.endswith("-mem")
    with pytest.raises(ConfigError, match="mem_depth") if large else nullcontext():
        budget.check_config(PRESETS[name], ULX3S)


def test_unknown_board_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="BOARD must be one of ulx3s, not 'ulx'"):
        board("ulx")


@pytest.mark.parametrize(("arguments", "code", "error"), [
    (["build", "nope"], 2, "error: BOARD must be one of ulx3s, not 'nope'"),
    (["build", "ulx3s", "--preset", "nope"], 2, "error: preset must be one of"),
    (["build", "ulx3s", "--clock", "61"], 2, "error: the PLL cannot make 61 MHz"),
    (["build", "ulx3s", "--config", "/nowhere.toml"], 2, "error: cannot read config"),
    (["list"], 0, "")])
def test_command_line(arguments: list[str], code: int, error: str) -> None:
    done = subprocess.run([sys.executable, "-m", "boards", *arguments], cwd=tools.ROOT,
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr[:len(error)]) == (code, error)
    assert len(done.stderr.splitlines()) == bool(error)


@pytest.mark.slow
def test_real_bitstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "BUILD", tmp_path)
    spec: BoardSpec = replace(ULX3S, clock_mhz=50.0)
    done = flow.build(spec, NANO, seed=3, timeout_s=600)
    assert done.failure == ""
    assert done.bitstream.stat().st_size > 10_000
    # an element, and of the lane two halves of a wide product and the two of an addition
    assert done.result["resources"]["DSP"] == {"used": 5, "available": 156}
    assert done.result["critical_path"]["from"]
    assert flow.build(spec, NANO, seed=3).cached


@pytest.mark.parametrize(("multiplier", "slices"), [("dsp", 27), ("packed", 15), ("lut", 0)])
def test_slices_follow_the_way_to_multiply(multiplier: str, slices: int) -> None:
    config = replace(PRESETS["tiny"], rows=3, cols=9, multiplier=multiplier, depthwise=False)
    assert budget.least_usage(config)["DSP"] == slices + config.vector_lanes


def test_lanes_that_multiply_in_luts_need_no_slices() -> None:
    assert [budget.least_usage(replace(PRESETS["ecp5"], vector_lanes=lanes))["DSP"] - 9 * 16
            for lanes in (2, 4, 8, 16)] == [2, 4, 0, 0]
