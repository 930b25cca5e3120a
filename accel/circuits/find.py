"""From a relation to a small circuit: every form, improved by the search in rounds."""
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from accel.circuits.forms import FORMS
from accel.circuits.network import Network
from accel.circuits.search import GATE_PRICES, LUT_PRICES, WARM, search
from accel.spec.errors import InputError
from accel.spec.relation import Relation

#: ``lut4``: fewest LUT4. ``area``: fewest gates of two inputs. ``delay``: fewest levels of LUT4,
#: and of these the fewest LUTs.
TARGETS = ("lut4", "area", "delay")
#: Steps of each run of a round, for 8 input bits and effort 1; a step takes some 5 us.
STEPS = (400_000, 800_000, 1_600_000)
#: Networks of each form that the first round starts from.
STARTS = 2
SEEDS = (1, 2)
#: A tight limit of levels is first met by hot networks.
HOT = (52_000, 42_000)


class CircuitError(InputError):
    """A circuit that cannot be made as it is wanted."""


@dataclass(frozen=True)
class Found:
    """A network and the form from which it grew."""

    network: Network
    form: str


def find(relation: Relation, *, levels: int = 0, monotone: bool = False, target: str = "lut4",
         effort: float = 1, progress: Callable[[float], None] = lambda part: None) -> Found:
    """The smallest network found within ``relation``; the same for the same arguments.

    Raises `CircuitError` if no circuit within ``levels`` is found.

    Parameters
    ----------
    relation
        The codes that are allowed.
    levels
        Most LUTs on a way from input to output; 0: any number.
    monotone
        Never step against the function's direction.
    target
        What to save: see `TARGETS`.
    effort
        Factor on the steps of the search; 1 takes a minute or two.
    progress
        Is told the part that is done, 0..1.
    """
    if target not in TARGETS:
        raise CircuitError(f"target must be one of {', '.join(TARGETS)}, not {target!r}")
    rounds = _Rounds(relation, monotone, target, effort, progress)
    free = rounds.unlimited()
    if target == "delay":
        for limit in range(1, free[0].network.levels + 1):
            if within := rounds.limited(free, limit):
                return within[0]
    if not levels or free[0].network.levels <= levels:
        return free[0]
    within = rounds.limited(free, levels)
    if not within:
        flattest = min(each.network.levels for each in (*free, *rounds.starts))
        raise CircuitError(f"no circuit with {levels} levels was found; the flattest known has "
                           f"{flattest}")
    return within[0]


class _Rounds:
    """Rounds of searches, the best results of one being the starts of the next."""

    def __init__(self, relation: Relation, monotone: bool, target: str, effort: float,
                 progress: Callable[[float], None]) -> None:
        # words that one signal takes make a step dearer
        cost = max(1, (1 << relation.in_format.bits) // 256)
        self.steps = [max(1000, int(count * effort / cost)) for count in STEPS]
        self.relation, self.monotone, self.target = relation, monotone, target
        self.gates = target == "area"
        self.starts: list[Found] = []
        self.progress, self.done, self.total = progress, 0.0, 26.0

    def unlimited(self) -> list[Found]:
        """Networks of any depth, best first."""
        starts = []
        for name, form in FORMS.items():
            made = sorted(form(self.relation), key=lambda network: network.lut4)[:STARTS]
            starts += [Found(network, name) for network in made
                       if not self.monotone or self._is_monotone(network)]
        if self.gates:
            starts = [Found(start.network.narrowed(), start.form) for start in starts]
        self.starts = starts
        self.total = len(starts) * len(SEEDS) + 6 + 4 + 8 + 4
        first = self._run(starts, self.steps[0])
        second = self._run(first[:3], self.steps[1])
        third = self._run(second[:1], self.steps[2])
        return self._ranked([*third, *second, *first])

    def limited(self, starts: Sequence[Found], levels: int) -> list[Found]:
        """Networks of at most ``levels`` levels, best first; none if none was found."""
        # small ones, and flat ones: both may be near a small flat one
        flat = sorted([*starts, *self.starts],
                      key=lambda each: (max(levels, each.network.levels), each.network.lut4))
        some = list(dict.fromkeys([*starts[:3], *flat[:2]]))
        first = self._run(some, self.steps[1], levels, HOT)
        within = [each for each in first if each.network.levels <= levels] or first[:2]
        second = self._run(within[:2], self.steps[2], levels)
        return [each for each in self._ranked([*second, *first]) if each.network.levels <= levels]

    def _run(self, starts: Iterable[Found], steps: int, levels: int = 0,
             heat: tuple[int, int] = WARM) -> list[Found]:
        """Search from every start with every seed; best first."""
        jobs = [(start, seed) for start in starts for seed in SEEDS]

        def run(job: tuple[Found, int]) -> Found:
            start, seed = job
            network = search(start.network, self.relation, steps=steps, seed=seed, levels=levels,
                             monotone=self.monotone, heat=heat,
                             prices=GATE_PRICES if self.gates else LUT_PRICES)
            self.done += 1
            self.progress(min(1.0, self.done / self.total))
            return Found(network, start.form)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return self._ranked(pool.map(run, jobs))

    def _ranked(self, found: Iterable[Found]) -> list[Found]:
        return sorted(found, key=lambda each: (each.network.gates if self.gates
                                               else each.network.lut4, each.network.levels))

    def _is_monotone(self, network: Network) -> bool:
        return self.relation.is_monotone(codes_of(network, self.relation))


def codes_of(network: Network, relation: Relation) -> tuple[int, ...]:
    """Output codes of a network by rising input."""
    out, mask = relation.out_format, (1 << relation.in_format.bits) - 1
    words = [network.evaluate(code & mask) for code in relation.in_format.codes]
    return tuple(word - (1 << out.bits) if word > out.high else word for word in words)
