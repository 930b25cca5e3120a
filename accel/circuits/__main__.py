"""``python -m accel.circuits [--only TEXT]``: find the kept circuits anew and write known.json.

An hour or two. Each circuit is cached under ``build/circuits``, so that an interrupted run goes on
where it was; ``known.json`` is replaced after each one. A target of several efforts keeps the
circuit that is smallest in standard cells, by ``python -m accel.report``.
"""
import argparse
import sys
import time
from collections.abc import Callable
from importlib import import_module

from rich.progress import Progress, TaskID

from accel.circuits import store
from accel.circuits.catalogue import EFFORTS, wishes
from accel.circuits.store import Circuit
from accel.circuits.verilog import verilog
from accel.console import console
from accel.spec.errors import InputError


def main() -> int:
    """Exit code 2: bad input; 1: a tool failed; 130: interrupted."""
    parser = argparse.ArgumentParser(prog="python -m accel.circuits", description=__doc__)
    parser.add_argument("--only", metavar="TEXT", default="",
                        help="circuits whose description contains TEXT, as 'tanh Q3.5 to Q3.5'")
    only = parser.parse_args().only
    try:
        generate(only)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RuntimeError as error:       # `boards` is out of reach: its BuildError and ToolError
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted; what was found is kept", file=sys.stderr)
        return 130
    return 0


def generate(only: str = "") -> None:
    """Find the circuits whose description contains ``only``, one after the other."""
    catalogue = {wish.digest: wish for wish in wishes()}
    chosen = [wish for wish in catalogue.values() if only in str(wish)]
    if not chosen:
        raise InputError(f"no circuit's description contains {only!r}; they are like "
                         f"{next(iter(catalogue.values()))!s}")
    with Progress(console=console()) as bars:
        whole = bars.add_task("circuits", total=len(chosen))
        for number, wish in enumerate(chosen, 1):
            start, found = time.monotonic(), []
            for effort in EFFORTS[wish.target]:
                bar = bars.add_task(f"{wish}, effort {effort:g}", total=1.0)
                found.append(store.search(wish, effort=effort, progress=_advance(bars, bar)))
                bars.remove_task(bar)
            circuit = smallest(found, cell_area)
            known = {**store.known(), wish.digest: circuit.record()}
            store.save(known[digest] for digest in catalogue if digest in known)
            bars.advance(whole)
            bars.print(f"{number}/{len(chosen)} {wish}: {_size(circuit)}, "
                       f"{time.monotonic() - start:.0f} s", markup=False)


def smallest(found: list[Circuit], area: Callable[[Circuit], float]) -> Circuit:
    """Of several circuits the one of the least ``area``, then of the fewest gates, then first."""
    if len(found) == 1:
        return found[0]     # unmeasured: most targets need no cell library
    return min(found, key=lambda circuit: (area(circuit), circuit.network.gates))


def cell_area(circuit: Circuit) -> float:
    """µm² of the smallest mapping to the cell library that is installed."""
    # By name: the report is the top floor. Only an entry point, which nothing imports, may use it.
    rows, area = (import_module(f"accel.report.{name}") for name in ("activation_rows", "area"))
    liberty = area.find_liberty(None)
    if liberty is None:
        raise InputError("no cell library found, by which circuits of target area are chosen; "
                         "`make setup` installs one")
    return float(rows.in_cells(verilog(circuit.network), liberty).area_um2)


def _size(circuit: Circuit) -> str:
    network = circuit.network
    size = f"{network.gates} gates" if circuit.wish.target == "area" else f"{network.lut4} LUTs"
    return f"{size}, {network.levels} levels, effort {circuit.effort:g}, from {circuit.form}"


def _advance(bars: Progress, bar: TaskID) -> store.Progress:
    return lambda part: bars.update(bar, completed=part)


if __name__ == "__main__":
    sys.exit(main())
