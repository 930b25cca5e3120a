"""``python -m boards``: bitstreams. Exit code 1: the build failed or is too slow; 2: bad input."""
import argparse
import sys

from rich.console import Console
from rich.table import Table

from accel.files import BUILD, ROOT
from accel.spec.errors import InputError
from accel.spec.presets import ACTIVATIONS_HELP, PRESETS, config_from
from boards.process import BuildError
from boards.registry import BOARDS, board
from boards.tools import ToolError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m boards", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("build", help="configuration -> bitstream")
    make.add_argument("board", help=", ".join(BOARDS))
    make.add_argument("--preset", help=f"{', '.join(PRESETS)}; default: the board's own")
    make.add_argument("--config", help="TOML file instead of a preset")
    make.add_argument("--activations", metavar="LIST", help=ACTIVATIONS_HELP)
    make.add_argument("--seed", type=int, default=1, help="of place and route (default 1)")
    make.add_argument("--clock", type=float, metavar="MHZ", help="default: the board's own")
    make.add_argument("--timeout", type=float, metavar="MINUTES", default=60,
                      help="limit of each step (default 60)")
    commands.add_parser("list", help="the boards there are")
    return parser


def _list(console: Console) -> int:
    table = Table("board", "device", "preset", "clock MHz", "UART baud")
    for spec in BOARDS.values():
        table.add_row(spec.name, spec.device.part, spec.preset, f"{spec.clock_mhz:g}",
                      f"{spec.baud:,}")
    console.print(table)
    return 0


def _build(options: argparse.Namespace, console: Console) -> int:
    from boards import flow
    spec = board(options.board)
    config = config_from(options.preset or spec.preset, options.config, options.activations)
    done = flow.build(spec, config, seed=options.seed, clock_mhz=options.clock,
                      timeout_s=60 * options.timeout)
    result = done.result
    table = Table("figure", "value", "limit", "share",
                  title=f"{spec.name} ({spec.device.part}), config {config.name} {config.digest}, "
                        f"seed {options.seed}")
    for name, clock in result["clocks"].items():
        target, achieved = clock["target_mhz"], clock["achieved_mhz"]
        table.add_row(f"clock {name}, MHz", f"{achieved:.2f}", f"{target:.2f}",
                      f"{achieved / target:.0%}")
    for name, use in result["resources"].items():
        table.add_row(name, f"{use['used']:,}", f"{use['available']:,}",
                      f"{use['used'] / use['available']:.1%}")
    console.print(table)
    taken = ", ".join(f"{step} {seconds:.0f} s" for step, seconds in result["seconds"].items())
    print(f"time: {taken}{' (cached)' if done.cached else ''}")
    if path := result["critical_path"]:
        print(f"slowest path: {path['from']} -> {path['to']}, {path['logic_ns']} ns logic, "
              f"{path['routing_ns']} ns routing")
    if done.failure:
        print(f"error: {done.failure}; report: {done.folder}", file=sys.stderr)
        return 1
    print(f"bitstream: {(BUILD / spec.name).with_suffix('.bit').relative_to(ROOT)} "
          f"({result['bytes']:,} bytes)")
    return 0


def main() -> int:
    """Run one command; errors are one line on stderr, and what the tool said below it."""
    options = _parser().parse_args()
    console = Console()
    try:
        return _list(console) if options.command == "list" else _build(options, console)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (BuildError, ToolError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted; logs are in build/boards/*.failed", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
