"""A search that takes its time says so on stderr, once, and nothing on stdout."""
from pathlib import Path

import pytest

from accel.circuits import store
from accel.circuits.progress import shown
from accel.circuits.store import Wish, get
from accel.spec.formats import Format

FIVE = Format.parse("Q3.2")
WISH = Wish("tanh", FIVE, FIVE, "within1")


@pytest.fixture(autouse=True)
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, and a stderr that is no terminal wherever the tests run."""
    monkeypatch.setattr(store, "BUILD", tmp_path)
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


def test_a_search_is_announced(capsys: pytest.CaptureFixture[str]) -> None:
    get(WISH, effort=0.01)
    assert capsys.readouterr() == (
        "", "searching a circuit for tanh Q3.2 to Q3.2 within1 lut4\n")
    get(WISH, effort=0.01)      # now it is cached
    assert capsys.readouterr() == ("", "")


def test_a_caller_may_show_it_itself(capsys: pytest.CaptureFixture[str]) -> None:
    parts: list[float] = []
    get(WISH, effort=0.01, progress=parts.append)
    assert len(parts) > 1
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str],
                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with shown("searching [a]") as told:
        told(0.25)
    out, errors = capsys.readouterr()
    assert out == ""
    assert "searching [a]" in errors
    assert "25%" in errors
