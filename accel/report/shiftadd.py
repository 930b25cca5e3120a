"""``python -m accel.report shiftadd``: what reading digits without multiplications costs.

`accel.shiftadd.cnn` and its relatives are trained with one recipe (`accel.train`), as many epochs
and the same seeds each. The float networks and the integer ones, which golden computes as the
hardware does, are asked for the test digits.
"""
import argparse
import hashlib
import json
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from accel import golden
from accel.console import console
from accel.data import load_digits
from accel.files import BUILD
from accel.networks import NETWORKS, STUDY_EPOCHS, load_pretrained, to_input
from accel.nn import zeros
from accel.pretrained import CALIBRATION_IMAGES
from accel.quantize import quantize, quantize_input
from accel.report.options import OptionError, at_least
from accel.spec.presets import preset
from accel.train import accuracy, save_weights, train

#: Networks of the study; the first is what the others are measured against.
ROWS = {"cnn": "CNN", "cnn-shift": "DeepShift-PS, 4 bits", "cnn-add": "AdderNet",
        "cnn-shiftadd": "ShiftAddNet", "cnn-shiftadd-1x1": "ShiftAddNet, add layers 1 x 1",
        "cnn-fixed": "ShiftAddNet, fixed shifts", "cnn-pruned": "ShiftAddNet, half of shifts 0"}
#: What decides how a network is trained; a change of it makes kept weights worthless.
SOURCES = ("train.py", "data.py", *(f"nn/{name}" for name in (
    "add.py", "distance.cpp", "prune.py", "shift.py", "shiftadd.py")))
NOTES = (
    "Mean and standard deviation over the seeds, in points of the test digits (1,000).",
    "Float: as trained. Integer: on 8-bit codes by the preset's arithmetic, not trained again.",
    "One recipe for all: python -m accel.train, AdamW, one cycle, augmented digits.",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this report."""
    parser.add_argument("networks", nargs="*", metavar="NETWORK",
                        help=f"default: {', '.join(ROWS)}")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each (default 3)")
    parser.add_argument("--epochs", type=int, default=STUDY_EPOCHS,
                        help=f"of each training (default {STUDY_EPOCHS})")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1,
                        help="trainings at a time (default: one per core)")


def run(options: argparse.Namespace) -> int:
    """Print the report."""
    for name, least in (("seeds", 1), ("epochs", 1), ("jobs", 1)):
        at_least(f"--{name}", least, getattr(options, name))
    if unknown := [name for name in options.networks if name not in ROWS]:
        raise OptionError(f"networks must be of {', '.join(ROWS)}, not {', '.join(unknown)}")
    # each once: two trainings of one network would write the same file
    names = list(dict.fromkeys(options.networks or ROWS))
    found = study(names, options.seeds, options.epochs, options.jobs, quiet=options.json)
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        _print(found)
    return 0


def study(names: Sequence[str], seeds: int, epochs: int, jobs: int, *, quiet: bool,
          ) -> dict[str, Any]:
    """The report as plain values; what is trained already is taken from ``build/study``."""
    tasks = [(name, seed) for seed in range(seeds) for name in names]
    missing = [task for task in tasks if not weights(*task, epochs).exists()]
    with Progress(console=Console(stderr=True), transient=True, disable=quiet) as progress:
        bar = progress.add_task(f"training {len(missing)} networks", total=len(missing))
        with ProcessPoolExecutor(min(jobs, len(missing)) or 1,
                                 multiprocessing.get_context("spawn")) as pool:
            for future in as_completed([pool.submit(_train, *task, epochs) for task in missing]):
                future.result()
                progress.advance(bar)
        bar = progress.add_task("asking", total=len(tasks))
        figures = {}
        for name, seed in tasks:
            figures[name, seed] = _figures(name, weights(name, seed, epochs))
            progress.advance(bar)
    rows = [_row(name, [figures[name, seed] for seed in range(seeds)]) for name in names]
    return {"report": "shiftadd", "data": "digits", "seeds": seeds, "epochs": epochs,
            "rows": rows, "notes": list(NOTES)}


def weights(name: str, seed: int, epochs: int) -> Path:
    """Where the weights of a training are kept."""
    root, network = Path(__file__).parents[1], NETWORKS[name]
    content = b"".join((root / source).read_bytes() for source in SOURCES)
    key = f"{torch.__version__} {network.build()} {network.pruned}"
    digest = hashlib.sha256(content + key.encode()).hexdigest()[:16]
    return BUILD / "study" / f"{digest}-{epochs}-{seed}" / f"{name}.npz"


def _train(name: str, seed: int, epochs: int) -> None:
    path = weights(name, seed, epochs)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_weights(train(name, load_digits()[0], epochs, seed), path)


def _figures(name: str, path: Path) -> dict[str, float]:
    """Accuracies (0..1) of one training, and the share of its shift weights that are 0."""
    train_digits, digits = load_digits()
    network, config = load_pretrained(name, path.parent), preset(NETWORKS[name].preset)
    integer = quantize(network, [to_input(train_digits.images[:CALIBRATION_IMAGES])], config, name)
    codes = quantize_input(integer, to_input(digits.images), config)
    answers = golden.run(integer, codes, config)[integer.output.name]
    return {"float": accuracy(network, digits),
            "integer": golden.top1(answers, torch.as_tensor(digits.labels)),
            "zeros": zeros(network), "terms": integer.macs}


def _row(name: str, figures: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Means and spreads over the trainings of one network, in percent."""
    row: dict[str, Any] = {"network": name, "title": ROWS[name], "preset": NETWORKS[name].preset,
                           "terms": int(figures[0]["terms"]),
                           "zero_shifts": round(100 * fmean(f["zeros"] for f in figures), 1)}
    for kind in ("float", "integer"):
        values = [100 * found[kind] for found in figures]
        row[kind] = {"mean": round(fmean(values), 2), "values": [round(v, 2) for v in values],
                     "spread": round(stdev(values), 2) if len(values) > 1 else None}
    return row


def _print(found: dict[str, Any]) -> None:
    table = Table("network", "preset", "terms", "shifts 0", "float", "integer", "to float CNN",
                  title=f"digits, {found['epochs']} epochs, {found['seeds']} seeds")
    base = found["rows"][0]["float"]["mean"] if found["rows"][0]["network"] == "cnn" else None
    for row in found["rows"]:
        table.add_row(
            row["title"], row["preset"], f"{row['terms']:,}",
            f"{row['zero_shifts']:.0f} %" if "shift" in row["preset"] else "",
            *(_spread(row[kind]) for kind in ("float", "integer")),
            "" if base is None else f"{row['integer']['mean'] - base:+.2f}")
    console().print(table)
    for note in found["notes"]:
        print(note)


def _spread(found: dict[str, Any]) -> str:
    return f"{found['mean']:.2f}" + (f" ± {found['spread']:.2f}" if found["spread"] is not None
                                     else "")
