"""``python -m accel``: compile, run and look into programs."""
import argparse
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from rich.table import Table

from accel import classes
from accel.compile import compile_graph
from accel.console import console
from accel.data import load_digits
from accel.device import Device, DeviceError, rtl_device
from accel.emulate import Emulator
from accel.files import check_writable, writing
from accel.graph import IntArray, Tensor
from accel.networks import LENETS, NETWORKS
from accel.pretrained import accuracy, prepare
from accel.program import Program
from accel.quantize import quantize_values
from accel.sources import add_model, load_array, load_graph
from accel.spec.config import AccelConfig
from accel.spec.errors import InputError
from accel.spec.isa import SUMMARY, WRAPPING, Isa
from accel.spec.numerics import limits
from accel.spec.presets import ACTIVATIONS_HELP, PRESETS, config_from

#: Inputs on which `check` runs a network whose data no package ships.
CHECKED = 20
#: What `run` runs on.
DEVICES = ("emulator", "rtl")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the status is 2 for bad input, 1 for a failed check."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    try:
        config = config_from(options.preset, options.config, options.activations)
        status: int = options.command(options, config)
    except (InputError, DeviceError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return status


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--preset", default="ecp5", help=f"one of {', '.join(PRESETS)}")
    shared.add_argument("--config", help="TOML file instead of a preset")
    shared.add_argument("--activations", metavar="LIST", help=ACTIVATIONS_HELP)
    parser = argparse.ArgumentParser(prog="python -m accel", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("compile", parents=[shared], help="network -> program")
    add_model(command)
    command.add_argument("-o", "--output", type=Path, required=True)
    command.set_defaults(command=_compile)

    command = commands.add_parser("run", parents=[shared], help="run a program")
    command.add_argument("program", type=Path)
    command.add_argument("--on", choices=DEVICES, default=DEVICES[0],
                         help="the emulator (default), or the RTL in Verilator")
    command.add_argument("--input", type=Path, required=True, help="images (n, c, h, w) as .npy, "
                         "float values or integer codes")
    command.add_argument("--output", type=Path, help="where to write the outputs, as .npy")
    command.set_defaults(command=_run)

    command = commands.add_parser("check", parents=[shared],
                                  help="emulator against golden on the 1,000 test digits, or on "
                                       f"{CHECKED} random inputs")
    command.add_argument("network", nargs="*", help=f"default: {' '.join(LENETS)}")
    command.set_defaults(command=_check)

    command = commands.add_parser("disassemble", parents=[shared], help="list a program")
    command.add_argument("program", type=Path)
    command.set_defaults(command=_disassemble)

    command = commands.add_parser("isa", parents=[shared], help="print the instruction set")
    command.set_defaults(command=_isa)
    return parser


def _compile(options: argparse.Namespace, config: AccelConfig) -> int:
    check_writable("--output", options.output)
    program = compile_graph(load_graph(options.model, options.calibration, config), config)
    with writing("--output", options.output):
        program.save(options.output)
    print(f"{options.output}: {len(program.instructions())} instructions for config "
          f"{config.name} ({config.digest})")
    return 0


def _run(options: argparse.Namespace, config: AccelConfig) -> int:
    if options.output:
        check_writable("--output", options.output)
    program, images = Program.load(options.program), load_array(options.input)
    program.check(config)
    codes = _codes(program, images, options.input, config)
    target = program.tensors[program.output]
    device = _device(options.on, config)
    device.load(program)
    outputs = classes.apply(program.host, target.scale * (device.run(codes) - target.zero_point))
    if options.output:
        with writing("--output", options.output):
            np.save(options.output, outputs)
    for row in outputs.reshape(len(outputs), -1)[:10]:
        print(" ".join(f"{value:9.4f}" for value in row))
    if device.counters:
        print(f"{device.counters['cycles']:,} cycles for the last image")
    return 0


def _codes(program: Program, images: npt.NDArray[np.generic], path: Path, config: AccelConfig,
           ) -> IntArray:
    """Codes ``(n, c, h, w)`` of what was read from ``path``."""
    source = program.tensors[program.input]
    if images.shape[1:] != source.shape or not len(images):
        raise InputError(f"{path}: shape must be (n, {', '.join(map(str, source.shape))})"
                         f" with n >= 1, not {images.shape}")
    low, high = limits(config.act_bits)
    if np.issubdtype(images.dtype, np.floating):
        if not np.isfinite(images).all():
            raise InputError(f"{path}: values must be finite, but "
                             f"{int((~np.isfinite(images)).sum())} are NaN or infinite")
        tensor = Tensor(program.input, source.shape, source.scale, source.zero_point)
        return quantize_values(tensor, images.astype(np.float64), config.act_bits)
    if images.min() < low or images.max() > high:
        raise InputError(f"{path}: codes must be in {low}..{high}, not "
                         f"{images.min()}..{images.max()}")
    return images.astype(np.int64)


def _device(name: str, config: AccelConfig) -> Device:
    return Emulator(config) if name == "emulator" else rtl_device(config)


def _check(options: argparse.Namespace, config: AccelConfig) -> int:
    names = options.network or list(LENETS)
    if unknown := [name for name in names if name not in NETWORKS]:
        raise InputError(f"network must be one of {', '.join(NETWORKS)}, not {unknown[0]!r}")
    table = Table("network", "config", "images", "float", "golden", "emulator", "values",
                  "mismatches", "seconds", title="emulator against golden")
    wrong = 0
    for name in names:
        ready = prepare(name, config, images=(
            len(load_digits()[1]) if NETWORKS[name].data else CHECKED))
        started = time.perf_counter()
        emulator = Emulator(config)
        emulator.load(ready.program)
        codes = emulator.run(ready.codes)
        seconds = time.perf_counter() - started
        mismatches = int((codes != ready.expected).sum())
        wrong += mismatches
        table.add_row(
            name, config.name, f"{len(codes):,}",
            *("-" if ready.labels is None else f"{accuracy(outputs, ready.labels):.1%}"
              for outputs in (ready.logits.numpy(), ready.expected, codes)),
            f"{codes.size:,}", str(mismatches), f"{seconds:.1f}")
    console().print(table)
    return 1 if wrong else 0


def _disassemble(options: argparse.Namespace, config: AccelConfig) -> int:
    print(Program.load(options.program).disassemble(config))
    return 0


def _isa(_: argparse.Namespace, config: AccelConfig) -> int:
    isa = Isa(config)
    print(f"{config.name}: instructions of {isa.word_bits} bits, fields from the low bit up")
    print("header: " + ", ".join(f"{field.name} {field.bits}" for field in isa.header))
    for opcode, fields in isa.formats.items():
        print(f"\n{opcode.name} ({int(opcode)}): {SUMMARY[opcode]}")
        for field in fields:
            sign = "signed" if field.signed else ""
            print(f"  {field.name:16} {field.bits:3} bits  {sign:6}  {field.doc}")
    print(f"\n{WRAPPING}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
