"""The study of networks that do not multiply: its table, what it keeps, its refusals."""
import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from accel import train
from accel.data import Digits, load_digits
from accel.networks import NETWORKS
from accel.report import shiftadd as report
from accel.report.options import OptionError

NAMES = ["cnn", "cnn-shift", "cnn-shiftadd-1x1"]


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(report, "BUILD", tmp_path)
    return tmp_path


@pytest.fixture
def untrained(build: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights that nobody has trained, where those of the study are kept; few test digits."""
    for name in NAMES:
        for seed in range(2):
            torch.manual_seed(seed)
            network = NETWORKS[name].build().train()
            network(torch.rand(16, 1, 28, 28))
            path = report.weights(name, seed, 1)
            path.parent.mkdir(parents=True, exist_ok=True)
            train.save_weights(network, path)
    training, test = load_digits()
    monkeypatch.setattr(report, "load_digits", lambda: (training[:64], test[:100]))
    return build


def options(*names: str, **changes: object) -> argparse.Namespace:
    given = {"networks": list(names), "seeds": 2, "epochs": 1, "jobs": 1, "json": False}
    return argparse.Namespace(**{**given, **changes})


def test_the_table_and_its_numbers(untrained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.run(options(*NAMES, json=True)) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["network"] for row in found["rows"]] == NAMES
    assert (found["seeds"], found["epochs"], found["data"]) == (2, 1, "digits")
    for row in found["rows"]:
        assert row["preset"] == NETWORKS[row["network"]].preset
        for kind in ("float", "integer"):
            values = row[kind]["values"]
            assert len(values) == 2
            assert row[kind]["mean"] == pytest.approx(np.mean(values), abs=0.01)
            assert row[kind]["spread"] == pytest.approx(np.std(values, ddof=1), abs=0.01)
    cnn, shift, both = found["rows"]
    assert cnn["terms"] == shift["terms"] == 608_704 < both["terms"]
    assert cnn["zero_shifts"] == 0 < shift["zero_shifts"]
    assert report.run(options(*NAMES)) == 0
    printed = capsys.readouterr().out
    assert "DeepShift-PS, 4 bits" in printed
    difference = both["integer"]["mean"] - cnn["float"]["mean"]
    assert f"{difference:+.2f}" in printed


def test_one_seed_has_no_spread(untrained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.run(options("cnn", seeds=1, json=True)) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["float"]["spread"] is None
    assert report.run(options("cnn", seeds=1)) == 0
    assert "±" not in capsys.readouterr().out


def test_a_network_named_twice_is_one(untrained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.run(options("cnn", "cnn", seeds=1, json=True)) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 1


def test_what_is_kept_depends_on_all_that_decides_it(build: Path) -> None:
    places = {report.weights(name, seed, epochs) for name in report.ROWS
              for seed in (0, 1) for epochs in (1, 2)}
    assert len({path.parent for path in places}) == 4 * len(report.ROWS)
    assert all(path.parent.parent == build / "study" for path in places)


@pytest.mark.slow
def test_a_training_is_kept(build: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report._train("cnn", 3, 1)
    path = report.weights("cnn", 3, 1)
    digits: Digits = load_digits()[0]
    again = build / "again.npz"
    train.save_weights(train.train("cnn", digits, 1, 3), again)
    assert path.read_bytes() == again.read_bytes()


@pytest.mark.parametrize(("changes", "message"), [
    ({"networks": ["cnn", "resnet8"]}, "networks must be of cnn, .*, not resnet8"),
    ({"seeds": 0}, "--seeds must be at least 1, not 0"),
    ({"epochs": -1}, "--epochs must be at least 1, not -1"),
    ({"jobs": 0}, "--jobs must be at least 1, not 0")], ids=str)
def test_bad_options(changes: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        report.run(argparse.Namespace(**{**vars(options()), **changes}))
