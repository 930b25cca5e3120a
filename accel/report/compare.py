"""``python -m accel.report compare``: networks on their arrays, side by side on one board.

Of each network: size and clock of the board's whole design after place and route (`boards.flow`,
which keeps what is built), cycles by the RTL's own counter, energy by `accel.cost.energy` and
accuracy by golden.
"""
import argparse
import io
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from accel import golden, pretrained
from accel.console import console
from accel.cost.energy import energy_of
from accel.data import CLASSES, TEST_PER_CLASS
from accel.device import Device, DeviceError, rtl_device
from accel.files import check_writable, write_atomic, writing
from accel.networks import NETWORKS
from accel.pretrained import Prepared, prepare, shown_images
from accel.quantize import quantize_input
from accel.report.options import OptionError, at_least, positive
from accel.report.runs import finish
from accel.spec.config import AccelConfig, ConfigError
from accel.spec.errors import InputError
from accel.spec.presets import PRESETS, preset
from boards import budget
from boards.process import BuildError, terminable
from boards.registry import BOARDS, board
from boards.spec import BoardSpec
from boards.tools import find_tool

DEFAULT = ("cnn", "cnn-shift", "cnn-shiftadd", "cnn-shiftadd-1x1")
MOST_IMAGES = CLASSES * TEST_PER_CLASS
#: What the boards have behind the memory port (`accel.cost.energy.BEHIND`).
BEHIND = "chip"
PICTURES = (".svg", ".png")
#: Images that golden computes at once; bounds the memory of all their tensors.
CHUNK = 100
NOTES = (
    ("LUT4, FF, DSP, BRAM and MHz: nextpnr's, after routing, of all that is on the board: core, "
     "memory, serial port. One seed, one target for all; once a clock meets it nextpnr improves it "
     "no further, so that a target below what can be had hides differences (--clock)."),
    ("Cycles: of one image, by the RTL's own counter, from the input in memory to the output in "
     "memory; the output equals golden's. Inferences/s: MHz / cycles, without moving images to the "
     "board and back."),
    ("Energy: a model by published figures per operation and memory access, 45 nm (the report "
     "energy), memory on the chip. It is not a measurement of the FPGA."),
    ("Accuracy: share of the test digits that the integer network gets right, by golden; 98 % of "
     "1,000 digits has a standard error of 0.4 points. Networks that are not trained have none."),
)
_SETTINGS: dict[Any, str] = {"svg.hashsalt": "systolith", "svg.fonttype": "none"}
#: Titles, keys and forms of the picture's bars.
_PANELS = (("LUT4", "lut4", "{:,}"), ("DSP", "dsp", "{:,}"), ("clock, MHz", "fmax_mhz", "{:.1f}"),
           ("inferences/s", "inferences_per_s", "{:,.0f}"),
           ("energy per inference, µJ (model, 45 nm)", "energy_uj", "{:.3g}"),
           ("accuracy (integer)", "accuracy", "{:.1%}"))
_PANEL_COLUMNS = 3
_COLOURS = {"mac": "tab:blue", "shift": "tab:green", "add": "tab:red", "shiftadd": "tab:orange"}


@dataclass(frozen=True)
class Case:
    """A network on a configuration."""

    network: str
    config: AccelConfig

    @property
    def name(self) -> str:
        """As ``cnn on ecp5``."""
        return f"{self.network} on {self.config.name}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this report."""
    add = parser.add_argument
    add("networks", nargs="*", metavar="NETWORK[:PRESET]",
        help=f"of {', '.join(NETWORKS)}, and of {', '.join(PRESETS)}; default: "
             f"{', '.join(DEFAULT)}, each on its own preset")
    add("--board", default="ulx3s", help=f"{', '.join(BOARDS)}; default ulx3s")
    add("--clock", type=float, metavar="MHZ", help="target of all; default: the board's own")
    add("--seed", type=int, default=1, help="of place and route (default 1)")
    add("--images", type=int, metavar="N", default=MOST_IMAGES,
        help=f"test digits for the accuracy, at most {MOST_IMAGES:,} (default)")
    add("--jobs", type=int, metavar="N", default=os.cpu_count() or 1,
        help="builds at a time (default: one per core)")
    add("--timeout", type=float, metavar="MINUTES", default=60,
        help="limit of each step of a build (default 60)")
    add("--plot", type=Path, metavar="FILE.svg", help="draw the table; or FILE.png")


def run(options: argparse.Namespace) -> int:
    """Print the report; 1 if a row could not be built."""
    for name, least in (("seed", 0), ("images", 1), ("jobs", 1)):
        at_least(f"--{name}", least, getattr(options, name))
    if options.images > MOST_IMAGES:
        raise OptionError(f"--images must be at most {MOST_IMAGES}, not {options.images}")
    positive("--timeout", options.timeout)
    _check_plot(options.plot)
    spec = board_at(options.board, options.clock)
    report = compare(cases_of(options.networks or DEFAULT), spec, seed=options.seed,
                     images=options.images, jobs=options.jobs, timeout_s=60 * options.timeout)
    if options.json:
        print(json.dumps(report, indent=1))
    else:
        _print(report)
    if options.plot:
        with writing("--plot", options.plot):
            write_atomic(options.plot, picture(report, options.plot.suffix.removeprefix(".")))
        print(options.plot, file=sys.stderr if options.json else sys.stdout)
    return int(any(row["error"] for row in report["rows"]))


def _check_plot(path: Path | None) -> None:
    if path is None:
        return
    if path.suffix not in PICTURES:
        raise OptionError(f"--plot must end in {' or '.join(PICTURES)}, not {str(path)!r}")
    check_writable("--plot", path)


def board_at(name: str, clock_mhz: float | None) -> BoardSpec:
    """A board whose clock's target is ``clock_mhz``, if given; `InputError` if it has none such."""
    spec = board(name)
    if clock_mhz is not None:
        positive("--clock", clock_mhz)
        spec = replace(spec, clock_mhz=clock_mhz)
    # By name and late, as all that needs Amaranth, which takes a second to load.
    plan = import_module("boards.ecp5_pll").plan_pll(spec.clock_input_mhz, spec.clock_mhz)
    import_module("boards.uart").uart_divisor(float(plan.output_mhz) * 1e6, spec.baud)
    # Every preset has block RAM.
    if fault := budget.clock_fault(1, spec):
        raise OptionError(f"{spec.name}: {fault}")
    return spec


def cases_of(texts: Sequence[str]) -> list[Case]:
    """Cases as on the command line, NETWORK or NETWORK:PRESET."""
    cases = []
    for text in texts:
        network, colon, name = text.partition(":")
        if network not in NETWORKS:
            raise OptionError(f"NETWORK must be one of {', '.join(NETWORKS)}, not {network!r}")
        cases.append(Case(network, preset(name if colon else NETWORKS[network].preset)))
    return cases


def compare(cases: Sequence[Case], spec: BoardSpec, *, seed: int, images: int, jobs: int,
            timeout_s: float, quiet: bool = False) -> dict[str, Any]:
    """The report as plain values; what takes long comes after all that can be wrong.

    Raises `InputError` for a network that its configuration cannot compute, `ToolError` or
    `DeviceError` if a tool is missing, and `DeviceError` if the RTL computes something else than
    golden. A configuration that does not fit the board, or cannot be built, is a row.
    """
    errors = Console(stderr=True, quiet=quiet)
    flow = import_module("boards.flow")
    for tool in flow.TITLES:
        find_tool(tool)
    ready = [_prepared(case) for case in cases]
    devices: dict[str, Device] = {}
    figures = []
    for case, prepared in zip(cases, ready, strict=True):
        with errors.status(case.name) if errors.is_terminal and not quiet else nullcontext():
            found = _figures(case, prepared, images, devices)
        errors.print(f"{case.name}: {found['cycles']:,} cycles", highlight=False, soft_wrap=True)
        figures.append(found)
    configs = {case.config.digest: case.config for case in cases}
    builds = build_all(configs, jobs, errors, lambda config: flow.build(
        spec, config, seed=seed, timeout_s=timeout_s, quiet=True, publish=False), spec)
    rows = [row(case, found, builds[case.config.digest], spec)
            for case, found in zip(cases, figures, strict=True)]
    tools = {name: record for build in builds.values() if not isinstance(build, str)
             for name, record in build.result["tools"].items()}
    return {"report": "compare", "board": spec.name, "device": spec.device.part,
            "target_mhz": spec.clock_mhz, "seed": seed, "images": images, "rows": rows,
            "notes": list(NOTES), "tools": tools}


def _prepared(case: Case) -> Prepared:
    try:
        return prepare(case.network, case.config, 1)
    except InputError as error:
        raise OptionError(f"{case.name}: {error}") from None
    except FileNotFoundError as error:
        raise OptionError(f"{case.network} is not trained: there is no {error.filename}; "
                          f"python -m accel.train {case.network} makes it") from None


# --- figures of one network ---------------------------------------------------------------------
def _figures(case: Case, prepared: Prepared, images: int, devices: dict[str, Device],
             ) -> dict[str, Any]:
    """All that needs no build; ``devices`` are those simulated so far, by digest."""
    program, graph, config = prepared.program, prepared.graph, case.config
    if config.digest not in devices:
        devices[config.digest] = rtl_device(config)
    device = devices[config.digest]
    device.load(program)
    if wrong := int((device.run(prepared.codes[:1]) != prepared.expected[:1]).sum()):
        raise DeviceError(f"{case.name}: the RTL is wrong: {wrong} of {prepared.expected[0].size} "
                          "outputs of the first image are not golden's")
    return {"cycles": device.counters["cycles"], "terms": graph.macs,
            "energy_uj": energy_of(program, config, graph, BEHIND).own.total_uj,
            "accuracy": _accuracy(case, prepared, images)}


def _accuracy(case: Case, prepared: Prepared, images: int) -> float | None:
    """Share of the first ``images`` test digits that golden gets right."""
    if NETWORKS[case.network].data is None:
        return None
    graph = prepared.graph
    shown, labels = shown_images(case.network, images)
    codes = torch.as_tensor(quantize_input(graph, shown, case.config))
    outputs = [golden.run(graph, chunk, case.config)[graph.output.name].numpy()
               for chunk in torch.split(codes, CHUNK)]
    return None if labels is None else pretrained.accuracy(np.concatenate(outputs), labels)


def row(case: Case, figures: Mapping[str, Any], build: Any, spec: BoardSpec) -> dict[str, Any]:
    """One line of the table; ``build`` is a `boards.flow.Build` or why there is none.

    ``fmax_mhz`` is the clock that can be used: ``achieved_mhz``, nextpnr's, but not above what the
    block RAM takes. What could not be found out is None, and ``error`` says why.
    """
    found: dict[str, Any] = {
        "network": case.network, "preset": case.config.name, "cell": case.config.cell,
        "device": spec.device.part, "config_digest": case.config.digest,
        **dict.fromkeys(("lut4", "ff", "dsp", "bram", "fmax_mhz", "achieved_mhz")),
        "cycles": figures["cycles"], "inferences_per_s": None, "energy_uj": figures["energy_uj"],
        "accuracy": figures["accuracy"], "terms": figures["terms"], "missed": "", "error": ""}
    if isinstance(build, str):
        return {**found, "error": build}
    # nextpnr may leave out a resource that no cell uses
    used = {name: build.result["resources"].get(name, {"used": 0})["used"]
            for name in spec.device.capacity}
    achieved = float(build.result["clocks"]["sync"]["achieved_mhz"])
    limit = spec.device.limit_mhz(used["BRAM"])
    fmax = achieved if limit is None else min(achieved, limit)
    return {**found, **{name.lower(): count for name, count in used.items()},
            "fmax_mhz": fmax, "achieved_mhz": achieved, "missed": build.failure,
            "inferences_per_s": round(fmax * 1e6 / found["cycles"], 3)}


# --- builds -------------------------------------------------------------------------------------
def build_all(configs: Mapping[str, AccelConfig], jobs: int, errors: Console,
              build: Callable[[AccelConfig], Any], spec: BoardSpec) -> dict[str, Any]:
    """The `boards.flow.Build` of each configuration, or why there is none; progress to ``errors``.

    If interrupted, the tools are stopped; finished builds are kept.
    """
    found: dict[str, Any] = {}
    for key, config in configs.items():
        try:
            budget.check_config(config, spec)
        except ConfigError as error:
            found[key] = str(error)
    with terminable(), ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(build, config): key for key, config in configs.items()
                   if key not in found}
        titles = {future: configs[key].name for future, key in futures.items()}
        finish(pool, titles, _summary, errors)
    return {**found, **{key: _result(future) for future, key in futures.items()}}


def _result(future: "Future[Any]") -> Any:
    try:
        return future.result()
    except BuildError as error:
        return "; ".join(str(error).splitlines())


def _summary(future: "Future[Any]") -> str:
    if error := future.exception():
        return ": " + str(error).partition("\n")[0]
    build = future.result()
    return (f": {build.result['clocks']['sync']['achieved_mhz']:.1f} MHz"
            f"{' (cached)' if build.cached else ''}")


# --- for people ---------------------------------------------------------------------------------
def _print(report: Mapping[str, Any]) -> None:
    table = Table(title=f"{report['board']} ({report['device']}), seed {report['seed']}, target "
                        f"{report['target_mhz']:g} MHz, {report['images']:,} digits; "
                        "x: of the first row")
    for name in ("network", "preset", "cell"):
        table.add_column(name, no_wrap=True)
    for name in ("LUT4", "DSP", "MHz", "cycles", "inferences/s", "µJ", "accuracy"):
        table.add_column(name, justify="right")
    first = report["rows"][0]
    for each in report["rows"]:
        table.add_row(each["network"], each["preset"], each["cell"], *_cells(each, first))
    console().print(table)
    for each in report["rows"]:
        if reason := each["error"]:
            print(f"{each['network']} on {each['preset']}: {reason}")
        elif reason := each["missed"]:
            print(f"* {each['network']} on {each['preset']}: {reason}")
    for note in report["notes"]:
        print(note)
    if tools := report["tools"]:
        print("; ".join(f"{name}: {tool['version']} ({tool['origin']})"
                        for name, tool in tools.items()))


def _cells(each: Mapping[str, Any], first: Mapping[str, Any]) -> list[str]:
    """The figures of one line."""
    def ratio(key: str, form: str, mark: str = "") -> str:
        value, base = each[key], first[key]
        if value is None:
            return "-"
        return form.format(value) + mark + (f" {value / base:.2f}x" if base else "")
    accuracy = "-"
    if (value := each["accuracy"]) is not None:
        accuracy = f"{value:.1%}"
        if each is not first and first["accuracy"] is not None:
            accuracy += f" {100 * (value - first['accuracy']):+.1f}"
    return [ratio("lut4", "{:,}"), ratio("dsp", "{:,}"),
            ratio("fmax_mhz", "{:.1f}", "*" * bool(each["missed"])), ratio("cycles", "{:,}"),
            ratio("inferences_per_s", "{:,.1f}"),
            "not published" if each["energy_uj"] is None else ratio("energy_uj", "{:.3g}"),
            accuracy]


def picture(report: Mapping[str, Any], form: str) -> bytes:
    """Bars of the table, a panel for each figure; what is not known has none."""
    # Late: matplotlib takes a second to load.
    import matplotlib as mpl
    from matplotlib.figure import Figure
    rows, buffer = report["rows"], io.BytesIO()
    names = [f"{each['network']}\n{each['preset']}" for each in rows]
    colours = [_COLOURS[each["cell"]] for each in rows]
    lines = -(-len(_PANELS) // _PANEL_COLUMNS)
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(4.2 * _PANEL_COLUMNS, lines * (1 + 0.5 * len(rows))),
                        layout="constrained")
        figure.suptitle(f"{report['device']}, place and route for {report['target_mhz']:g} MHz",
                        fontsize=11)
        panels = figure.subplots(lines, _PANEL_COLUMNS, squeeze=False, sharey=True).flat
        for axes, (title, key, shape) in zip(panels, _PANELS, strict=True):
            values = [each[key] for each in rows]
            bars = axes.barh(range(len(rows)), [value or 0 for value in values], color=colours)
            axes.bar_label(bars, ["-" if value is None else shape.format(value)
                                  for value in values], padding=3, fontsize=8)
            axes.set_xlim(0, 1.25 * (max((value or 0 for value in values), default=0) or 1))
            axes.set_yticks(range(len(rows)), names, fontsize=8)
            axes.set_title(title, fontsize=9)
            axes.set_xticks([])
        axes.invert_yaxis()     # shared: the first row on top
        metadata = {"Date": None} if form == "svg" else {"Software": None}
        figure.savefig(buffer, format=form, dpi=110, metadata=metadata)
    return buffer.getvalue()
