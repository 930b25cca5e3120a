"""What is kept is used, what is not is searched once, and what is damaged is refused."""
import json
from dataclasses import replace
from pathlib import Path

import pytest

from accel.circuits import store
from accel.circuits.store import Wish, codes, get, truth_table
from accel.spec.errors import InputError
from accel.spec.formats import Format
from accel.spec.functions import FUNCTIONS
from accel.spec.presets import PRESETS
from accel.spec.relation import relation
from accel.spec.tables import PLAIN, ActivationSpec

FIVE = Format.parse("Q3.2")
WISH = Wish("tanh", FIVE, FIVE, "within1")


@pytest.fixture(autouse=True)
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and nothing kept; the compiled search stays."""
    monkeypatch.setattr(store, "BUILD", tmp_path)
    monkeypatch.setattr(store, "KNOWN", tmp_path / "known.json")
    store.known.cache_clear()
    yield tmp_path
    store.known.cache_clear()


def test_a_search_is_cached_by_effort(build: Path) -> None:
    parts: list[float] = []
    circuit = get(WISH, effort=0.01, progress=parts.append)
    assert WISH.relation.allows(circuit.codes)
    assert parts[-1] <= 1
    assert [path.name for path in (build / "circuits").iterdir()] == [f"{WISH.digest}-0.01.json"]
    assert get(WISH, effort=0.01, progress=parts.append) == circuit
    searched = len(parts)
    get(WISH, effort=0.02, progress=parts.append)
    assert len(parts) > searched


def test_what_is_kept_comes_first() -> None:
    circuit = get(WISH, effort=0.01)
    store.save([circuit.record() | {"form": "kept"}])
    assert get(WISH, effort=5).form == "kept"


def test_a_kept_circuit_outside_its_contract_is_refused() -> None:
    record = get(WISH, effort=0.01).record()
    store.save([record | {"luts": "1", "outputs": [5] * 5}])     # a constant
    with pytest.raises(InputError, match=r"circuit kept for tanh Q3\.2 to Q3\.2 within1 lut4 is "
                       r"not within its contract; delete .* or generate .*known\.json anew"):
        get(WISH)


def test_a_damaged_cache_file_is_searched_again(build: Path) -> None:
    circuit = get(WISH, effort=0.01)
    (build / "circuits" / f"{WISH.digest}-0.01.json").write_text('{"effort": 0.0')
    assert get(WISH, effort=0.01) == circuit


def test_digest_is_that_of_the_relation() -> None:
    """Functions with equal tables share a circuit, whatever they are called."""
    assert replace(WISH, function="mine", call=FUNCTIONS["tanh"]).digest == WISH.digest
    others = [replace(WISH, function="selu"), replace(WISH, levels=2), replace(WISH, target="area"),
              replace(WISH, monotone=True), replace(WISH, contract="exact")]
    assert len({WISH.digest, *(other.digest for other in others)}) == 6


@pytest.mark.parametrize("contract", ["exact", "within1"])
def test_truth_table_is_addressed_by_code(contract: str) -> None:
    spec = ActivationSpec("selu", 2, 2, contract)
    table, wanted = truth_table(spec, 5), relation(FUNCTIONS["selu"], FIVE, FIVE, contract)
    by_value = [*table[16:], *table[:16]]
    assert wanted.allows(by_value)
    if contract == "exact":
        assert tuple(by_value) == wanted.nearest == codes("selu", FIVE, FIVE, "exact")


def test_wide_tables_are_exact() -> None:
    spec = ActivationSpec.parse("tanh:Q3.11:Q1.13", 14)
    table = truth_table(spec, 14)
    assert (table[0], table[1 << 11], table[(1 << 13) - 1], table[1 << 13]) == (
        0, 6239, 8187, -8187)       # tanh(0), tanh(1) = 0.761594, tanh(3.9995), tanh(-4)


def test_config_digest_covers_what_loose_circuits_give(monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(PRESETS["tiny"], act_bits=5, activations=("tanh:Q3.2:Q3.2:within1", "relu"))
    tables = {"a": config.digest}
    changed = replace(config, name="other")
    assert changed.digest == tables["a"]
    monkeypatch.setattr(store, "truth_table", lambda spec, bits: (0,) * (1 << bits))
    assert replace(config, name="other").digest != tables["a"]


def test_kept_circuits_are_those_of_the_catalogue() -> None:
    from accel.circuits.catalogue import wishes
    kept = json.loads((Path(store.__file__).parent / "known.json").read_text())
    assert {record["digest"] for record in kept} == {wish.digest for wish in wishes()}


def test_every_preset_has_kept_units() -> None:
    kept = {record["digest"] for record in
            json.loads((Path(store.__file__).parent / "known.json").read_text())}
    for config in PRESETS.values():
        for spec in config.activation_specs:
            assert spec.function in PLAIN or store.wish_of(spec, config.act_bits).digest in kept
