"""``python -m accel.report accuracy``: what LeNet-5 loses with circuits for its activations.

The 18 circuits of Yang et al. 2018 (`accel.circuits.paper`) and the 8-bit units take the place of
the float activation in the networks that ship with Systolith, everything else stays float. Each
row is kept under ``build/report`` by the digest of all that decides it: table, weights, digits,
our sources, torch, epochs and seed.
"""
import argparse
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from accel.circuits.paper import POINTS, Point, evaluate
from accel.circuits.ste import FINE_TUNE_RATE, Elementwise, fine_tune, quantised, with_circuit
from accel.console import console
from accel.data import Digits, load_digits
from accel.files import BUILD, ROOT, write_atomic
from accel.networks import WEIGHTS, load_pretrained
from accel.report.options import OptionError, at_least
from accel.spec.formats import Format
from accel.spec.relation import CONTRACTS
from accel.train import accuracy as share_right

#: Function, input and output format of the 8-bit units; each under every contract.
UNIT_FORMATS = (("tanh", "Q3.5", "Q1.7"), ("tanh", "Q3.5", "Q3.5"),
                ("selu", "Q4.4", "Q4.4"), ("selu", "Q3.5", "Q3.5"))
SOURCES = ("accel/circuits/paper.py", "accel/circuits/ste.py", "accel/networks.py",
           "accel/spec/formats.py", "accel/train.py")
HIGHEST_SEED = 2 ** 63 - 1
NOTES = (
    ("truncated: the paper's tables, the magnitude rounded towards zero, with sign and saturation "
     "around them that are right for every input; SELU above 0 is float, as in the paper. The "
     "other contracts: 8-bit units as the accelerator has them, saturating at both ends."),
    ("Weights and sums stay float, so that a change is the activation's alone. change: in points, "
     "against the float network that was trained equally long."),
    (f"retrained: the recipe of accel.train at a learning rate of {FINE_TUNE_RATE:g}, through a "
     "straight-through estimator (the circuit's values, the real function's gradient); every row "
     "sees the same digits in the same order."),
    "99 % of 1,000 digits has a standard error of 0.3 points: smaller changes mean little.",
)
#: Codes of a unit by rising input, from function, input format, output format and contract.
Tables = Callable[[str, Format, Format, str], Sequence[int]]


@dataclass(frozen=True)
class Unit:
    """An 8-bit activation unit of the accelerator."""

    function: str
    in_format: Format
    out_format: Format
    contract: str

    @property
    def name(self) -> str:
        """As ``tanh-Q3.5-Q1.7-exact``."""
        return f"{self.function}-{self.in_format}-{self.out_format}-{self.contract}"


Case = Point | Unit
CASES: tuple[Case, ...] = (*POINTS, *(
    Unit(function, Format.parse(into), Format.parse(out), contract)
    for function, into, out in UNIT_FORMATS for contract in CONTRACTS))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this report."""
    parser.add_argument("--epochs", type=int, metavar="N", default=3,
                        help="passes over the training digits to retrain (default 3)")
    parser.add_argument("--seed", type=int, metavar="N", default=0,
                        help="of the retraining's shuffling and distortion (default 0)")
    parser.add_argument("--only", metavar="TEXT", action="append", default=[],
                        help="circuits whose name contains TEXT, as tanh_1_6_4 or Q3.5-within1; "
                             "may be given several times")


def run(options: argparse.Namespace) -> int:
    """Print the report; `OptionError` or `accel.data.DataError` if it cannot be made."""
    at_least("--epochs", 1, options.epochs)
    at_least("--seed", 0, options.seed)
    if options.seed > HIGHEST_SEED:
        raise OptionError(f"--seed must be at most {HIGHEST_SEED}, not {options.seed}")
    report = accuracy(select(options.only), epochs=options.epochs, seed=options.seed)
    if options.json:
        print(json.dumps(report, indent=1))
    else:
        _print(report)
    return 0


def select(parts: Sequence[str]) -> list[Case]:
    """Cases whose name contains one of ``parts``, or all."""
    if unknown := [part for part in parts if not any(part in case.name for case in CASES)]:
        raise OptionError(f"--only {unknown[0]!r} matches none of "
                          f"{', '.join(case.name for case in CASES)}")
    return [case for case in CASES if not parts or any(part in case.name for part in parts)]


def stored(function: str, in_format: Format, out_format: Format, contract: str) -> Sequence[int]:
    """Codes of the circuit that is kept for a unit, or is searched for now."""
    # By name and late: it needs a compiler where no circuit is kept.
    store = import_module("accel.circuits.store")
    return tuple(store.codes(function, in_format, out_format, contract))


def accuracy(cases: Sequence[Case], *, epochs: int, seed: int, tables: Tables = stored,
             digits: tuple[Digits, Digits] | None = None, quiet: bool = False) -> dict[str, Any]:
    """The report as plain values; see `row`. ``digits``: for training and test, default all."""
    training, test = digits or load_digits()
    codes = [_codes(case, tables) for case in cases]
    functions = sorted({case.function for case in cases})
    errors = Console(stderr=True, quiet=quiet)
    with Progress(console=errors, transient=True) as progress:
        task = progress.add_task("", total=epochs * (len(functions) + len(cases)))

        def measure(name: str, function: str, circuit: Elementwise | None, made_of: object,
                    ) -> dict[str, float]:
            progress.update(task, description=name)
            found = _measure(name, function, circuit, made_of, training, test, epochs, seed,
                             partial(progress.advance, task))
            errors.print(f"{name}: {found['accuracy']:.1%}, retrained {found['retrained']:.1%}",
                         highlight=False)
            return found
        floats = {function: measure(f"{function}-float", function, None, None)
                  for function in functions}
        rows = [row(case, measure(case.name, case.function, _circuit(case, table), (case, table)),
                    floats[case.function])
                for case, table in zip(cases, codes, strict=True)]
    return {"report": "accuracy", "epochs": epochs, "seed": seed,
            "training_digits": len(training), "test_digits": len(test),
            "networks": {f"lenet5-{function}": found for function, found in floats.items()},
            "rows": rows, "notes": list(NOTES)}


def row(case: Case, found: dict[str, float], floats: dict[str, float]) -> dict[str, Any]:
    """Figures of one circuit: shares of the test digits, and changes in points of 100."""
    points = {f"{key}_change_points": round(100 * (found[key] - floats[key]), 3) for key in found}
    return {"name": case.name, "network": f"lenet5-{case.function}", "function": case.function,
            "in_format": str(case.in_format), "out_format": str(case.out_format),
            "contract": "truncated" if isinstance(case, Point) else case.contract,
            "float_accuracy": floats["accuracy"], "accuracy": found["accuracy"],
            "change_points": points["accuracy_change_points"],
            "float_retrained": floats["retrained"], "retrained": found["retrained"],
            "retrained_change_points": points["retrained_change_points"]}


def _codes(case: Case, tables: Tables) -> tuple[int, ...]:
    if isinstance(case, Point):
        return case.golden()
    return tuple(tables(case.function, case.in_format, case.out_format, case.contract))


def _circuit(case: Case, codes: tuple[int, ...]) -> Elementwise:
    """The circuit as a function of tensors."""
    if isinstance(case, Point):
        return partial(evaluate, case, codes)
    return partial(quantised, case.in_format, case.out_format, codes)


def _measure(name: str, function: str, circuit: Elementwise | None, made_of: object,
             training: Digits, test: Digits, epochs: int, seed: int,
             advance: Callable[[], object]) -> dict[str, float]:
    """Share of ``test`` that the network gets right, before and after retraining."""
    key = _key([function, repr(made_of), epochs, seed], _content(function), _images(training),
               _images(test))
    path = BUILD / "report" / f"accuracy-{name}-{key}.json"
    try:
        known: dict[str, float] = json.loads(path.read_text())
    except (OSError, ValueError):
        torch.set_num_threads(1)    # one order of summation
        network = with_circuit(load_pretrained(f"lenet5-{function}"), circuit)
        known = {"accuracy": share_right(network, test)}
        fine_tune(network, training, epochs, seed, advance)
        known["retrained"] = share_right(network, test)
        write_atomic(path, json.dumps(known) + "\n")
    else:
        for _ in range(epochs):
            advance()
    return known


def _key(plain: list[Any], *contents: bytes) -> str:
    digest = hashlib.sha256(json.dumps([*plain, torch.__version__]).encode())
    for content in contents:
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()[:16]


@cache
def _content(function: str) -> bytes:
    """The network's weights and the sources that decide what is measured."""
    paths: Iterable[Any] = (WEIGHTS / f"lenet5-{function}.npz", *(ROOT / name for name in SOURCES))
    return b"".join(path.read_bytes() for path in paths)


def _images(digits: Digits) -> bytes:
    return digits.images.tobytes() + digits.labels.tobytes()


def _print(report: dict[str, Any]) -> None:
    table = Table(title=f"LeNet-5 with circuits for its activations: % of "
                        f"{report['test_digits']:,} test digits")
    for name in ("circuit", "input", "output", "contract"):
        table.add_column(name, no_wrap=True)
    for name in ("float", "circuit", "change", "float retrained", "circuit retrained", "change"):
        table.add_column(name, justify="right")
    last = ""
    for found in report["rows"]:
        group = f"{found['function']} {found['contract'] == 'truncated'}"
        if group != last:
            table.add_section()
        last = group
        figures = [f"{found[f'{kind}change_points']:+.1f}" for kind in ("", "retrained_")]
        shares = [f"{100 * found[key]:.1f}" for key in (
            "float_accuracy", "accuracy", "float_retrained", "retrained")]
        table.add_row(found["name"], found["in_format"], found["out_format"], found["contract"],
                      *shares[:2], figures[0], *shares[2:], figures[1])
    console().print(table)
    one = 100 / report["test_digits"]
    print(f"{report['epochs']} epochs on {report['training_digits']:,} digits, seed "
          f"{report['seed']}; one test digit is {one:g} points.")
    for note in report["notes"]:
        print(note)
