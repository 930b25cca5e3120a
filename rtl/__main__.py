"""``python -m rtl [PRESET] [--config FILE] [-o FILE]``: write the accelerator's Verilog."""
import argparse
import json
import sys
from pathlib import Path

from accel.spec.errors import InputError
from accel.spec.presets import ACTIVATIONS_HELP, PRESETS, config_from
from rtl.emit import verilog_text
from rtl.top import System


def main() -> int:
    """Emit Verilog and a JSON description of the interface beside it."""
    parser = argparse.ArgumentParser(prog="python -m rtl", description=main.__doc__)
    parser.add_argument("preset", nargs="?", default="ecp5", help=", ".join(PRESETS))
    parser.add_argument("--config", help="TOML file instead of a preset")
    parser.add_argument("--activations", metavar="LIST", help=ACTIVATIONS_HELP)
    parser.add_argument("-o", "--output", type=Path, help="default: build/NAME/accel.v")
    options = parser.parse_args()
    try:
        config = config_from(options.preset, options.config, options.activations)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    output = options.output or Path("build") / config.name / "accel.v"
    component = System(config)
    header = f"// Systolith {config.name}, config {config.digest}\n"
    interface = {"config": config.name, "digest": config.digest,
                 "interface": component.metadata.as_json()}
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(header + verilog_text(component, "accel"))
    output.with_suffix(".json").write_text(json.dumps(interface, indent=1) + "\n")
    print(f"{output}: {config.rows}x{config.cols} {config.cell}, config {config.digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
