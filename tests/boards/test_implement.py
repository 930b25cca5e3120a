"""Runs without a board: what is kept, what a failure leaves, names for people."""
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from accel.report.benches import Bench
from accel.spec.array import ArraySpec
from accel.spec.cells import CellSpec
from boards import implement, tools
from boards.devices import ECP5, ICE40, Device
from boards.implement import place_and_route, readable, synthesise
from boards.process import BuildError
from tests.fakes import FakeTools

TEXT = "module \\top\nend\n"
#: Names of one net in a module, and of another in another.
ALIASES = r"""module \top.other
connect \wrong \i_sum$34 [1:0]
end
module \top.dut
connect \i_sum$34[0] \i_sum$34 [1:0]
connect \crossing_4_0 \i_sum$34 [1:0]
end
"""


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTools:
    return FakeTools(tmp_path, monkeypatch)


def run(text: str = TEXT, seed: int = 1, target_mhz: float = 300.0, timeout_s: float = 30,
        device: Device = ECP5) -> dict:
    design = synthesise(text, device, timeout_s=timeout_s, quiet=True)
    return place_and_route(design, target_mhz=target_mhz, seed=seed, timeout_s=timeout_s,
                           quiet=True)


def test_figures(fakes: FakeTools) -> None:
    found = run(seed=2)
    assert {name: found[name] for name in ("fmax_mhz", "seed", "target_mhz", "resources")} == {
        "fmax_mhz": 270, "seed": 2, "target_mhz": 300.0,
        "resources": {"LUT4": 1000, "FF": 800, "DSP": 4, "BRAM": 0}}
    assert found["critical_path"] == {"from": "pe_0_0.x", "to": "pe_0_1.sum", "logic_ns": 0.5,
                                      "routing_ns": 2, "levels": 0}
    assert {name: tool["version"] for name, tool in found["tools"].items()} == {
        "yosys": "yosys 1.0", "nextpnr-ecp5": "nextpnr-ecp5 1.0"}


def test_resources_that_nextpnr_does_not_count_come_from_the_netlist(fakes: FakeTools) -> None:
    fakes.change(cells={"SB_DFFE": 3, "SB_DFF": 4, "SB_LUT4": 9}, used={"ICESTORM_LC": 11})
    assert run(device=ICE40)["resources"] == {"LUT4": 11, "FF": 7, "DSP": 0, "BRAM": 0}


def test_seeds_share_a_netlist_and_runs_are_kept(fakes: FakeTools) -> None:
    first = run()
    assert fakes.calls == ["yosys", "nextpnr-ecp5"]
    assert run() == first
    assert fakes.calls == []
    others = [run(seed=2), run(target_mhz=200.0)]
    assert fakes.calls == ["nextpnr-ecp5"] * 2
    assert len({found["digest"] for found in (first, *others)}) == 3
    run(TEXT + "\n")
    run(device=replace(ECP5, synthesis="synth_ecp5 -abc2"))
    assert fakes.calls == ["yosys", "nextpnr-ecp5"] * 2
    kept = {path.suffix for folder in (fakes.folder / "build" / "implement").iterdir()
            for path in folder.iterdir()}
    assert kept == {".il", ".ys", ".json"}     # no logs, no reports


def test_a_failed_run_leaves_its_log_and_nothing_to_trust(fakes: FakeTools) -> None:
    fakes.change(fail=["1"])
    with pytest.raises(BuildError, match="seed 1: nextpnr-ecp5 ended with code 1; log:") as failure:
        run()
    assert "ERROR: no route to the east" in str(failure.value)
    assert list((fakes.folder / "build" / "implement").glob("*/seed-1-*.log.out"))
    fakes.change()
    assert run()["fmax_mhz"] == 250
    fakes.change(hang=["2"])
    with pytest.raises(BuildError, match="longer than"):
        run(seed=2, timeout_s=0.5)


def test_a_failed_synthesis_is_set_aside(fakes: FakeTools) -> None:
    fakes.change(modules={"top": {}})
    with pytest.raises(BuildError, match=r"yosys' results in .*failed cannot be used"):
        run()
    assert [path.suffix for path in (fakes.folder / "build" / "implement").iterdir()] == [
        ".failed"]
    fakes.change()
    assert run()["fmax_mhz"] == 250


def test_what_does_not_fit_is_not_routed(fakes: FakeTools) -> None:
    fakes.change(cells={"MULT18X18D": 157, "CCU2C": 41821})
    with pytest.raises(BuildError, match=r"LFE5U.*: LUT4 83642 of 83640; DSP 157 of 156"):
        run()
    assert fakes.calls == ["yosys"]


@pytest.mark.parametrize(("pin", "name"), [
    ("dut.pe_0_1.swap_0.bit_0.Q", "pe_0_1.swap_0.bit_0"),
    ("dut.pe_0_1.i_sum$27[0]_TRELLIS_FF_Q_16.DI", "pe_0_1.i_sum"),
    ("dut.pe_0_1.adder_0.slice_3$CCU2_COMB1.A", "pe_0_1.adder_0.slice_3"),
    ("dut.pe_0_1.x_SB_DFF_Q_2_D_SB_LUT4_O_LC.I0", "pe_0_1.x"),
    ("known_DFFLC.O", "pe_2_3.weights"), ("known.Q", "pe_2_3.weights"),
    ("aliased.Q", "crossing_4_0"), ("dut.pe_0_0.y_TRELLIS_FF_Q.Q", "pe_0_0.y"),
    ("chain_12_TRELLIS_FF_Q.Q", "chain_12")])
def test_names_are_readable(pin: str, name: str) -> None:
    names = {"known": "top.dut.pe_2_3.weights$9", "aliased": "top.dut.i_sum$34",
             "dut.pe_0_0.y_TRELLIS_FF_Q": "/share/cells_map.v:16.100-16.154"}
    assert readable(pin, names, ALIASES) == name


@pytest.mark.parametrize(("device", "cell", "multiplier"), [
    (ECP5, "MULT18X18D", "dsp"), (ICE40, "SB_MAC16", "dual")], ids=["ecp5", "ice40"])
def test_synthesis_leaves_dsp_instances_alone(device: Device, cell: str, multiplier: str,
                                              tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                              ) -> None:
    """With ``-dsp``, yosys would take the registers out of iCE40's and change their mode."""
    monkeypatch.setattr(tools, "BUILD", tmp_path)
    monkeypatch.setattr(implement, "BUILD", tmp_path)
    array = ArraySpec(rows=1, cols=2, cell=CellSpec("mac", 8), act_bits=8, terms=1, band_rows=1,
                      multiplier=multiplier)
    text, _ = Bench(name="mac", array=array, device=device, variant="mapped").elaborate()
    design = synthesise(text, device, timeout_s=60, quiet=True)
    netlist = json.loads((design.folder / "design.json").read_text())["modules"]["top"]["cells"]
    found = [instance for instance in netlist.values() if instance["type"] == cell]
    asked = dict(re.findall(r"parameter \\(\w+) (\S+)", text.partition(f"cell \\{cell} ")[2]
                            .partition("\n  end")[0]))
    assert len(asked) > 10
    for instance in found:
        for name, value in asked.items():
            kept = instance["parameters"][name]
            assert value in (f'"{kept}"', f"{len(kept)}'{kept}"), name
    assert len(found) == device.usage(design.cells)["DSP"] == 2 // array.span
