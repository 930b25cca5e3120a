"""``python -m accel.circuits``: which of several circuits is kept, and in what form."""
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from accel.circuits import __main__ as generator
from accel.circuits import store
from accel.circuits.__main__ import cell_area, generate, smallest
from accel.circuits.catalogue import EFFORTS
from accel.circuits.network import Builder, Network
from accel.circuits.store import Circuit, Wish
from accel.report import area
from accel.spec.errors import InputError
from accel.spec.formats import Format

FOUR = Format.parse("Q2.2")
WISH = Wish("tanh", FOUR, FOUR, "within1", target="area")


def of_gates(count: int, effort: float) -> Circuit:
    builder = Builder(4)
    signal = 0
    for _ in range(count):
        signal = builder.lut(0b1000, (signal, 1))
    network = builder.network([signal])
    assert network.gates == count
    return Circuit(WISH, network, "table", effort)


def test_the_least_area_is_kept_then_the_fewest_gates() -> None:
    found = [of_gates(5, 0.1), of_gates(4, 0.2), of_gates(3, 0.3), of_gates(3, 0.4)]
    areas = {0.1: 2.0, 0.2: 2.0, 0.3: 3.0, 0.4: 3.0}
    assert smallest(found, lambda circuit: areas[circuit.effort]) is found[1]
    assert smallest(found[2:], lambda circuit: areas[circuit.effort]) is found[2]


def test_one_circuit_is_not_measured() -> None:
    def never(_: Circuit) -> float:
        raise AssertionError("measured")
    assert smallest([only := of_gates(3, 1.0)], never) is only


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Nothing is kept, and nothing cached."""
    monkeypatch.setattr(store, "BUILD", tmp_path)
    monkeypatch.setattr(store, "KNOWN", tmp_path / "known.json")
    store.known.cache_clear()
    yield tmp_path / "known.json"
    store.known.cache_clear()


def test_a_circuit_a_line(known: Path, monkeypatch: pytest.MonkeyPatch,
                          capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(generator, "wishes", lambda: [WISH])
    monkeypatch.setattr(generator, "EFFORTS", {"area": (0.01, 0.02)})
    # by the number of LUTs, without a tool
    monkeypatch.setattr(generator, "cell_area", lambda circuit: float(circuit.network.lut4))
    generate("within1")
    first, record, last = known.read_text().splitlines()
    assert (first, last) == ("[", "]")
    found = [store.search(WISH, effort=effort) for effort in (0.01, 0.02)]
    assert Network.from_record(json.loads(record)).lut4 == min(
        circuit.network.lut4 for circuit in found)
    assert "1/1 tanh Q2.2 to Q2.2 within1 area: " in capsys.readouterr().out


def test_only_area_needs_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [target for target, efforts in EFFORTS.items() if len(efforts) > 1] == ["area"]
    monkeypatch.setattr(area, "find_liberty", lambda given: None)
    with pytest.raises(InputError, match="no cell library found, by which circuits of target"):
        cell_area(of_gates(3, 0.1))
