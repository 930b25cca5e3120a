"""The timing report: its figures on stand-in tools, its refusals, and one real small array."""
import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from accel.report import runs
from accel.report.benches import BENCHES, VARIANTS, Bench
from accel.report.options import OptionError
from accel.report.timing import _print, select, timing
from accel.spec.array import ArraySpec
from accel.spec.cells import CellSpec
from boards import implement, process, tools
from boards.devices import ECP5, ICE40
from boards.tools import ToolError
from tests.fakes import FakeTools

KEYS = {"cell", "rows", "cols", "device", "variant", "fmax_mhz", "lut4", "ff", "dsp", "bram",
        "macs_per_cycle", "seeds", "lut4_per_pe", "ff_per_pe", "critical_path", "limit_mhz",
        "digest"}


def small(size: int = 2, device=ECP5, kind: str = "mac") -> list[Bench]:
    array = ArraySpec(rows=size, cols=size, cell=CellSpec(kind, 8), act_bits=8, terms=size,
                      band_rows=size)
    return [Bench(name=f"{kind}-{size}x{size}", array=array, device=device, variant=variant)
            for variant in VARIANTS]


def report(benches: list[Bench], seeds: int = 3, jobs: int = 2) -> dict:
    return timing(benches, range(1, seeds + 1), jobs=jobs, timeout_s=60, quiet=True)


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTools:
    return FakeTools(tmp_path, monkeypatch)


def test_cases() -> None:
    """Every design stands beside its inferred twin; sums have 24 bits where they should."""
    by_name = {bench.name: bench for bench in BENCHES if bench.variant == "mapped"}
    assert len(BENCHES) == 2 * len(by_name) == len({bench.key for bench in BENCHES})
    sums = {name: bench.array.sum_bits for name, bench in by_name.items() if bench.array}
    assert {name for name, bits in sums.items() if bits == 24} == {
        "mac-lut-8x8", "shift-8x8", "shift-16x16", "shift-24x24", "shift-32x32", "add-8x8",
        "add-16x16"}
    assert [name for name, bench in by_name.items() if bench.large] == [
        "shift-24x24", "shift-32x32"]
    assert {name: by_name[name].macs_per_cycle for name in (
        "mac-12x13", "mac-packed-12x26", "mac-dual-4x4", "ram-16x2048")} == {
        "mac-12x13": 156, "mac-packed-12x26": 312, "mac-dual-4x4": 16, "ram-16x2048": 0}


@pytest.mark.parametrize("bench", BENCHES, ids=lambda bench: bench.key)
def test_cases_can_be_elaborated(bench: Bench) -> None:
    if bench.array:
        few = replace(bench.array, rows=2, cols=2, terms=bench.array.terms,
                      band_rows=min(2, bench.array.band_rows))
        bench = replace(bench, array=few)
    text, harness = bench.elaborate()
    assert "module \\top.dut" in text
    assert harness["FF"] > 20
    primitives = [name for name in ("CCU2C", "MULT18X18D", "SB_MAC16", "TRELLIS_FF")
                  if f"cell \\{name}" in text]
    assert bool(primitives) == (bench.variant == "mapped")


def test_figures(fakes: FakeTools) -> None:
    benches = small()
    found = report(benches)
    assert json.loads(json.dumps(found)) == found
    mapped, inferred = found["rows"]
    assert set(mapped) >= KEYS
    assert set(mapped) == set(inferred)
    assert mapped["fmax_mhz"] == mapped["clock_mhz"] == {"best": 270, "median": 260, "worst": 250}
    assert (mapped["cell"], mapped["rows"], mapped["cols"], mapped["device"]) == (
        "mac", 2, 2, "ecp5")
    harness = benches[0].elaborate()[1]
    assert (mapped["lut4"], mapped["ff"]) == (1000 - harness["LUT4"], 800 - harness["FF"])
    assert mapped["lut4_per_pe"] == mapped["lut4"] / 4
    assert mapped["gmacs"] == pytest.approx(1.04)
    assert mapped["mmacs_per_lut4"] == round(4 * 260 / mapped["lut4"], 3)
    assert mapped["mapped_over_inferred"] == 1
    assert (mapped["limit_mhz"], mapped["unfit"], mapped["error"]) == (None, "", "")
    assert mapped["critical_path"]["from"] == "pe_0_0.x"
    assert mapped["seeds"] == [1, 2, 3]
    assert [run["fmax_mhz"] for run in mapped["runs"]] == [250, 270, 260]
    assert len({mapped["digest"], *(run["digest"] for run in mapped["runs"])}) == 4
    assert {name: tool["version"] for name, tool in found["tools"].items()} == {
        "yosys": "yosys 1.0", "nextpnr-ecp5": "nextpnr-ecp5 1.0"}


def test_block_ram_limits_the_usable_clock(fakes: FakeTools, capsys: pytest.CaptureFixture[str],
                                           ) -> None:
    fakes.change(used={"TRELLIS_COMB": 1000, "TRELLIS_FF": 800, "DP16KD": 16},
                 mhz=[250, 270, 200])
    found = report(small())
    (mapped, _) = found["rows"]
    assert mapped["limit_mhz"] == 212
    assert mapped["fmax_mhz"] == {"best": 270, "median": 250, "worst": 200}
    assert mapped["clock_mhz"] == {"best": 212, "median": 212, "worst": 200}
    assert mapped["gmacs"] == pytest.approx(0.848)
    _print(found)
    assert re.search(r"212\.0\* │ +212\.0\* │ +200\.0 │", capsys.readouterr().out)


def test_ice40_counts_logic_cells(fakes: FakeTools) -> None:
    fakes.change(cells={"SB_DFF": 300, "SB_LUT4": 300},
                 used={"ICESTORM_LC": 400, "ICESTORM_DSP": 2, "ICESTORM_RAM": 0})
    benches = small(device=ICE40)
    (mapped, _) = report(benches)["rows"]
    harness = benches[0].elaborate()[1]
    assert harness["LUT4"] == harness["FF"]
    assert (mapped["lut4"], mapped["ff"], mapped["dsp"]) == (
        400 - harness["LUT4"], 300 - harness["FF"], 2)


def test_a_design_that_does_not_fit_is_a_row(fakes: FakeTools, capsys: pytest.CaptureFixture[str],
                                             ) -> None:
    fakes.change(cells={"MULT18X18D": 312})
    found = report(small())
    assert set(fakes.calls) == {"yosys"}
    assert [row["unfit"] for row in found["rows"]] == [
        f"does not fit {ECP5.part}: DSP 312 of 156"] * 2
    assert [row["error"] for row in found["rows"]] == [""] * 2
    assert set(found["rows"][0]) >= KEYS
    _print(found)
    assert "mac-2x2-ecp5-mapped: does not fit" in capsys.readouterr().out


def test_a_failed_seed_leaves_the_others(fakes: FakeTools) -> None:
    fakes.change(fail=["2"])
    (mapped, _) = report(small())["rows"]
    assert mapped["error"].startswith("place and route, seed 2: nextpnr-ecp5 ended with code 1")
    assert (mapped["seeds"], mapped["fmax_mhz"]["median"]) == ([1, 3], 250)
    fakes.change(cells={})
    assert report(small())["rows"][0]["error"] == ""


def test_finished_runs_are_not_repeated(fakes: FakeTools) -> None:
    found = report(small(), seeds=2)
    assert sorted(fakes.calls) == ["nextpnr-ecp5"] * 4 + ["yosys"] * 2
    assert report(small(), seeds=2) == found
    assert fakes.calls == []
    report(small(), seeds=3)
    assert fakes.calls == ["nextpnr-ecp5"] * 2


def test_an_interrupt_stops_the_tools_and_keeps_what_is_done(
        fakes: FakeTools, monkeypatch: pytest.MonkeyPatch) -> None:
    fakes.change(hang=["2"])

    def interrupt(titles: dict, *_: object) -> None:
        first = next(future for future, title in titles.items() if "mapped: seed 1" in title)
        assert first.result(60)["seed"] == 1
        calls = fakes.folder / "calls"
        while calls.read_text().count("\n") < 4:    # until seed 2, which would take ten minutes
            time.sleep(0.05)
        assert process._running
        raise KeyboardInterrupt
    with monkeypatch.context() as patch:
        patch.setattr(runs, "_watch", interrupt)
        with pytest.raises(KeyboardInterrupt):
            report(small(), jobs=1)
    assert not process._running
    assert fakes.calls == ["yosys", "yosys", "nextpnr-ecp5", "nextpnr-ecp5"]
    fakes.change()
    report(small(), seeds=1)
    assert fakes.calls == ["nextpnr-ecp5"]      # the inferred twin's


def test_missing_tool(fakes: FakeTools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTPNR_ECP5", "/nowhere/nextpnr")
    with pytest.raises(ToolError, match=r"\$NEXTPNR_ECP5 names"):
        report(small())
    assert fakes.calls == []


def test_select() -> None:
    assert {bench.name for bench in select([], False)} == {
        bench.name for bench in BENCHES if not bench.large}
    assert [bench.key for bench in select(["mac-12x13"], False)] == [
        "mac-12x13-ecp5-mapped", "mac-12x13-ecp5-inferred"]
    assert [bench.key for bench in select(["ice40-mapped", "shift-32"], True)] == [
        "shift-32x32-ecp5-mapped", "shift-32x32-ecp5-inferred", "mac-dual-4x4-ice40-mapped"]
    with pytest.raises(OptionError, match="large designs alone; add --large"):
        select(["shift-32"], False)


@pytest.mark.parametrize(("arguments", "error"), [
    (["--only", "nothing"], "error: --only 'nothing' matches none of mac-8x8, mac-9x16"),
    (["--seeds", "0"], "error: --seeds must be at least 1, not 0"),
    (["--jobs", "-1"], "error: --jobs must be at least 1, not -1"),
    (["--timeout", "nan"], "error: --timeout must be more than 0, not nan"),
    (["--timeout", "0"], "error: --timeout must be more than 0, not 0")])
def test_command_line_errors(arguments: list[str], error: str) -> None:
    done = subprocess.run([sys.executable, "-m", "accel.report", "timing", *arguments],
                          cwd=tools.ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr[:len(error)]) == (2, error)
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_real_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (tools, implement):
        monkeypatch.setattr(module, "BUILD", tmp_path)
    found = report([*small(), *small(kind="add")], seeds=1)
    for row in found["rows"]:
        assert (row["unfit"], row["error"]) == ("", "")
        assert row["dsp"] == (4 if row["cell"] == "mac" else 0)
        assert 0 < row["lut4"] < 400
        assert row["fmax_mhz"]["median"] > 0
        assert row["critical_path"]["from"].startswith("pe_")
