"""``python -m accel.report energy [NETWORK[:PRESET] ...]``: energy per inference, as published."""
import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from accel.console import console
from accel.cost.energy import (
    BEHIND,
    CLAIM,
    CLAIM_TEXT,
    DRAM,
    FORMATS,
    SRAMS,
    UNITS,
    EnergyReport,
    FormatEnergy,
    energy_of,
    term_pj,
    unit_pj,
)
from accel.cost.traffic import Count, Store
from accel.graph import Graph
from accel.networks import NETWORKS
from accel.program import Program
from accel.report.options import DEFAULT_PRESET, OptionError, add_config
from accel.sources import load_graph
from accel.spec.config import AccelConfig
from accel.spec.presets import PRESETS, config_from

#: Each on the preset that is made for it.
DEFAULT = tuple(f"{name}:{NETWORKS[name].preset}" for name in (
    "cnn", "cnn-shift", "cnn-shiftadd-1x1", "cnn-shiftadd"))
UNKNOWN = "not published"
#: Terms, and the operation that tells each from the others.
TERMS = {Count.MAC: "multiply", Count.SHIFT: "shift", Count.DISTANCE: "add"}
NOTES = (
    "Published figures of 45 nm at 0.9 V (--sources) for what the compiled program does per image.",
    ("A term is one tap of one output, padding included: multiply and add, shift and add, or "
     "subtract and add. Its sum is FIX32, in FP32 FP32."),
    ("A requantization multiplies (or shifts and adds), rounds and adds a zero point in FIX32; in "
     "FP32 it multiplies and adds. A comparison is a subtraction in the format."),
    ("* marks the format in which the configuration computes. In the others operands would be as "
     "wide as the format, in memories too; sums, scales and shift codes would stay."),
    ("Memories: what the program reads and writes, copies too, at 10, 20 and 100 pJ per 64 bits of "
     "8 KiB, 32 KiB and 1 MiB; between them by logarithms, below as 8 KiB."),
    ("Not counted, for want of figures: registers and wires in array and units, circuits of table "
     "activations. Nor idle elements and lanes, leakage, clock, control, nor what the host moves."),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this report."""
    parser.add_argument("networks", nargs="*", metavar="NETWORK[:PRESET]", help="as MODEL of the "
                        f"report layers; default {' '.join(DEFAULT)}")
    parser.add_argument("--calibration", type=Path, help="float images (n, c, h, w) as .npy; for "
                        "FILE.py:FUNCTION alone")
    parser.add_argument("--against", metavar="NETWORK:PRESET", help="what the others are compared "
                        "with; default: the first of several")
    parser.add_argument("--memory", default=BEHIND[0], metavar="KIND", help="what is behind the "
                        f"memory port: {' or '.join(BEHIND)}; default {BEHIND[0]}")
    parser.add_argument("--sources", action="store_true",
                        help="every published figure and where it stands")
    add_config(parser)
    parser.set_defaults(preset=None)    # to tell whether it is given


def run(options: argparse.Namespace) -> int:
    """Print the report."""
    if options.memory not in BEHIND:
        raise OptionError(f"--memory must be {' or '.join(BEHIND)}, not {options.memory!r}")
    report = energy([energy_of(*_compiled(model, options.calibration, config), options.memory)
                     for model, config in _wanted(options)], options.memory)
    if options.json:
        print(json.dumps(report, indent=1))
    else:
        _print(report, sources=options.sources)
    return 0


def _wanted(options: argparse.Namespace) -> list[tuple[str, AccelConfig]]:
    """Models and their configurations; `InputError` for an option that none of them takes."""
    alone = options.sources and options.against is None
    placed = [_split(text) for text in options.networks or (() if alone else DEFAULT)]
    if options.against is not None:
        placed.insert(0, _split(options.against))
        if not placed[0][1]:
            raise OptionError("--against must be NETWORK:PRESET, with a preset of "
                              f"{', '.join(PRESETS)}, not {options.against!r}")
    if (options.preset or options.config) and all(name for _, name in placed):
        raise OptionError("--preset and --config are for a NETWORK without a preset behind it, and "
                          "there is none")
    if options.calibration is not None and not any(".py:" in model for model, _ in placed):
        raise OptionError("--calibration is for FILE.py:FUNCTION, and there is none")
    return [(model, config_from(name or options.preset or DEFAULT_PRESET,
                                None if name else options.config, options.activations))
            for model, name in placed]


def _split(text: str) -> tuple[str, str]:
    """A model, and the preset behind its colon, if there is one."""
    model, _, name = text.rpartition(":")
    whole = not model or model.endswith(".py") or Path(text).is_file()
    return (text, "") if whole else (model, name)


def _compiled(model: str, calibration: Path | None, config: AccelConfig,
              ) -> tuple[Program, AccelConfig, Graph | None]:
    # By name and late, as in every report that compiles.
    from accel.compile import compile_graph
    path = Path(model)
    if path.is_file() and path.suffix != ".onnx":
        program = Program.load(path)
        program.check(config)
        return program, config, None
    graph = load_graph(model, calibration if ".py:" in model else None, config)
    return compile_graph(graph, config), config, graph


def energy(reports: Sequence[EnergyReport], behind: str) -> dict[str, Any]:
    """The report as plain values; the first network is what the others are compared with."""
    return {"report": "energy", "memory": behind, "networks": [_network(each) for each in reports],
            "savings": [_savings(reports[0], each) for each in reports[1:]],
            "terms_pj": {name: {kind: term_pj(kind, name) for kind in TERMS} for name in FORMATS},
            "claim": {"saving": CLAIM, "text": CLAIM_TEXT},
            "sources": [asdict(each) for each in (*UNITS, *SRAMS, DRAM)], "notes": list(NOTES)}


def _network(report: EnergyReport) -> dict[str, Any]:
    counted, own = report.traffic, report.own
    return {"network": report.network, "preset": report.preset,
            "config_digest": report.config_digest, "format": own.format,
            "total_uj": own.total_uj,
            "operations": {kind: {"useful": counted.useful.get(kind, 0), "executed": executed}
                           for kind, executed in counted.executed.items()},
            "bits": [{**access._asdict(), "bits": bits} for access, bits in counted.bits.items()],
            "formats": [{"format": each.format, "own": each.own, "total_uj": each.total_uj,
                         "compute_pj": each.compute_pj, "memory_pj": each.memory_pj,
                         "operations_pj": dict(each.operations),
                         "memories_pj": dict(each.memories)} for each in report.formats.values()]}


def _savings(first: EnergyReport, other: EnergyReport) -> dict[str, Any]:
    """By how much less energy the other one needs, as a share; None where it is not known."""
    def of(energy: Callable[[FormatEnergy], float | None], name: str) -> float | None:
        before, after = (energy(_format(each, name)) for each in (first, other))
        return None if before is None or after is None else round(1 - after / before, 4)
    return {"network": other.network, "preset": other.preset,
            "against": f"{first.network} on {first.preset}",
            **{name: {"total": of(lambda each: each.total_uj, name),
                      "operations": of(lambda each: each.compute_pj, name),
                      "memories": of(lambda each: each.memory_pj, name)}
               for name in ("own", *FORMATS)}}


def _format(report: EnergyReport, name: str) -> FormatEnergy:
    return report.own if name == "own" else report.formats[name]


# --- for people ---------------------------------------------------------------------------------
def _print(report: dict[str, Any], *, sources: bool) -> None:
    if sources:
        _print_sources(report)
    for each in report["networks"]:
        console().print(_table(each))
    if report["networks"]:
        print(f"Behind the memory port: {report['memory']}.")
    for saving in report["savings"]:
        print(f"{saving['network']} on {saving['preset']} against {saving['against']}: "
              + "; ".join(f"{name} {_share(saving['own'][key])}" for name, key in (
                  ("saves", "total"), ("operations alone", "operations"),
                  ("memories alone", "memories"))) + ".")
        print("  In one format each: " + ", ".join(
            f"{name} {_share(saving[name]['total'])}" for name in FORMATS) + ".")
    if report["networks"]:
        print("Paper: " + report["claim"]["text"] + ".")
        print("  Figures of FIX8 alone: " + "; ".join(
            f"{operation} {unit_pj(operation, 'FIX8'):g} pJ, {kind} {term_pj(kind, 'FIX8'):g} pJ"
            for kind, operation in TERMS.items()) + ".")
        for note in report["notes"]:
            print(note)


def _table(network: dict[str, Any]) -> Table:
    formats = network["formats"]
    own = next(each for each in formats if each["own"])
    table = Table(title=f"{network['network']} on {network['preset']}: µJ per inference")
    table.add_column("part")
    for title in ("count", "of all lanes", *(each["format"] + "*" * each["own"]
                                             for each in formats), "share"):
        table.add_column(title, justify="right")

    def row(name: str, counts: tuple[str, str], values: list[float | None]) -> None:
        mine = values[formats.index(own)]
        whole = own["total_uj"]
        table.add_row(name, *counts, *(UNKNOWN if value is None else f"{value / 1e6:.4f}"
                                       for value in values),
                      "" if whole is None or mine is None else f"{mine / whole / 1e6:.1%}")
    for kind, count in network["operations"].items():
        if any(kind in each["operations_pj"] for each in formats):
            row(kind, (f"{count['useful']:,}", f"{count['executed']:,}"),
                [each["operations_pj"].get(kind) for each in formats])
    table.add_section()
    for store in Store:
        moved = {way: sum(each["bits"] for each in network["bits"] if each["store"] == store
                          and each["direction"] == way) for way in ("read", "write")}
        row(store, (f"{moved['read']:,} b read", f"{moved['write']:,} b written"),
            [each["memories_pj"][store] for each in formats])
    table.add_section()
    for name, key in (("operations", "compute_pj"), ("memories", "memory_pj")):
        row(name, ("", ""), [each[key] for each in formats])
    row("all", ("", ""), [None if each["total_uj"] is None else each["total_uj"] * 1e6
                          for each in formats])
    return table


def _print_sources(report: dict[str, Any]) -> None:
    table = Table("what", "format", "pJ", "technology", "published in")
    for each in report["sources"]:
        size = "64 bits" if "memory" in each else each["format"]
        table.add_row(each.get("memory", each.get("operation")), size, f"{each['picojoules']:g}",
                      each["technology"], each["source"])
    console().print(table)


def _share(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.1%}"
