"""The search: legal, deterministic, smaller, within its limits; and what it refuses."""
from functools import cache

import pytest

from accel.circuits.find import TARGETS, CircuitError, codes_of, find
from accel.circuits.forms import nearest
from accel.circuits.network import Lut, Network
from accel.circuits.search import SearchError, search
from accel.spec.formats import Format
from accel.spec.functions import FUNCTIONS
from accel.spec.relation import CONTRACTS, Relation, relation


@cache
def make(contract: str = "within1", function: str = "tanh", text: str = "Q3.3", *,
         pinned: bool = False) -> Relation:
    return relation(FUNCTIONS[function], Format.parse(text), Format.parse(text), contract,
                    name=function, pinned=pinned)


@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.parametrize("function", ["tanh", "silu"])
def test_search_is_legal_deterministic_and_smaller(function: str, contract: str) -> None:
    wanted = make(contract, function)
    start = nearest(wanted)
    first, second = (search(start, wanted, steps=20_000, seed=7) for _ in range(2))
    assert first == second
    assert wanted.allows(codes_of(first, wanted))
    assert first.lut4 < start.lut4
    assert all(len(lut.fanins) <= 4 for lut in first.luts)


def test_search_says_how_far_it_is() -> None:
    parts: list[float] = []
    search(nearest(make()), make(), steps=5_000, seed=1, progress=parts.append)
    assert parts == sorted(parts)
    assert parts[0] == 0
    assert parts[-1] > 0.9


def test_search_refuses_a_start_that_is_not_allowed() -> None:
    wrong = Network(6, (Lut((), 1),), (6,) * 6)
    with pytest.raises(SearchError, match="the network to start from breaks the specification"):
        search(wrong, make(), steps=10, seed=1)


@pytest.mark.parametrize("target", TARGETS)
def test_find(target: str) -> None:
    wanted = make()
    found = find(wanted, target=target, effort=0.01)
    assert found == find(wanted, target=target, effort=0.01)
    assert wanted.allows(codes_of(found.network, wanted))
    if target == "area":
        assert all(len(lut.fanins) <= 2 for lut in found.network.luts)
    if target == "delay":
        assert found.network.levels == 1     # 3 bits of 6 matter: measured, and it cannot be less


def test_a_limit_of_levels_is_kept() -> None:
    wanted = make("exact", "selu")
    free = find(wanted, effort=0.02).network
    limited = find(wanted, levels=3, effort=0.02).network
    assert limited.levels <= 3 < free.levels
    assert wanted.allows(codes_of(limited, wanted))


def test_a_limit_that_cannot_be_met_is_an_error() -> None:
    with pytest.raises(CircuitError, match="no circuit with 1 levels was found; the flattest"):
        find(make("exact", "selu"), levels=1, effort=0.005)


@pytest.mark.parametrize("function", ["tanh", "silu"])
def test_monotone_circuits(function: str) -> None:
    wanted = make("within1", function, pinned=True)
    found = find(wanted, monotone=True, effort=0.02)
    codes = codes_of(found.network, wanted)
    assert wanted.allows(codes)
    assert wanted.is_monotone(codes)
    assert codes[32] == 0


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(CircuitError, match="must be one of lut4, area, delay, not 'power'"):
        find(make(), target="power")
