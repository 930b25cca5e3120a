"""Circuits that are known: those kept in the repository, then those found here before.

``known.json`` is generated (``python -m accel.circuits``); everything else is searched once and
cached under ``build/circuits`` by the digest of what was asked.
"""
import hashlib
import json
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from accel.circuits.find import codes_of, find
from accel.circuits.network import Network
from accel.circuits.progress import shown
from accel.files import BUILD, write_atomic
from accel.spec.errors import InputError
from accel.spec.formats import Format
from accel.spec.functions import FUNCTIONS
from accel.spec.relation import Relation, relation
from accel.spec.tables import ActivationSpec

#: Effort for circuits of an accelerator that are not kept: some ten seconds each.
QUICK = 0.1
KNOWN = Path(__file__).with_name("known.json")
#: Is told the part that is done, 0..1.
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Wish:
    """What a circuit shall be.

    Members
    -------
    function
        Name; ``call`` is what computes it.
    levels
        Most LUTs on a way from input to output; 0: any number.
    monotone
        Exact at input 0, and never a step against the function's direction.
    target
        See `find.TARGETS`.
    """

    function: str
    in_format: Format
    out_format: Format
    contract: str
    levels: int = 0
    monotone: bool = False
    target: str = "lut4"
    call: Callable[[Decimal], Decimal] | None = None

    @property
    def relation(self) -> Relation:
        """Allowed codes."""
        return _relation(self)

    @property
    def digest(self) -> str:
        """16 hex digits over all that a circuit depends on."""
        wanted = self.relation
        content = [self.in_format.bits, self.in_format.signed, self.out_format.bits,
                   self.out_format.signed, wanted.low, wanted.high, self.levels, self.target,
                   wanted.directions if self.monotone else None]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        return " ".join([self.function, f"{self.in_format} to {self.out_format}", self.contract,
                         self.target, *([f"{self.levels} levels"] if self.levels else []),
                         *(["monotone"] if self.monotone else [])])


@dataclass(frozen=True)
class Circuit:
    """A circuit that fulfils a wish.

    Members
    -------
    form
        The form that the search started from.
    effort
        Of the search that found it.
    """

    wish: Wish
    network: Network
    form: str
    effort: float

    @property
    def codes(self) -> tuple[int, ...]:
        """Output codes by rising input."""
        return codes_of(self.network, self.wish.relation)

    def record(self) -> dict[str, Any]:
        """As plain values."""
        return {"wish": str(self.wish), "digest": self.wish.digest, "form": self.form,
                "effort": self.effort, "lut4": self.network.lut4, "levels": self.network.levels,
                **self.network.record()}


def get(wish: Wish, *, effort: float = 1, progress: Progress | None = None) -> Circuit:
    """The circuit that the repository keeps for a wish, or else the one that a search finds.

    Raises `InputError` if a circuit that was read breaks the wish.
    """
    if record := known().get(wish.digest):
        return _circuit(wish, record)
    return search(wish, effort=effort, progress=progress)


def search(wish: Wish, *, effort: float = 1, progress: Progress | None = None) -> Circuit:
    """The circuit that a search finds, whatever the repository keeps; cached.

    Without ``progress``, what takes time is shown on stderr.
    """
    # The effort is part of the name: what is returned must not depend on what was asked before.
    path = BUILD / "circuits" / f"{wish.digest}-{effort:g}.json"
    if record := _load(path):
        return _circuit(wish, record)
    watched = nullcontext(progress) if progress else shown(f"searching a circuit for {wish}")
    with watched as told:
        found = find(wish.relation, levels=wish.levels, monotone=wish.monotone,
                     target=wish.target, effort=effort, progress=told)
    circuit = Circuit(wish, found.network, found.form, effort)
    write_atomic(path, json.dumps(circuit.record()) + "\n")
    return circuit


def of_activation(spec: ActivationSpec, bits: int) -> Circuit:
    """The circuit of an accelerator's activation."""
    return get(wish_of(spec, bits), effort=QUICK)


def wish_of(spec: ActivationSpec, bits: int) -> Wish:
    """What an accelerator's activation shall be."""
    return Wish(spec.function, spec.in_format(bits), spec.out_format(bits), spec.contract,
                levels=_levels(bits))


@cache
def truth_table(spec: ActivationSpec, bits: int) -> tuple[int, ...]:
    """Output codes of an accelerator's activation, by the input code taken as unsigned.

    The one truth of golden model, emulator and gateware: the correctly rounded value of the real
    function if the contract is ``exact``, else what the circuit gives.
    """
    if spec.contract == "exact":
        by_value = relation(FUNCTIONS[spec.function], spec.in_format(bits), spec.out_format(bits),
                            "exact", name=spec.function).nearest
    else:
        by_value = of_activation(spec, bits).codes
    half = 1 << (bits - 1)
    return (*by_value[half:], *by_value[:half])


def codes(function: str, in_format: Format, out_format: Format, contract: str,
          ) -> tuple[int, ...]:
    """Output codes by rising input that an accelerator's activation gives."""
    wish = Wish(function, in_format, out_format, contract, levels=_levels(in_format.bits))
    return wish.relation.nearest if contract == "exact" else get(wish, effort=QUICK).codes


@cache
def known() -> dict[str, dict[str, Any]]:
    """Records of ``known.json`` by digest."""
    if not KNOWN.exists():
        return {}
    return {record["digest"]: record for record in json.loads(KNOWN.read_text())}


def save(records: Iterable[dict[str, Any]]) -> None:
    """Write ``known.json``, a circuit a line."""
    lines = [json.dumps(record) for record in records]
    write_atomic(KNOWN, "[\n" + ",\n".join(lines) + "\n]\n")
    known.cache_clear()


def _levels(bits: int) -> int:
    """Limit of an accelerator's activation: what five levels, or any table of its size, can do."""
    return max(5, bits - 3)


def _circuit(wish: Wish, record: dict[str, Any]) -> Circuit:
    circuit = Circuit(wish, Network.from_record(record), record["form"], record["effort"])
    if not wish.relation.allows(circuit.codes):
        raise InputError(f"the circuit kept for {wish} is not within its contract; delete "
                         f"{BUILD / 'circuits'} or generate {KNOWN} anew")
    return circuit


@cache
def _relation(wish: Wish) -> Relation:
    call = wish.call or FUNCTIONS[wish.function]
    return relation(call, wish.in_format, wish.out_format, wish.contract, name=wish.function,
                    pinned=wish.monotone)


def _load(path: Path) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads(path.read_text())
        return record
    except (OSError, ValueError):
        return None
