"""The accuracy report: its figures on a few digits, what it keeps, and its refusals."""
import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from accel import train
from accel.circuits.paper import POINTS
from accel.data import Digits, load_digits
from accel.networks import load_pretrained
from accel.report import accuracy as report
from accel.report.options import OptionError
from accel.spec.errors import InputError
from accel.spec.formats import Format

KEYS = {"name", "network", "function", "in_format", "out_format", "contract", "float_accuracy",
        "accuracy", "change_points", "float_retrained", "retrained", "retrained_change_points"}


@pytest.fixture(scope="module")
def digits() -> tuple[Digits, Digits]:
    training, test = load_digits()
    return training[:128], test[:200]


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(report, "BUILD", tmp_path)
    return tmp_path


def no_tables(*arguments: object) -> Sequence[int]:
    raise AssertionError(f"asked for {arguments}")


def fine_codes(function: str, into: Format, out: Format, contract: str) -> Sequence[int]:
    """The function in float64, near enough to leave most digits as they are."""
    real = {"tanh": torch.tanh, "selu": torch.selu}[function]
    values = real(torch.tensor([float(into.value(code)) for code in into.codes]).double())
    return [max(out.low, min(out.high, round(value / float(out.scale))))
            for value in values.tolist()]


def test_cases() -> None:
    names = [case.name for case in report.CASES]
    assert len(set(names)) == len(names) == 18 + 4 * 3
    assert names[:18] == [point.name for point in POINTS]
    assert {"tanh-Q3.5-Q1.7-within1", "selu-Q4.4-Q4.4-exact",
            "selu-Q3.5-Q3.5-faithful"} < set(names)
    assert [case.name for case in report.select(["tanh_1_6_4", "Q4.4-exact"])] == [
        "tanh_1_6_4", "selu-Q4.4-Q4.4-exact"]
    assert report.select([]) == list(report.CASES)


def test_a_point_and_what_is_kept(build: Path, digits: tuple[Digits, Digits],
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    cases = report.select(["tanh_1_8_6"])
    found = report.accuracy(cases, epochs=1, seed=0, tables=no_tables, digits=digits, quiet=True)
    (row,) = found["rows"]
    assert set(row) == KEYS
    assert (row["name"], row["network"], row["contract"]) == ("tanh_1_8_6", "lenet5-tanh",
                                                              "truncated")
    floats = found["networks"]["lenet5-tanh"]
    assert row["float_accuracy"] == floats["accuracy"] == train.accuracy(
        load_pretrained("lenet5-tanh"), digits[1])
    assert row["change_points"] == pytest.approx(100 * (row["accuracy"] - row["float_accuracy"]))
    assert row["retrained_change_points"] == pytest.approx(
        100 * (row["retrained"] - floats["retrained"]))
    assert abs(row["change_points"]) < 3
    assert json.loads(json.dumps(found)) == found

    (kept,) = build.glob("report/accuracy-tanh_1_8_6-*.json")
    kept.unlink()
    again = report.accuracy(cases, epochs=1, seed=0, tables=no_tables, digits=digits, quiet=True)
    assert again == found                           # the seed fixes every figure

    def never(*arguments: object) -> None:
        raise AssertionError("trained in spite of the cache")
    monkeypatch.setattr(report, "fine_tune", never)
    assert report.accuracy(cases, epochs=1, seed=0, digits=digits, quiet=True) == found
    with pytest.raises(AssertionError, match="trained"):
        report.accuracy(cases, epochs=1, seed=1, digits=digits, quiet=True)
    with pytest.raises(AssertionError, match="trained"):
        report.accuracy(cases, epochs=1, seed=0, digits=(digits[0], digits[1][:100]), quiet=True)


@pytest.mark.usefixtures("build")
def test_units_ask_for_their_tables(digits: tuple[Digits, Digits]) -> None:
    asked = []

    def tables(function: str, into: Format, out: Format, contract: str) -> Sequence[int]:
        asked.append((function, str(into), str(out), contract))
        codes = fine_codes(function, into, out, contract)
        return codes if contract == "exact" else [0] * len(codes)
    cases = report.select(["selu-Q4.4-Q4.4-exact", "selu-Q4.4-Q4.4-within1"])
    found = report.accuracy(cases, epochs=1, seed=0, tables=tables, digits=digits, quiet=True)
    assert asked == [("selu", "Q4.4", "Q4.4", "exact"), ("selu", "Q4.4", "Q4.4", "within1")]
    good, dead = found["rows"]
    assert abs(good["change_points"]) < 3
    # all activations 0: one class for every digit, retrained or not
    shares = {float(np.mean(digits[1].labels == label)) for label in range(10)}
    assert {dead["accuracy"], dead["retrained"]} <= shares


@pytest.mark.parametrize(("changed", "message"), [
    ({"epochs": 0}, "--epochs must be at least 1, not 0"),
    ({"seed": -1}, "--seed must be at least 0, not -1"),
    ({"seed": 2 ** 63}, "--seed must be at most 9223372036854775807, not 9223372036854775808"),
    ({"only": ["relu"]}, "--only 'relu' matches none of tanh_1_4_4, tanh_1_4_5")])
def test_refusals(changed: dict[str, object], message: str) -> None:
    parser = argparse.ArgumentParser()
    report.add_arguments(parser)
    options = parser.parse_args([], argparse.Namespace(json=False))
    with pytest.raises(InputError, match=f"^{message}") as caught:
        report.run(argparse.Namespace(**{**vars(options), **changed}))
    assert isinstance(caught.value, OptionError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("as_json", [False, True])
def test_output(as_json: bool, build: Path, digits: tuple[Digits, Digits],
                monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(report, "load_digits", lambda: digits)
    code = report.run(argparse.Namespace(epochs=1, seed=0, only=["selu_1_4_4"], json=as_json))
    out, errors = capsys.readouterr()
    assert code == 0
    assert "selu_1_4_4: " in errors
    if as_json:
        assert json.loads(out)["rows"][0]["name"] == "selu_1_4_4"
    else:
        assert "[-3.875,0) 4 bits" in out
        assert "truncated" in out
        assert "one test digit is 0.5 points" in out
    assert list(build.glob("report/accuracy-selu_1_4_4-*.json"))
