"""The circuits in known.json: each within its contract, as small as it says, and proven."""
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from accel.circuits import store
from accel.circuits.catalogue import wishes
from accel.circuits.find import codes_of
from accel.circuits.network import Network
from accel.circuits.store import Wish
from accel.report.prove import Proof, proven
from accel.report.reference import confirms, find_reference
from accel.spec.formats import Format

RECORDS: list[dict[str, Any]] = json.loads(
    Path(store.__file__).with_name("known.json").read_text())
each_record = pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["wish"])
#: LUT4 at most, by contract, bits and levels: measured prototypes (issue 4).
BUDGETS = {
    ("within1", 8, 3): {"tanh": 10, "selu": 22, "sigmoid": 5, "elu": 10, "gelu": 12, "silu": 16},
    ("within1", 8, 2): {"tanh": 10, "sigmoid": 5, "elu": 10},
    ("faithful", 8, 0): {"tanh": 14, "selu": 21, "sigmoid": 9, "elu": 13, "gelu": 15, "silu": 19},
    ("exact", 8, 0): {"tanh": 34, "selu": 48, "sigmoid": 23, "elu": 23, "gelu": 27, "silu": 48},
    ("within1", 10, 0): {"tanh": 42, "selu": 54, "sigmoid": 21}}


@cache
def catalogue() -> dict[str, Wish]:
    return {wish.digest: wish for wish in wishes()}


@each_record
def test_a_kept_circuit_is_what_it_says(record: dict[str, Any]) -> None:
    network, wish = Network.from_record(record), catalogue()[record["digest"]]
    codes = codes_of(network, wish.relation)
    assert wish.relation.allows(codes)
    assert (network.lut4, network.levels) == (record["lut4"], record["levels"])
    assert network.inputs == wish.in_format.bits
    assert network.levels <= wish.levels or not wish.levels
    if wish.monotone:
        assert wish.relation.is_monotone(codes)
        zero = -wish.in_format.low
        assert codes[zero] == wish.relation.nearest[zero]
    if wish.target == "area":
        assert all(len(lut.fanins) <= 2 for lut in network.luts)
    used = {fanin for lut in network.luts for fanin in lut.fanins} | {*network.outputs}
    assert used >= set(range(network.inputs, network.inputs + len(network.luts)))


@pytest.mark.parametrize(("contract", "bits", "levels", "function", "most"), [
    (*key, function, most) for key, budgets in BUDGETS.items()
    for function, most in budgets.items()])
def test_budgets(contract: str, bits: int, levels: int, function: str, most: int) -> None:
    form = Format.parse(f"Q3.{bits - 3}")
    wish = Wish(function, form, form, contract, levels=levels)
    (record,) = (record for record in RECORDS if record["digest"] == wish.digest)
    assert record["lut4"] <= most
    assert record["levels"] <= (levels or record["levels"])


@pytest.mark.slow
@each_record
def test_a_kept_circuit_is_proven(record: dict[str, Any]) -> None:
    network, wish = Network.from_record(record), catalogue()[record["digest"]]
    assert proven(network, network.table(), quiet=True) == Proof(True, True, network.lut4)
    reference = find_reference(wish.function)
    assert reference
    assert confirms(reference, wish.in_format, wish.out_format, wish.contract,
                    codes_of(network, wish.relation), pinned=wish.monotone)
