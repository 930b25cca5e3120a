"""``make sim``: every unit, array and demo network on the emitted Verilog, against torch."""
import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from accel.console import console
from accel.networks import SHOWN
from accel.pretrained import accuracy, prepare
from accel.spec.config import AccelConfig
from accel.spec.errors import InputError
from accel.spec.presets import ACTIVATIONS_HELP, PRESETS, SIMULATED, config_from
from rtl.top import System
from sim import units
from sim.runner import BUILD, Outcome, run_bench, simulators
from sim.sweep import Sweep, sweeps
from sim.verilator import SimulatorError


@dataclass
class Row:
    """A line of the closing table."""

    what: str
    config: str
    simulator: str
    outcome: Outcome
    accuracy: tuple[float, float, float] | None = None     # float, golden, RTL; of networks
    per_image: int = 0              # cycles
    utilisation: float = 0.0        # MACs / (cycles * PEs)


def main() -> int:
    """Run everything; the exit status is 1 if anything differs from torch."""
    parser = argparse.ArgumentParser(prog="python -m sim", description=__doc__)
    parser.add_argument("--preset", action="append", help=f"one of {', '.join(PRESETS)}; may be "
                        f"given several times; default: {' '.join(SIMULATED)}")
    parser.add_argument("--config", action="append", help="TOML file; may be given several times")
    parser.add_argument("--activations", metavar="LIST", help=ACTIVATIONS_HELP)
    parser.add_argument("--images", type=int, default=20, help="digits per network (default 20)")
    parser.add_argument("--skip-networks", action="store_true", help="units only")
    options = parser.parse_args()
    torch.set_num_threads(1)
    out, started = console(), time.perf_counter()
    try:
        if not 1 <= options.images <= 1000:
            raise InputError(f"--images must be in 1..1000, not {options.images}")
        configs = [config_from(name, None, options.activations) for name in options.preset or ()]
        configs += [config_from("", file, options.activations) for file in options.config or ()]
        if options.activations and not configs:
            raise InputError("--activations needs --preset or --config")
        images = 0 if options.skip_networks else options.images
        rows = list(_run(configs or [PRESETS[name] for name in SIMULATED], images, out))
        if not configs:
            rows += _sweeps(out)
    except (InputError, SimulatorError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    out.print(*_tables(rows))
    wrong = [row for row in rows if row.outcome.mismatches]
    for row in wrong:
        out.print(f"[red]{row.config} {row.what}: {row.outcome.first}; waveform: "
                      f"{row.outcome.waves or 'none'}")
    compared = sum(row.outcome.compared for row in rows)
    out.print(f"{compared:,} values compared, {sum(r.outcome.mismatches for r in rows)} "
                  f"mismatches, {time.perf_counter() - started:.0f} s")
    return 1 if wrong else 0


def _run(configs: list[AccelConfig], images: int, out: Console) -> Iterator[Row]:
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(),
                  console=out, transient=True) as progress:
        task = progress.add_task("", total=None)
        for config in configs:
            for simulator in simulators():
                for check in units.checks(config):
                    progress.update(task, description=f"{config.name}: {check.name}, {simulator}")
                    outcome = run_bench(check.component, "vectors", check.job, simulator=simulator)
                    yield Row(check.name, config.name, simulator, outcome)
            for name in SHOWN[config.cell] if images else ():
                progress.update(task, description=f"{config.name}: {name}, {images} images")
                yield _network(name, config, images)


def _sweeps(out: Console) -> Iterator[Row]:
    """The arrays of `sim.sweep`, several at a time."""
    found = list(sweeps())
    with (ProcessPoolExecutor(mp_context=get_context("spawn")) as pool,
          Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(),
                   console=out, transient=True) as progress):
        task = progress.add_task("", total=None)
        outcomes = pool.map(Sweep.run, found)
        for number, sweep in enumerate(found, 1):
            progress.update(task, description=f"sweep {number}/{len(found)}: {sweep.name}")
            yield Row(sweep.name, "-", "verilator", next(outcomes))


def _network(name: str, config: AccelConfig, images: int) -> Row:
    ready = prepare(name, config, images, keep_tensors=True)
    BUILD.mkdir(parents=True, exist_ok=True)
    path = BUILD / f"{name}-{config.digest}.program"
    ready.program.save(path)
    outcome = run_bench(System(config), "network", {
        "program": str(path), "config": config, "codes": ready.codes, "golden": ready.tensors})
    counters = np.array(outcome.extra["counters"])
    cycles = int(counters[:, 0].mean())
    outputs = np.array(outcome.extra["outputs"])
    return Row(
        f"{name} x {images}", config.name, "verilator", replace(outcome, extra={}),
        (accuracy(ready.logits.numpy(), ready.labels), accuracy(ready.expected, ready.labels),
         accuracy(outputs, ready.labels)), cycles,
        ready.program.macs / (cycles * config.rows * config.cols))


def _tables(rows: list[Row]) -> Iterator[Table]:
    """One table of units, one of networks."""
    common = ("config", "simulator", "cycles", "cycles/s", "compared", "mismatches")
    network = ("float", "golden", "RTL", "cycles/image", "PEs busy")
    for title, networks in (("units", False), ("networks", True)):
        table = Table("what", title=f"{title}: emitted Verilog against torch")
        for heading in (*common, *(network if networks else ())):
            table.add_column(heading, justify="left" if heading in common[:2] else "right")
        for row in rows:
            if (row.accuracy is not None) == networks:
                table.add_row(row.what, *_cells(row))
        if table.row_count:
            yield table


def _cells(row: Row) -> Iterator[str]:
    o = row.outcome
    yield from (row.config, row.simulator, f"{o.cycles:,}", f"{o.cycles / o.seconds:,.0f}",
                f"{o.compared:,}", f"[{'red' if o.mismatches else 'green'}]{o.mismatches}")
    if row.accuracy:
        yield from (f"{share:.1%}" for share in row.accuracy)
        yield from (f"{row.per_image:,}", f"{row.utilisation:.1%}")


if __name__ == "__main__":
    sys.exit(main())
