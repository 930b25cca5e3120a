"""``python -m accel.report layers MODEL``: cycles and traffic of each layer, by the cycle model."""
import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from accel.console import console
from accel.cost.layers import layer_costs
from accel.cost.plain import plain_cycles
from accel.device import rtl_device
from accel.graph import Conv2d, Graph
from accel.program import Program
from accel.report.options import add_config
from accel.sources import add_model, load_graph
from accel.spec.config import AccelConfig
from accel.spec.presets import config_from

NOTES = (
    "Cycles by accel.cost, from the input in memory to the output in memory, one image.",
    "Utilisation: MACs / (cycles x elements of the array).",
    "Plain: the same array without modes, a weight row per cycle, layers one after the other.",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this report."""
    add_model(parser, ", or a program file")
    parser.add_argument("--measure", action="store_true", help="run the RTL in Verilator too, and "
                        "print its cycles")
    add_config(parser)


def run(options: argparse.Namespace) -> int:
    """Print the report."""
    # By name and late, as in every report that compiles.
    from accel.compile import compile_graph
    config = config_from(options.preset, options.config, options.activations)
    graph, path = None, Path(options.model)
    if path.is_file() and path.suffix != ".onnx":
        program = Program.load(path)
        program.check(config)
    else:
        graph = load_graph(options.model, options.calibration, config)
        program = compile_graph(graph, config)
    report = layers(program, config, graph)
    report["rtl_cycles"] = _measured(program, config) if options.measure else None
    if options.json:
        print(json.dumps(report, indent=1))
    else:
        _print(report)
    return 0


def _measured(program: Program, config: AccelConfig) -> int:
    """Cycles by the RTL's own counter; what the input holds does not matter."""
    device = rtl_device(config)
    device.load(program)
    device.run(np.zeros((1, *program.tensors[program.input].shape), np.int64))
    return device.counters["cycles"]


def layers(program: Program, config: AccelConfig, graph: Graph | None = None) -> dict[str, Any]:
    """The report as plain values; without the graph nothing is known of a plain array."""
    rows = layer_costs(program, config)
    cycles = sum(row.cycles for row in rows)
    macs = sum(row.macs for row in rows)
    plain = {} if graph is None else {
        node.name: plain_cycles(node, config) for node in graph.nodes if isinstance(node, Conv2d)}
    return {"report": "layers", "network": program.name, "preset": config.name,
            "config_digest": config.digest, "cycles": cycles, "macs": macs,
            "utilisation": _utilisation(macs, cycles, config),
            "plain_cycles": sum(plain.values()) or None,
            "plain_utilisation": _utilisation(macs, sum(plain.values()), config),
            "layers": [{**asdict(row), "utilisation": round(row.utilisation, 4),
                        "plain_cycles": plain.get(row.name)} for row in rows],
            "notes": list(NOTES)}


def _utilisation(macs: int, cycles: int, config: AccelConfig) -> float | None:
    """MACs per cycle and element; None where the cycles are not known."""
    return round(macs / (cycles * config.rows * config.cols), 4) if cycles else None


def _print(report: dict[str, Any]) -> None:
    table = Table("layer", "MACs", "cycles", "utilisation", "bound by", "bytes read",
                  "bytes written", "plain cycles",
                  title=f"{report['network']} on {report['preset']}")
    for row in report["layers"]:
        table.add_row(row["name"], *_cells(row))
    table.add_section()
    table.add_row("all", *_cells({
        **report, "bound": "", **{key: sum(row[key] for row in report["layers"])
                                  for key in ("bytes_read", "bytes_written")}}))
    console().print(table)
    if report["plain_cycles"]:
        print(f"Utilisation of the plain array: {report['plain_utilisation']:.1%}.")
    if measured := report["rtl_cycles"]:
        print(f"RTL: {measured:,} cycles, of which the model is off by "
              f"{report['cycles'] / measured - 1:+.2%}; utilisation "
              f"{report['utilisation'] * report['cycles'] / measured:.1%}.")
    for note in report["notes"]:
        print(note)


def _cells(row: Mapping[str, Any]) -> list[str]:
    """A row of the table behind its name."""
    plain = row["plain_cycles"]
    return [f"{row['macs']:,}", f"{row['cycles']:,}", f"{row['utilisation']:.1%}", row["bound"],
            f"{row['bytes_read']:,}", f"{row['bytes_written']:,}",
            "-" if plain is None else f"{plain:,}"]
