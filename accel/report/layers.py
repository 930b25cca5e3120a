"""``python -m accel.report layers MODEL``: cycles and traffic of each layer, by the cycle model."""
import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from accel.console import console
from accel.cost.layers import LayerCost, layer_costs
from accel.networks import NETWORKS
from accel.pretrained import calibrate
from accel.program import Program
from accel.report.options import OptionError
from accel.spec.config import AccelConfig
from accel.spec.presets import PRESETS, config_from

NOTES = (
    "Cycles by accel.cost, from the input in memory to the output in memory, one image.",
    "Utilisation: MACs / (cycles x elements of the array).",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this report."""
    parser.add_argument("model", help=f"{', '.join(NETWORKS)}, or a program file")
    parser.add_argument("--preset", default="ecp5", help=f"one of {', '.join(PRESETS)}")
    parser.add_argument("--config", help="TOML file instead of a preset")


def run(options: argparse.Namespace) -> int:
    """Print the report."""
    # By name and late, as in every report that compiles.
    from accel.compile import compile_graph
    config = config_from(options.preset, options.config)
    if options.model in NETWORKS:
        program = compile_graph(calibrate(options.model, config)[1], config)
    elif Path(options.model).is_file():
        program = Program.load(Path(options.model))
        program.check(config)
    else:
        raise OptionError(f"MODEL must be one of {', '.join(NETWORKS)} or a program file, not "
                          f"{options.model!r}")
    report = layers(program, config)
    if options.json:
        print(json.dumps(report, indent=1))
    else:
        _print(report)
    return 0


def layers(program: Program, config: AccelConfig) -> dict[str, Any]:
    """The report as plain values."""
    rows = layer_costs(program, config)
    cycles = sum(row.cycles for row in rows)
    macs = sum(row.macs for row in rows)
    return {"report": "layers", "network": program.name, "preset": config.name,
            "config_digest": config.digest, "cycles": cycles, "macs": macs,
            "utilisation": round(macs / (cycles * config.rows * config.cols), 4),
            "layers": [_row(row) for row in rows], "notes": list(NOTES)}


def _row(row: LayerCost) -> dict[str, Any]:
    return {**asdict(row), "utilisation": round(row.utilisation, 4)}


def _print(report: dict[str, Any]) -> None:
    table = Table("layer", "MACs", "cycles", "utilisation", "bound by", "bytes read",
                  "bytes written", title=f"{report['network']} on {report['preset']}")
    for row in report["layers"]:
        table.add_row(row["name"], f"{row['macs']:,}", f"{row['cycles']:,}",
                      f"{row['utilisation']:.1%}", row["bound"], f"{row['bytes_read']:,}",
                      f"{row['bytes_written']:,}")
    table.add_section()
    table.add_row("all", f"{report['macs']:,}", f"{report['cycles']:,}",
                  f"{report['utilisation']:.1%}", "",
                  f"{sum(row['bytes_read'] for row in report['layers']):,}",
                  f"{sum(row['bytes_written'] for row in report['layers']):,}")
    console().print(table)
    for note in report["notes"]:
        print(note)
