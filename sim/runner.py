"""Builds emitted Verilog and runs a cocotb bench on it; builds are cached by digest.

A bench is a module of `sim.hdl`. What it should do comes as a job file (pickled plain data,
written and read by this project alone) and what it found goes back as JSON.
"""
import hashlib
import json
import os
import pickle
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from amaranth.lib import wiring
from cocotb_tools.runner import Icarus, Runner, Verilator

from rtl.emit import verilog_text
from sim import vendor, verilator
from sim.lock import locked

BUILD = Path("build/sim").absolute()
TOP = "dut"
TIMESCALE = ("1ns", "1ps")
FAILURES = (RuntimeError, SystemExit)   # what cocotb's runner raises when a tool fails


#: Benches that run so long that the C++ compiler should take its time.
LONG_BENCHES = ("network", "exhaustive")
#: For the others: variables of Verilator's makefile that switch its optimization off.
UNOPTIMIZED = ("OPT_FAST=-O0", "OPT_SLOW=-O0", "OPT_GLOBAL=-O0")


class PortsOnlyVerilator(Verilator):
    """cocotb's Verilator runner, but only the ports are visible: the model runs 5 times faster."""

    def __init__(self, make_options: tuple[str, ...]) -> None:
        super().__init__()
        self.make_options = make_options

    def _build_command(self) -> list[Any]:
        compile_model, make = super()._build_command()
        at = compile_model.index("--public-flat-rw")
        return [[*compile_model[:at], "--public-depth", "1", *compile_model[at + 1:]],
                [*make, *self.make_options]]


@dataclass
class Outcome:
    """What a bench found."""

    compared: int = 0       # values
    mismatches: int = 0
    cycles: int = 0
    first: str = ""         # the first mismatch, in words
    seconds: float = 0.0
    waves: str = ""         # where the waveform of a failed run lies
    extra: dict[str, Any] = field(default_factory=dict)


def simulators() -> list[str]:
    """Names of the simulators that can be used here."""
    return ["verilator", *(["icarus"] if shutil.which("iverilog") else [])]


def run_bench(component: wiring.Component, bench: str, job: dict[str, Any], *,
              simulator: str = "verilator", platform: object = None) -> Outcome:
    """Run ``sim.hdl.<bench>`` on ``component``; a failing run is repeated with a waveform.

    With a ``platform``, on what the component becomes there, with models of the primitives.
    Raises `verilator.SimulatorError` when the bench itself does not come to an end.
    """
    text = verilog_text(component, TOP, platform) + vendor.models(platform)
    outcome = _run(text, bench, job, simulator, waves=False)
    if outcome.mismatches:
        again = _run(text, bench, job, simulator, waves=True)
        outcome.waves = again.waves
    return outcome


def _run(text: str, bench: str, job: dict[str, Any], simulator: str, *, waves: bool) -> Outcome:
    options = () if bench in LONG_BENCHES else UNOPTIMIZED
    runner = PortsOnlyVerilator(options) if simulator == "verilator" else Icarus()
    content = f"{text}{simulator}{verilator.version()}{waves}{options}"
    name = hashlib.sha256(content.encode()).hexdigest()
    folder = BUILD / f"{simulator}-{name[:16]}"
    with locked(folder):
        _build(runner, text, folder, simulator, waves=waves)
        return _run_built(runner, folder, bench, job, waves=waves)


def _run_built(runner: Runner, folder: Path, bench: str, job: dict[str, Any], *, waves: bool,
               ) -> Outcome:
    job_file, result, log = (folder / f"{bench}.{kind}" for kind in ("job", "json", "log"))
    job_file.write_bytes(pickle.dumps(job))
    result.unlink(missing_ok=True)
    with suppress(*FAILURES):       # a bench that came to its end has left a result
        runner.test(
            hdl_toplevel=TOP, hdl_toplevel_lang="verilog", test_module=f"sim.hdl.{bench}",
            build_dir=folder, test_dir=folder, results_xml=str(folder / f"{bench}.xml"),
            timescale=TIMESCALE, waves=waves, log_file=str(log),
            extra_env={"SYSTOLITH_JOB": str(job_file), "SYSTOLITH_RESULT": str(result)})
    if not result.exists():
        raise _failure(f"bench {bench} ended early", log)
    outcome = Outcome(**json.loads(result.read_text()))
    found = [path for pattern in ("*.vcd", "*.fst") for path in folder.glob(pattern)]
    outcome.waves = str(found[0]) if waves and found else ""
    return outcome


def _build(runner: Runner, text: str, folder: Path, simulator: str, *, waves: bool) -> None:
    done, log = folder / "done", folder / "build.log"
    if done.exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    source = folder / f"{TOP}.v"
    source.write_text(text)
    arguments = {
        "verilator": ["-O3", "--x-assign", "unique", "--x-initial", "unique", "--noassert",
                      "-Wno-fatal", "-Wno-lint", "-Wno-style"],
        "icarus": ["-g2012"]}[simulator]
    if simulator == "verilator":
        os.environ.update(verilator.environment())
    try:
        runner.build(sources=[source], hdl_toplevel=TOP, build_dir=folder, build_args=arguments,
                     timescale=TIMESCALE, waves=waves, log_file=str(log))
    except FAILURES:
        raise _failure(f"{simulator} could not build {source}", log) from None
    done.touch()


def _failure(what: str, log: Path) -> verilator.SimulatorError:
    tail = log.read_text()[-2000:] if log.exists() else ""
    return verilator.SimulatorError(f"{what}; log: {log}\n{tail}")
