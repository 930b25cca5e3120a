"""The report of energy: published figures, what they are multiplied with, and what it refuses."""
import json
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path

import pytest

from accel.compile import compile_graph
from accel.cost.energy import (
    DRAM,
    FORMATS,
    SRAMS,
    UNITS,
    EnergyReport,
    bit_pj,
    energy_of,
    growth,
    own_format,
    recipe,
    recipe_pj,
    sram_pj,
    term_pj,
    unit_pj,
)
from accel.cost.traffic import Access, Content, Count, Store, traffic
from accel.program import Program, ProgramError
from accel.report import energy as report
from accel.report.options import OptionError
from accel.spec.config import AccelConfig, ConfigError
from accel.spec.errors import InputError
from accel.spec.presets import PRESETS
from tests.accel.test_compile import ROOMY, built
from tests.configs import FIVE_BY_SEVEN, SWITCHED, TINY, TWO_BY_THREE, WIDE

TFLITE = replace(TINY, rounding="tflite")


def options(*networks: object, as_json: bool = True, preset: str | None = "tiny",
            sources: bool = False, memory: str = "dram", against: str | None = None,
            config: str | None = None, calibration: Path | None = None,
            activations: str | None = None) -> Namespace:
    return Namespace(networks=[str(each) for each in networks], calibration=calibration,
                     against=against, memory=memory, sources=sources, preset=preset, config=config,
                     activations=activations, json=as_json)


@pytest.fixture(scope="module")
def measured() -> dict[str, EnergyReport]:
    """One small network on both kinds of cell."""
    found = {}
    for cell, bits in (("mac", 8), ("shift", 5)):
        config = replace(ROOMY, name=cell, cell=cell, weight_bits=bits)
        graph = built("residual blocks", config)
        found[cell] = energy_of(compile_graph(graph, config), config, graph)
    return found


# --- figures ------------------------------------------------------------------------------------
def test_every_figure_has_one_row_and_says_where_it_stands() -> None:
    assert len({(unit.operation, unit.format) for unit in UNITS}) == len(UNITS)
    for row in (*UNITS, *SRAMS, DRAM):
        assert row.picojoules > 0
        assert "20" in row.source
        assert len(row.source) > 40
    assert [unit_pj("multiply", name) for name in FORMATS] == [3.7, 3.1, None, 0.2]
    assert [unit_pj("add", name) for name in FORMATS] == [0.9, 0.1, 0.05, 0.03]
    assert [unit_pj("shift", name) for name in FORMATS] == [None, 0.13, None, 0.024]


@pytest.mark.parametrize(("kind", "energies"), [
    (Count.MAC, [4.6, 3.2, None, 0.3]), (Count.SHIFT, [None, 0.23, None, 0.124]),
    (Count.DISTANCE, [1.8, 0.2, 0.15, 0.13])])
def test_a_term_is_added_to_a_wide_sum(kind: Count, energies: list[float | None]) -> None:
    assert [term_pj(kind, name) for name in FORMATS] == [
        None if each is None else pytest.approx(each) for each in energies]


@pytest.mark.parametrize(("kind", "form", "config", "picojoules"), [
    (Count.REQUANTIZATION, "FIX8", TINY, 3.1 + 0.13 + 2 * 0.1),
    (Count.REQUANTIZATION, "FP32", TINY, 3.7 + 0.9),
    (Count.REQUANTIZATION, "FIX8", replace(TINY, scale_terms=1), 0.13 + 2 * 0.1),
    (Count.REQUANTIZATION, "FIX16", replace(TINY, scale_terms=3), 3 * 0.13 + 4 * 0.1),
    (Count.ADDITION, "FIX8", TINY, 2 * 3.1 + 0.13 + 5 * 0.1),
    (Count.ADDITION, "FIX8", replace(TINY, scale_terms=2), 3 * 0.13 + 5 * 0.1),
    (Count.ADDITION, "FIX8", TFLITE, 3 * (3.1 + 0.13 + 0.1) + 4 * 0.1),
    (Count.ADDITION, "FP32", TINY, 0.9), (Count.COMPARISON, "FIX16", TINY, 0.05)])
def test_operations_of_the_vector_unit(kind: Count, form: str, config: AccelConfig,
                                       picojoules: float) -> None:
    assert recipe_pj(recipe(kind, form, config)) == pytest.approx(picojoules)


def test_memories_between_the_published_sizes() -> None:
    for sram in SRAMS:
        assert sram_pj(sram.size or 0) == pytest.approx(sram.picojoules)
    assert sram_pj(16 << 10) == pytest.approx(10 * 2 ** 0.5)
    assert sram_pj(1) == 10
    assert sram_pj(1 << 30) == 100
    ecp5 = PRESETS["ecp5"]
    assert bit_pj(Store.PORT, "FIX8", ecp5, "dram") == pytest.approx(1300 / 64)
    assert 20 / 64 < bit_pj(Store.PORT, "FIX8", ecp5, "chip") < 100 / 64
    assert bit_pj(Store.ACTIVATION, "FIX8", ecp5, "chip") == pytest.approx(10 / 64)


@pytest.mark.parametrize(("config", "form"), [(TINY, "FIX8"), (WIDE, "FIX16"),
                                              (FIVE_BY_SEVEN, "FIX8"), (SWITCHED, "FIX8")], ids=str)
def test_own_format(config: AccelConfig, form: str) -> None:
    assert own_format(config) == form


@pytest.mark.parametrize(("config", "content", "factor"), [
    (TINY, Content.ACTIVATION, 4), (TINY, Content.WEIGHT, 4), (TINY, Content.OTHER, 1),
    (TWO_BY_THREE, Content.WEIGHT, 1), (TWO_BY_THREE, Content.ACTIVATION, 4)])
def test_what_wider_operands_move(config: AccelConfig, content: Content, factor: float) -> None:
    access = Access(Store.PORT, "read", content)
    assert growth(access, "FIX32", config) == growth(access, "FP32", config) == factor
    assert growth(access, "FIX8", config) == 1


# --- a network ----------------------------------------------------------------------------------
def test_energies_add_up(measured: dict[str, EnergyReport]) -> None:
    for each in measured.values():
        own = each.own
        assert own.format == "FIX8"
        assert own.total_uj is not None
        assert own.compute_pj is not None
        assert own.total_uj * 1e6 == pytest.approx(own.compute_pj + own.memory_pj)
        assert own.memory_pj == sum(own.memories.values())
        assert set(own.memories) == set(Store)
        # no traffic is free
        assert all(own.memories[access.store] > 0 for access in each.traffic.bits)
    mac, shift = (measured[cell] for cell in ("mac", "shift"))
    macs = mac.traffic.useful[Count.MAC]
    assert macs == shift.traffic.useful[Count.SHIFT]
    assert mac.own.operations[Count.MAC] == pytest.approx(macs * 0.3)
    assert shift.own.operations[Count.SHIFT] == pytest.approx(macs * 0.124)
    port = mac.traffic.of(Store.PORT, "read") + mac.traffic.of(Store.PORT, "write")
    assert mac.own.memories[Store.PORT] == pytest.approx(port * 1300 / 64)
    assert mac.formats["FIX32"].memories[Store.PORT] == pytest.approx(4 * port * 1300 / 64)
    assert shift.formats["FP32"].total_uj is shift.formats["FIX16"].compute_pj is None
    assert mac.formats["FP32"].total_uj is not None
    assert own.memories[Store.WEIGHT] < mac.own.memories[Store.WEIGHT]


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert report.run(options("lenet5-tanh", preset="ecp5", against="lenet5-tanh:ecp5-shift")) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["report", "memory", "networks", "savings", "terms_pj", "claim",
                           "sources", "notes"]
    shift, mac = found["networks"]
    assert [shift["preset"], mac["preset"]] == ["ecp5-shift", "ecp5"]
    assert mac["operations"]["multiply-accumulate"]["useful"] == 416_520
    assert mac["format"] == "FIX8"
    assert [each["format"] for each in mac["formats"] if each["own"]] == ["FIX8"]
    (saving,) = found["savings"]
    assert saving["own"] == saving["FIX8"]
    assert saving["own"]["total"] == round(1 - mac["total_uj"] / shift["total_uj"], 4) < 0
    assert saving["FP32"]["total"] is None
    assert saving["against"] == "lenet5-tanh on ecp5-shift"
    assert found["claim"]["saving"] == pytest.approx(0.8)
    assert len(found["sources"]) == len(UNITS) + len(SRAMS) + 1


def test_table(measured: dict[str, EnergyReport], capsys: pytest.CaptureFixture[str]) -> None:
    mac, shift = measured["mac"], measured["shift"]
    report._print(report.energy([mac, shift], "dram"), sources=False)
    out = capsys.readouterr().out
    assert "built on mac: µJ per inference" in out
    assert mac.own.total_uj is not None
    assert shift.own.total_uj is not None
    saved = 1 - shift.own.total_uj / mac.own.total_uj
    assert 0 < saved < 0.8
    assert f"built on shift against built on mac: saves {saved:.1%}; " in out
    assert "Paper: over 80 % less energy" in out
    assert "FIX8*" in out
    assert "FIX16*" not in out
    assert "not published" in out
    for note in report.NOTES:
        assert note in out
    for line in out.splitlines():
        if line.startswith("│ all "):
            assert any(f"{each.own.total_uj:.4f}" in line for each in (mac, shift))


def test_sources_alone_compile_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert report.run(options(sources=True, as_json=False, preset=None)) == 0
    out = capsys.readouterr().out
    for row in (*UNITS, *SRAMS, DRAM):
        assert f" {row.picojoules:g} " in out
    assert out.count("M. Horowitz") == len(UNITS) - 2 + len(SRAMS) + 1
    assert out.count("97594b5") == 2        # of the shifts
    assert "per inference" not in out


def test_what_is_behind_the_memory_port(capsys: pytest.CaptureFixture[str]) -> None:
    config = ROOMY
    graph = built("depthwise", config)
    program = compile_graph(graph, config)
    dram, chip = (energy_of(program, config, graph, behind) for behind in ("dram", "chip"))
    assert dram.own.memories[Store.PORT] > 10 * chip.own.memories[Store.PORT] > 0
    assert {**dram.own.memories, Store.PORT: 0} == {**chip.own.memories, Store.PORT: 0}
    assert dram.traffic == chip.traffic == traffic(program, config, graph)


def test_a_program_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = PRESETS["tiny"]
    program = compile_graph(built("depthwise first", tiny), tiny)
    program.save(tmp_path / "net.program")
    assert report.run(options(tmp_path / "net.program")) == 0
    (found,) = json.loads(capsys.readouterr().out)["networks"]
    assert found["total_uj"] == energy_of(Program.load(tmp_path / "net.program"), tiny).own.total_uj
    with pytest.raises(ProgramError, match="was compiled for config"):
        report.run(options(tmp_path / "net.program", preset="ecp5"))


def test_what_a_colon_parts(tmp_path: Path) -> None:
    odd = tmp_path / "net:ecp5"
    odd.touch()
    for text, parts in (("cnn", ("cnn", "")), ("cnn:ecp5", ("cnn", "ecp5")),
                        ("net.py:ecp5", ("net.py:ecp5", "")), (str(odd), (str(odd), "")),
                        ("net.py:f:ecp5", ("net.py:f", "ecp5")), (":ecp5", (":ecp5", ""))):
        assert report._split(text) == parts


def test_options_without_networks(monkeypatch: pytest.MonkeyPatch,
                                  capsys: pytest.CaptureFixture[str]) -> None:
    """The command line's default is no preset, and the networks' own ones are taken."""
    given = ArgumentParser()
    report.add_arguments(given)
    plain = given.parse_args([])
    assert [(model, config.name) for model, config in report._wanted(plain)] == [
        tuple(text.split(":")) for text in report.DEFAULT]
    (only,) = report._wanted(given.parse_args(["mlp"]))
    assert only == ("mlp", PRESETS["ecp5"])
    (only,) = report._wanted(given.parse_args(["mlp:tiny", "--activations", "relu"]))
    assert only == ("mlp", replace(PRESETS["tiny"], activations=("relu",)))


# --- bad input ----------------------------------------------------------------------------------
@pytest.mark.parametrize(("given", "error", "message"), [
    (options("lenet6"), InputError, "MODEL must be one of lenet5-tanh, .* not 'lenet6'"),
    (options("lenet5-tanh", preset="huge"), ConfigError, "preset must be one of tiny, .*'huge'"),
    (options("lenet5-tanh", config="none.toml"), ConfigError, "cannot read config none.toml"),
    (options("lenet5-tanh", memory="flash"), OptionError,
     "--memory must be dram or chip, not 'flash'"),
    (options("lenet5-tanh", against="lenet5-tanh"), OptionError,
     "--against must be NETWORK:PRESET, with a preset of tiny, .* not 'lenet5-tanh'"),
    (options("lenet5-tanh", against="lenet5-tanh:huge"), ConfigError, "preset must be one of"),
    (options("lenet5-tanh", against="lenet6:tiny"), InputError, "not 'lenet6'"),
    (options("lenet5-tanh", against=""), OptionError, "--against must be .* not ''"),
    (options("cnn:bogus", preset=None), ConfigError, "preset must be one of tiny, .*, not 'bogus'"),
    (options(), OptionError, "--preset and --config are for a NETWORK without a preset behind it"),
    (options("mlp:ecp5"), OptionError, "--preset and --config are for a NETWORK without a preset"),
    (options(preset=None, config="none.toml"), OptionError, "--preset and --config are for a NET"),
    (options("mlp", calibration=Path("none.npy")), OptionError,
     "--calibration is for FILE.py:FUNCTION, and there is none"),
    (options("lenet5-tanh:ecp5", preset=None, activations="relu"), InputError,
     "activation 'tanh' is not in config 'ecp5', which has relu")], ids=str)
def test_bad_input(given: Namespace, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        report.run(given)


def test_bad_input_is_one_line_on_the_command_line() -> None:
    done = subprocess.run([sys.executable, "-m", "accel.report", "energy", "lenet6"],
                          cwd=Path(__file__).parents[2], capture_output=True, text=True,
                          check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("error: MODEL must be one of lenet5-tanh, ")
