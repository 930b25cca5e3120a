"""``python -m accel.report timing``: clock, size and throughput after place and route.

Each design of `accel.report.benches` stands alone on its device, in a harness whose size is left
out. Netlists and finished runs are kept under ``build/implement`` (`boards.implement`).
"""
import argparse
import json
import os
from collections.abc import Mapping, Sequence
from statistics import median_low
from typing import Any

from rich.table import Table

from accel.console import console
from accel.report.benches import BENCHES, Bench
from accel.report.options import OptionError, at_least, positive
from accel.report.runs import Outcome, run_all
from boards.devices import ECP5, ICE40

#: Clock asked of nextpnr, in MHz: more than can be had, so that it does not rest.
TARGET_MHZ = {ECP5.name: 300.0, ICE40.name: 70.0}
NOTES = (
    ("Out of context: inputs from a chain of registers, outputs into a registered XOR tree; LUT4 "
     "and FF are nextpnr's counts less the harness and the drivers of constants. On iCE40, LUT4 "
     "counts logic cells."),
    ("Clock: nextpnr's after routing; best, median and worst of the seeds, the lower of two in the "
     "middle. Not measured on a chip."),
    (f"Block RAM on {ECP5.part}: at most {ECP5.bram_mhz:g} MHz, from the shortest clock pulse it "
     "takes (Project Trellis' timing database, from the vendor's SDF), which nextpnr does not "
     "check. A clock with * is cut to that; JSON keeps nextpnr's as fmax_mhz."),
    ("mapped: with the device's primitives. inferred: the same gateware without, as yosys maps it. "
     "A term of a shift or add cell counts as a MAC."),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this report."""
    parser.add_argument("--seeds", type=int, metavar="N", default=3,
                        help="place and route with seeds 1 to N (default 3)")
    parser.add_argument("--only", metavar="TEXT", action="append", default=[],
                        help="designs whose name contains TEXT, as mac-12x13 or ice40-mapped; "
                             "may be given several times")
    parser.add_argument("--large", action="store_true", help="the largest designs too: hours")
    parser.add_argument("--jobs", type=int, metavar="N", default=os.cpu_count() or 1,
                        help="tools that run at the same time (default: one per CPU)")
    parser.add_argument("--timeout", type=float, metavar="MINUTES", default=60,
                        help="limit of each run of a tool (default 60)")


def run(options: argparse.Namespace) -> int:
    """Print the report; 1 if a run failed, `OptionError` or `ToolError` if none can be made."""
    at_least("--seeds", 1, options.seeds)
    at_least("--jobs", 1, options.jobs)
    positive("--timeout", options.timeout)
    benches = select(options.only, options.large)
    report = timing(benches, range(1, options.seeds + 1), jobs=options.jobs,
                    timeout_s=60 * options.timeout)
    if options.json:
        print(json.dumps(report, indent=1))
    else:
        _print(report)
    return int(any(row["error"] for row in report["rows"]))


def select(parts: Sequence[str], large: bool) -> list[Bench]:
    """Designs whose key contains one of ``parts``, or all; large ones only if ``large``."""
    if unknown := [part for part in parts if not any(part in bench.key for bench in BENCHES)]:
        names = ", ".join(dict.fromkeys(bench.name for bench in BENCHES))
        raise OptionError(f"--only {unknown[0]!r} matches none of {names} with "
                          f"-ecp5 or -ice40 and -mapped or -inferred behind")
    found = [bench for bench in BENCHES if (large or not bench.large)
             and (not parts or any(part in bench.key for part in parts))]
    if not found:
        raise OptionError(f"--only {' '.join(parts)} matches large designs alone; add --large")
    return found


def timing(benches: Sequence[Bench], seeds: Sequence[int], *, jobs: int, timeout_s: float,
           quiet: bool = False) -> dict[str, Any]:
    """The report as plain values; see `row`."""
    outcomes = run_all(benches, seeds, TARGET_MHZ, jobs=jobs, timeout_s=timeout_s, quiet=quiet)
    rows = [row(bench, outcome) for bench, outcome in zip(benches, outcomes, strict=True)]
    medians = {(found["name"], found["device"], found["variant"]): found["clock_mhz"]["median"]
               for found in rows if found["clock_mhz"]}
    for found in rows:
        mapped, inferred = (medians.get((found["name"], found["device"], variant))
                            for variant in ("mapped", "inferred"))
        found["mapped_over_inferred"] = (round(mapped / inferred, 2) if mapped and inferred
                                         else None)
    tools = {name: record for outcome in outcomes for result in outcome.runs
             for name, record in result["tools"].items()}
    return {"report": "timing", "tools": tools, "target_mhz": TARGET_MHZ, "rows": rows,
            "notes": list(NOTES)}


def row(bench: Bench, outcome: Outcome) -> dict[str, Any]:
    """Figures of one design.

    ``fmax_mhz`` is nextpnr's clock, ``clock_mhz`` the usable one below ``limit_mhz``. Sizes and
    critical path are those of the run with the median clock. What could not be found out is None,
    and ``unfit`` or ``error`` says why.
    """
    runs = outcome.runs
    found = {**bench.record(), "unfit": outcome.unfit, "error": outcome.failure,
             "digest": outcome.digest, "seeds": [run["seed"] for run in runs],
             "runs": [{key: run[key] for key in ("seed", "fmax_mhz", "digest", "seconds")}
                      for run in runs]}
    clocks = [float(run["fmax_mhz"]) for run in runs]
    if not runs:
        return found | dict.fromkeys((
            "fmax_mhz", "clock_mhz", "limit_mhz", "lut4", "ff", "dsp", "bram", "lut4_per_pe",
            "ff_per_pe", "gmacs", "mmacs_per_lut4", "critical_path"))
    middle = runs[clocks.index(median_low(clocks))]
    used: Mapping[str, int] = middle["resources"]
    size = {name: used[name] - outcome.harness.get(name, 0) for name in used}
    limit = bench.device.limit_mhz(size["BRAM"])
    fmax = {"best": max(clocks), "median": median_low(clocks), "worst": min(clocks)}
    clock = {name: value if limit is None else min(value, limit) for name, value in fmax.items()}
    elements = bench.rows * bench.cols
    macs_per_us = bench.macs_per_cycle * clock["median"]
    return {**found, "fmax_mhz": fmax, "limit_mhz": limit, "clock_mhz": clock,
            "lut4": size["LUT4"], "ff": size["FF"], "dsp": size["DSP"], "bram": size["BRAM"],
            "lut4_per_pe": round(size["LUT4"] / elements, 2),
            "ff_per_pe": round(size["FF"] / elements, 2),
            "gmacs": round(macs_per_us / 1000, 3),
            "mmacs_per_lut4": round(macs_per_us / max(1, size["LUT4"]), 3),
            "critical_path": middle["critical_path"]}


def _print(report: Mapping[str, Any]) -> None:
    out = console()
    table = Table(title="Arrays after place and route, each alone on its device")
    for name in ("design", "device", "variant"):
        table.add_column(name, no_wrap=True)
    for name in ("seeds", "MHz best", "median", "worst", "LUT4/PE", "FF/PE", "DSP", "BRAM",
                 "GMAC/s", "MMAC/s/LUT4", "vs inferred"):
        table.add_column(name, justify="right")
    for found in report["rows"]:
        table.add_row(found["name"], found["device"], found["variant"], *_cells(found))
    out.print(table)
    paths = Table("design", "variant", "slowest path", "logic ns", "routing ns")
    for found in report["rows"]:
        if path := found["critical_path"]:
            paths.add_row(f"{found['name']}-{found['device']}", found["variant"],
                          f"{path['from']} -> {path['to']}", f"{path['logic_ns']:.2f}",
                          f"{path['routing_ns']:.2f}")
    if paths.row_count:
        out.print(paths)
    for found in report["rows"]:
        if reason := found["unfit"] or found["error"]:
            print(f"{found['name']}-{found['device']}-{found['variant']}: {reason}")
    for note in report["notes"]:
        print(note)
    print("; ".join(f"{name}: {tool['version']} ({tool['origin']})"
                    for name, tool in report["tools"].items()))


def _cells(found: Mapping[str, Any]) -> list[str]:
    """The figures of one line of the table."""
    if not found["clock_mhz"]:
        return ["-", "does not fit" if found["unfit"] else "failed"]
    clocks = [f"{found['clock_mhz'][name]:.1f}" + "*" * (found["clock_mhz"][name] != raw)
              for name, raw in found["fmax_mhz"].items()]
    ratio = found["mapped_over_inferred"] if found["variant"] == "mapped" else None
    macs = found["macs_per_cycle"] > 0
    return [str(len(found["seeds"])), *clocks, f"{found['lut4_per_pe']:.1f}",
            f"{found['ff_per_pe']:.1f}", f"{found['dsp']}", f"{found['bram']}",
            f"{found['gmacs']:.2f}" if macs else "-",
            f"{found['mmacs_per_lut4']:.2f}" if macs else "-", f"{ratio:.2f}" if ratio else "-"]
