"""A ``yosys`` command line over the pyosys wheel, which has the library but no executable.

Understands what Amaranth's build scripts and ours use. Stands alone (imports nothing of ours), so
that it runs from any folder: ``python boards/yosys_cli.py -q -l LOG SCRIPT.ys``.
"""
import argparse
import ctypes
import os
import sys
import tempfile
from pathlib import Path

READERS = {".ys": "script", ".il": "read_rtlil", ".v": "read_verilog", ".sv": "read_verilog -sv",
           ".json": "read_json"}


def parse(argv: list[str]) -> argparse.Namespace:
    """Options of yosys that this front end takes; any other ends in the usage and exit code 2."""
    parser = argparse.ArgumentParser(prog="yosys", description="yosys from the pyosys wheel")
    parser.add_argument("-V", "--version", action="store_true", help="print the version")
    parser.add_argument("-q", dest="quiet", action="count", default=0, help="print errors only")
    parser.add_argument("-Q", "-T", "-t", dest="ignored", action="store_true",
                        help="banner, footer, time stamps: there are none")
    parser.add_argument("-l", dest="log", metavar="FILE", help="write the whole log to FILE")
    parser.add_argument("-s", dest="scripts", metavar="FILE", action="append", default=[])
    parser.add_argument("-p", dest="passes", metavar="COMMANDS", action="append", default=[])
    parser.add_argument("files", nargs="*", help=f"inputs: {' '.join(READERS)}")
    options = parser.parse_args(argv)
    if unknown := [name for name in options.files if Path(name).suffix not in READERS]:
        parser.error(f"do not know how to read {', '.join(unknown)}")
    return options


def commands(options: argparse.Namespace, scratch: Path) -> list[str]:
    """Yosys commands in the order in which yosys itself would run them."""
    found = [f"{READERS[Path(name).suffix]} {name}" for name in options.files]
    found += [f"script {name}" for name in options.scripts]
    for index, text in enumerate(options.passes):
        # `run_pass` takes a single command; a list of them has to be a script.
        script = scratch / f"commands_{index}.ys"
        script.write_text(text + "\n")
        found.append(f"script {script}")
    return found


def _run_child(options: argparse.Namespace, scratch: Path, log: Path) -> None:
    if options.quiet or options.version:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    from pyosys import libyosys
    if options.version:
        log.write_text(libyosys.yosys_maybe_version() + "\n")
        return
    design = libyosys.Design()
    for command in commands(options, scratch):
        libyosys.run_pass(f"tee {'-q ' if options.quiet else ''}-a {log} {command}", design)
    ctypes.CDLL(None).fflush(None)


def main(argv: list[str]) -> int:
    """Run yosys; the exit code is its own, and its errors end on stderr.

    libyosys ends the process on an error and crashes in static destructors now and then, so it
    runs in a child that leaves without them.
    """
    options = parse(argv)
    with tempfile.TemporaryDirectory(prefix="yosys-") as folder:
        log = Path(options.log or Path(folder, "log")).absolute()
        log.write_text("")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _run_child(options, Path(folder), log)
                code = 0
            except BaseException as error:  # the child must never return into the parent's code
                os.write(2, f"ERROR: {type(error).__name__}: {error}\n".encode())
            os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        text = log.read_text(errors="replace")
    if options.version and code == 0:
        print(text, end="")
    elif code:
        errors = [line for line in text.splitlines() if line.startswith("ERROR")]
        print("\n".join(errors or [f"ERROR: yosys ended with code {code}"]), file=sys.stderr)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
