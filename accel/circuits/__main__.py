"""``python -m accel.circuits [--only TEXT]``: find the kept circuits anew and write known.json.

An hour or two. Each circuit is cached under ``build/circuits``, so that an interrupted run goes on
where it was; ``known.json`` is replaced after each one.
"""
import argparse
import sys
import time
from functools import partial

from rich.progress import Progress, TaskID

from accel.circuits import store
from accel.circuits.catalogue import EFFORTS, wishes
from accel.console import console
from accel.spec.errors import InputError


def main() -> int:
    """Exit code 2: bad input; 130: interrupted."""
    parser = argparse.ArgumentParser(prog="python -m accel.circuits", description=__doc__)
    parser.add_argument("--only", metavar="TEXT", default="",
                        help="circuits whose description contains TEXT, as 'tanh Q3.5 to Q3.5'")
    only = parser.parse_args().only
    try:
        generate(only)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
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
            start, bar = time.monotonic(), bars.add_task(str(wish), total=1.0)
            circuit = store.search(wish, effort=EFFORTS[wish.target],
                                   progress=partial(_advance, bars, bar))
            known = {**store.known(), wish.digest: circuit.record()}
            store.save(known[digest] for digest in catalogue if digest in known)
            bars.remove_task(bar)
            bars.advance(whole)
            network = circuit.network
            bars.print(f"{number}/{len(chosen)} {wish}: {network.lut4} LUTs, {network.levels} "
                       f"levels, from {circuit.form}, {time.monotonic() - start:.0f} s")


def _advance(bars: Progress, bar: TaskID, part: float) -> None:
    bars.update(bar, completed=part)


if __name__ == "__main__":
    sys.exit(main())
