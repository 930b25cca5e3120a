"""``python -m accel.report``: figures of hardware. Exit code 2: bad input; 1: failure."""
import argparse
import sys
from importlib import import_module

from accel.device import DeviceError
from accel.spec.errors import InputError
from boards.process import BuildError
from boards.tools import ToolError

#: Reports by name, with the help text; each module has ``add_arguments`` and ``run``.
REPORTS = {
    "area": "LUTs, registers, multipliers and memory on ECP5; gates of a standard-cell chip",
    "accuracy": "LeNet-5 on the digits with circuits for its activations, as it is and trained on",
    "activations": "activation circuits: LUTs, levels, area, delay, error and proof",
    "compare": "networks on their arrays side by side: size, clock, speed, energy, accuracy",
    "energy": "energy per inference by published figures: operations, and traffic of the program",
    "shiftadd": "accuracy of a network for digits and of its relatives that do not multiply",
    "layers": "cycles, utilisation and traffic of a network, layer by layer",
    "timing": "clock, size and throughput of arrays after place and route, mapped and inferred"}


def main() -> int:
    """Run one report; errors are one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m accel.report", description=__doc__)
    commands = parser.add_subparsers(dest="report", required=True)
    for name, text in REPORTS.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--json", action="store_true", help="figures as JSON on stdout")
        import_module(f"accel.report.{name}").add_arguments(command)
    options = parser.parse_args()
    try:
        return int(import_module(f"accel.report.{options.report}").run(options))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (BuildError, DeviceError, ToolError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted; what was finished is kept", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
