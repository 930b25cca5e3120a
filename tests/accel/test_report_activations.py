"""The activations report: its figures on small formats, what it keeps, pages, and refusals."""
import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from accel.circuits import store
from accel.circuits.store import Wish
from accel.report import activation_rows, activations, cells, prove
from accel.report.activation_paper import paper_row
from accel.report.activation_rows import measured, synthesised
from accel.spec.errors import InputError
from accel.spec.formats import Format
from tests.accel.test_report_cells import library

KEYS = {"function", "in_format", "out_format", "contract", "bits", "form", "lut4", "levels",
        "area_um2", "delay_ps", "max_ulp", "mean_ulp", "proven", "target", "monotone",
        "is_monotone", "gates", "case_lut4", "bipartite_lut4", "ratio_case", "ratio_bipartite",
        "case_area_um2"}
FIVE = Format.parse("Q2.3")
LOOSEST = {"exact": 0.5, "faithful": 1.0, "within1": 1.5}


@pytest.fixture(autouse=True)
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, and no circuit kept; the compiled search stays."""
    for module in (store, activation_rows, activations, cells, prove):
        monkeypatch.setattr(module, "BUILD", tmp_path / "build")
    monkeypatch.setattr(store, "KNOWN", tmp_path / "known.json")
    store.known.cache_clear()
    yield tmp_path / "build"
    store.known.cache_clear()


@pytest.fixture
def liberty(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.lib"
    path.write_text(library())
    return path


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tool runs: circuits are real, what surrounds them is not."""
    monkeypatch.setattr(activations, "find_liberty", lambda given: None)
    monkeypatch.setattr(activation_rows, "proven", lambda *_, **__: True)
    monkeypatch.setattr(activation_rows, "synthesised",
                        lambda texts: [[(20 + number, 4), (19 + number, 5)]
                                       for number in range(len(texts))])


def options(*arguments: str, as_json: bool = True) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    activations.add_arguments(parser)
    return parser.parse_args(arguments, argparse.Namespace(json=as_json))


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert activations.run(options(*arguments)) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def small(*arguments: str) -> Sequence[str]:
    return ("--in", "Q2.3", "--effort", "0.01", *arguments)


@pytest.mark.slow
def test_one_function(capsys: pytest.CaptureFixture[str], liberty: Path, build: Path) -> None:
    arguments = small("--function", "tanh", "--liberty", str(liberty))
    found = report(capsys, *arguments)
    assert [row["contract"] for row in found["rows"]] == ["exact", "faithful", "within1"]
    assert found["liberty"]["path"] == str(liberty)
    for row in found["rows"]:
        assert set(row) >= KEYS
        assert (row["function"], row["in_format"], row["out_format"], row["bits"]) == (
            "tanh", "Q2.3", "Q2.3", 5)
        assert row["proven"] is True
        assert row["reference"] == "mpmath"
        assert 0 < row["mean_ulp"] < row["max_ulp"] <= LOOSEST[row["contract"]]
        assert row["case_lut4"] >= row["lut4"] >= row["levels"] > 0
        assert row["ratio_case"] == round(row["case_lut4"] / row["lut4"], 3)
        assert row["ratio_case_area"] == round(row["case_area_um2"] / row["area_um2"], 3)
        assert row["gates"] is None
    exact, faithful, within1 = found["rows"]
    assert exact["lut4"] >= faithful["lut4"] >= within1["lut4"]
    assert exact["is_monotone"]
    assert len({row["case_lut4"] for row in found["rows"]}) == 1
    # the smallest bipartite table within one code is smaller than the plain table
    assert within1["bipartite_lut4"] < within1["case_lut4"]

    files = {path: path.read_bytes() for path in (build / "report").iterdir()}
    assert {path.name.split("-")[1] for path in files} == {"proof", "lut4", "cells"}
    assert report(capsys, *arguments) == found
    assert {path: path.read_bytes() for path in (build / "report").iterdir()} == files


@pytest.mark.usefixtures("quick")
def test_ratios_of_luts(capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = report(capsys, *small("--function", "tanh", "--contract", "within1"))["rows"]
    assert set(row) >= KEYS
    assert (row["case_lut4"], row["case_nowidelut_lut4"], row["bipartite_lut4"]) == (20, 19, 20)
    assert row["ratio_case"] == row["ratio_bipartite"] == round(20 / row["lut4"], 3)
    assert row["proven"]


def test_what_is_kept_is_not_made_again(monkeypatch: pytest.MonkeyPatch,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(activations, "find_liberty", lambda given: None)
    arguments = small("--function", "silu", "--contract", "within1", "--out", "Q2.2")
    found = report(capsys, *arguments)
    (row,) = found["rows"]
    assert row["area_um2"] is row["delay_ps"] is row["case_area_um2"] is found["liberty"] is None
    assert row["ratio_case"] > 0
    assert "No cell library found" in found["notes"][-1]

    def never(*_: object, **__: object) -> None:
        raise AssertionError("made again")
    monkeypatch.setattr(activation_rows, "proven", never)
    monkeypatch.setattr(activation_rows, "run_tool", never)
    assert report(capsys, *arguments) == found


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("broken", ["proof", "contract", "mpmath", "monotone"])
def test_proven_needs_all_of_it(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wish = Wish("tanh", FIVE, FIVE, "faithful", monotone=True)
    circuit = store.get(wish, effort=0.01)
    assert measured(circuit, None, bipartites=0).row["proven"]
    if broken == "proof":
        monkeypatch.setattr(activation_rows, "BUILD", activation_rows.BUILD / "other")
        monkeypatch.setattr(activation_rows, "proven", lambda *_, **__: False)
    elif broken == "contract":
        monkeypatch.setattr(store.Relation, "allows", lambda *_: False)
    elif broken == "mpmath":
        monkeypatch.setattr(activation_rows, "find_reference", lambda _: lambda x: 1 + x - x)
    else:
        monkeypatch.setattr(store.Relation, "is_monotone", lambda *_: False)
    assert measured(circuit, None, bipartites=0).row["proven"] is False


def test_gates(liberty: Path) -> None:
    """For the target ``area``, LUTs are those of a synthesis: no bit of 4 inputs takes two."""
    four = Format.parse("Q2.2")
    row = measured(store.get(Wish("tanh", four, four, "exact", target="area"), effort=0.01),
                   liberty, bipartites=0).row
    assert row["gates"] > row["lut4"]
    assert 1 <= row["lut4"] <= 4
    assert row["levels"] == 1
    assert row["proven"]
    assert 0 < row["area_um2"] <= row["fast_area_um2"]
    assert row["fast_delay_ps"] <= row["delay_ps"]


def test_synthesis_counts_luts_and_levels() -> None:
    texts = [f"module circuit (input [8:0] x, output y); assign y = {y}; endmodule"
             for y in ("^x[3:0]", "^x", "x[2]")]
    assert [way[activation_rows.NO_WIDE] for way in synthesised(texts)] == [(1, 1), (3, 2), (0, 0)]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("levels", ["0", "4"])
def test_monotone_tells_its_cost(levels: str, capsys: pytest.CaptureFixture[str]) -> None:
    free, monotone = report(capsys, *small("--function", "sigmoid", "--contract", "within1",
                                           "--monotone", "--levels", levels))["rows"]
    assert (free["monotone"], monotone["monotone"]) == (False, True)
    assert monotone["is_monotone"]
    assert free["cost_lut4"] is None
    assert monotone["cost_lut4"] == monotone["lut4"] - free["lut4"]
    assert max(free["levels"], monotone["levels"]) <= int(levels) or levels == "0"


@pytest.mark.usefixtures("quick")
def test_a_function_of_the_user(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\ndef bump(x):\n    return torch.exp(-torch.tensor(x) ** 2)\n")
    monkeypatch.syspath_prepend(tmp_path)
    rows = [report(capsys, *small("--function", name, "--out", "UQ0.5", "--contract", "exact")
                   )["rows"][0] for name in (f"{tmp_path / 'mine.py'}:bump", "mine:bump")]
    assert rows[0] | {"function": ""} == rows[1] | {"function": ""}
    assert rows[0]["function"] == f"{tmp_path / 'mine.py'}:bump"
    assert rows[0]["proven"]
    assert rows[0]["reference"] is None
    assert rows[0]["max_ulp"] <= 1      # 1 is not a code


@pytest.mark.usefixtures("quick")
def test_pages(capsys: pytest.CaptureFixture[str], tmp_path: Path, build: Path) -> None:
    picture = tmp_path / "a folder" / "out.png"
    arguments = small("--function", "elu", "--html", "--plot", str(picture))
    assert activations.run(options(*arguments, as_json=False)) == 0
    out = capsys.readouterr().out
    page = build / "report" / "activations.html"
    assert str(page) in out
    assert str(picture) in out
    assert "elu" in out
    first = picture.read_bytes()
    assert first.startswith(b"\x89PNG")
    text = page.read_text()
    assert text.count("<svg") == text.count("</svg>") == 1
    assert "http" not in text[:text.index("<svg")]      # needs no other file
    svg = ElementTree.fromstring(text[text.index("<svg"):text.index("</svg>") + 6])
    assert "elu, Q2.3 to Q2.3" in "".join(svg.itertext())
    assert text.count("<tr") == 1 + 3
    assert activations.run(options(*arguments)) == 0
    out, errors = capsys.readouterr()
    assert json.loads(out)["rows"]
    assert str(page) in errors
    assert (picture.read_bytes(), page.read_text()) == (first, text)


@pytest.mark.usefixtures("quick")
def test_clock_is_the_lower_median(monkeypatch: pytest.MonkeyPatch,
                                   capsys: pytest.CaptureFixture[str]) -> None:
    from accel.report import activation_clock
    speeds, texts = {1: 310.0, 2: 350.5, 3: 330.0, 4: 320.0}, []
    monkeypatch.setattr(activation_clock, "synthesise",
                        lambda text, device, **_: texts.append(text))
    monkeypatch.setattr(activation_clock, "place_and_route",
                        lambda design, seed, **_: {"fmax_mhz": speeds[seed]})
    rows = report(capsys, *small("--function", "tanh", "--clock", "--monotone"))["rows"]
    (row,) = (row for row in rows if row["clock_mhz"])
    assert (row["contract"], row["monotone"], row["clock_mhz"]) == ("within1", False, 320.0)
    assert row["clocks_mhz"] == [310.0, 350.5, 330.0, 320.0]
    assert texts[0].count("cell \\LUT4 ") == row["lut4"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tanh_1_4_4", "selu_1_6_5"])
def test_a_point_of_the_paper(name: str, liberty: Path) -> None:
    from accel.circuits.catalogue import paper_wishes
    rows = {wish.contract: paper_row(store.get(wish, effort=0.05), liberty)
            for wish in paper_wishes() if wish.function == name}
    assert list(rows) == ["truncated", "faithful", "within1"]
    for row in rows.values():
        assert row["proven"]
        assert row["reference"] == "mpmath"
        bits = row["words"] * row["word_bits"]
        # a bit of the library's storage: see test_report_cells.py
        assert row["storage_area_um2"] == pytest.approx(bits / 8 * (8 * 16 + 1))
        assert row["writable_area_um2"] == pytest.approx(
            row["storage_area_um2"] + row["mux_area_um2"])
        assert row["ratio_writable"] > row["ratio_mux"] > row["ratio_table"] > 1
        assert row["ratio_table"] == round(row["table_area_um2"] / row["area_um2"], 3)
        assert row["clock_ghz"] == round(1000 / row["delay_ps"], 3)
        assert row["max_ulp"] < (1.5 if row["contract"] == "within1" else 1)
    assert rows["truncated"]["golden"] is True
    assert rows["truncated"]["area_um2"] >= rows["faithful"]["area_um2"] >= rows["within1"][
        "area_um2"]


@pytest.mark.parametrize(("arguments", "message"), [
    (["--function", "tanh", "--out", "UQ0.8"], "format UQ0.8 holds 0 to 0.996094, but tanh goes"),
    (["--function", "exp", "--in", "Q4.4", "--out", "Q1.7"], "format Q1.7 holds -1 to 0.99"),
    (["--function", "tanh", "--in", "3.5"], "format must be like Q3.5, UQ0.8"),
    (["--function", "tanh", "--in", "Q9.9"], "format 'Q9.9' has 18 bits; 4 to 12 are allowed"),
    (["--function", "tanh", "--contract", "e1"], "contract must be one of exact, faithful"),
    (["--function", "tanh", "--target", "power"], "--target must be one of lut4, area, delay"),
    (["--function", "tanh", "--levels", "-1"], "--levels must be at least 0, not -1"),
    (["--function", "tanh", "--in", "Q3.3", "--contract", "exact", "--levels", "1", "--effort",
      "0.01"], "no circuit with 1 levels was found; the flattest known has"),
    (["--function", "tanh", "--effort", "0"], "--effort must be more than 0, not 0"),
    (["--function", "tanh", "--effort", "nan"], "--effort must be more than 0, not nan"),
    (["--function", "tanh", "--effort", "inf"], "--effort must be at most 100, not inf"),
    (["--levels", "3"], "--levels needs --function"), (["--in", "Q3.5"], "--in needs --function"),
    (["--function", "tanh", "--plot", "x.gif"], "--plot must end in .png or .svg, not 'x.gif'"),
    (["--function", "tanh", "--liberty", "no.lib"], "--liberty must name a Liberty file")])
def test_refusals(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=message) as caught:
        activations.run(options(*arguments))
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""
