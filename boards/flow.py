"""Configuration -> bitstream: Amaranth's build plan, yosys, nextpnr, packer; cached.

A finished build is a folder ``build/boards/BOARD-CONFIG-DIGEST``, named by the plan's files, the
tools' versions and the seed. It is made under another name and renamed when complete, so that
what has the name can be trusted. Logs of a failed build stay in ``... .failed``.
"""
import hashlib
import json
import os
import re
import shlex
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

from accel.files import BUILD, write_atomic
from accel.spec.config import AccelConfig
from boards import budget, netlist
from boards.process import BuildError, run_tool
from boards.spec import BoardSpec
from boards.tools import Tool, find_tool, variable
from rtl.emit import free_collisions

NAME = "top"
_elaboration = Lock()   # Amaranth's messages about unused parts are per process
TITLES = {"yosys": "synthesis", "nextpnr-ecp5": "place and route", "ecppack": "packing"}
#: Logs that the tools write themselves, as Amaranth's scripts ask them to.
LOGS = {"yosys": f"{NAME}.rpt", "nextpnr-ecp5": f"{NAME}.tim", "ecppack": f"{NAME}.pack"}


@dataclass(frozen=True)
class Build:
    """A build that is complete; its clock may be too slow (`failure`).

    Members
    -------
    result
        Content of ``result.json``.
    failure
        Empty, or why the bitstream must not be used.
    """

    folder: Path
    result: dict[str, Any]
    cached: bool
    failure: str

    @property
    def bitstream(self) -> Path:
        """The bitstream in the build's folder."""
        return self.folder / f"{NAME}.bit"


def make_plan(spec: BoardSpec, config: AccelConfig, seed: int) -> dict[str, str]:
    """Files of the build by name; `ConfigError` if the clock or the baud rate cannot be made."""
    from boards.top import BoardTop
    with _elaboration:
        plan = spec.make_platform().build(
            BoardTop(spec, config), name=NAME, do_build=False,
            script_after_synth=f"tee -q -o {NAME}.stat.json stat -json",
            # A missed clock is our verdict to give, with its end points, not nextpnr's to end on.
            nextpnr_opts=["--seed", str(seed), "--report", f"{NAME}.report.json",
                          "--timing-allow-fail", *spec.device.effort],
            ecppack_opts=["--compress"])
    files = {name: text if isinstance(text, str) else text.decode()
             for name, text in plan.files.items()}
    files[f"{NAME}.il"] = free_collisions(files[f"{NAME}.il"])
    return files


def tool_calls(files: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """Tools that the plan's shell script calls, with their arguments.

    Amaranth alone knows the options of device, package and speed; we read them off, so that each
    step can be timed and its failure explained.
    """
    by_variable = {variable(name): name for name in TITLES}
    lines = files[f"build_{NAME}.sh"].replace("\\\n", " ").splitlines()
    calls = filter(None, (re.match(r'\s*"\$(\w+)" (.*)', line) for line in lines))
    found = [(by_variable.get(call[1], call[1]), shlex.split(call[2])) for call in calls]
    if [name for name, _ in found] != list(TITLES):
        raise BuildError(f"Amaranth's build script calls {[name for name, _ in found]}; this flow "
                         f"knows {list(TITLES)}")
    return found


def build_digest(files: Mapping[str, str], tools: Mapping[str, Tool], seed: int) -> str:
    """Name of a build: 16 hex digits over all that decides its outcome."""
    content = [sorted(files.items()), sorted((t.name, t.version) for t in tools.values()), seed,
               netlist.DIGEST]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def build(spec: BoardSpec, config: AccelConfig, *, seed: int = 1, clock_mhz: float | None = None,
          timeout_s: float = 3600, quiet: bool = False, publish: bool = True) -> Build:
    """Build the bitstream of ``config``, or find it built; ``publish`` it as ``build/BOARD.bit``.

    Raises `ConfigError` if the configuration cannot work on the board, `ToolError` if a tool is
    missing, `BuildError` if one fails or takes longer than ``timeout_s``.
    """
    spec = replace(spec, clock_mhz=clock_mhz) if clock_mhz is not None else spec
    budget.check_config(config, spec)
    tools = {name: find_tool(name) for name in TITLES}
    files = make_plan(spec, config, seed)
    digest = build_digest(files, tools, seed)
    folder = BUILD / "boards" / f"{spec.name}-{config.name}-{digest}"
    result = _finished(folder)
    cached = result is not None
    if result is None:
        work = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
        shutil.rmtree(work, ignore_errors=True)
        result = _make(spec, config, seed, files, tools, work, timeout_s, quiet)
        shutil.rmtree(folder, ignore_errors=True)
        work.rename(folder)
    done = Build(folder, result, cached, _failure(result))
    if publish and not done.failure:
        write_atomic(BUILD / f"{spec.name}.json", (folder / "result.json").read_bytes())
        write_atomic(BUILD / f"{spec.name}.bit", done.bitstream.read_bytes())
    return done


def _finished(folder: Path) -> dict[str, Any] | None:
    """Result of a build in ``folder`` whose bitstream is the one that the result describes."""
    try:
        result: dict[str, Any] = json.loads((folder / "result.json").read_text())
        bitstream = (folder / f"{NAME}.bit").read_bytes()
        return result if hashlib.sha256(bitstream).hexdigest() == result["sha256"] else None
    except (OSError, ValueError, KeyError):
        return None


def _make(spec: BoardSpec, config: AccelConfig, seed: int, files: Mapping[str, str],
          tools: Mapping[str, Tool], work: Path, timeout_s: float, quiet: bool) -> dict[str, Any]:
    work.mkdir(parents=True)
    failed = work.with_name(work.name.split(".")[0] + ".failed")
    try:
        for name, text in files.items():
            (work / name).write_text(text)
        seconds = {}
        for name, arguments in tool_calls(files):
            seconds[TITLES[name]] = round(run_tool(
                tools[name], arguments, work, title=TITLES[name], log=work / LOGS[name],
                timeout_s=timeout_s, quiet=quiet), 1)
            if name == "yosys":
                _check_netlist(work, spec)
                netlist.relax_file(work / f"{NAME}.json")
        result = _result(spec, config, seed, tools, seconds, work)
        (work / "result.json").write_text(json.dumps(result, indent=1) + "\n")
        return result
    except BaseException as error:
        shutil.rmtree(failed, ignore_errors=True)
        work.rename(failed)
        if isinstance(error, BuildError):  # its logs have just moved
            raise BuildError(str(error).replace(str(work), str(failed))) from None
        if isinstance(error, OSError | LookupError | ValueError):
            raise BuildError(f"the tools' results in {failed} cannot be used: {error}") from None
        raise


def _check_netlist(work: Path, spec: BoardSpec) -> None:
    stat = json.loads((work / f"{NAME}.stat.json").read_text())
    cells = stat["design"]["num_cells_by_type"]
    if faults := spec.device.overfull(cells):
        raise BuildError(f"the netlist does not fit {spec.name} ({spec.device.part}): "
                         f"{'; '.join(faults)}; log: {work / LOGS['yosys']}")
    if fault := budget.clock_fault(spec.device.usage(cells)["BRAM"], spec):
        raise BuildError(f"{spec.name}: {fault}")


def _result(spec: BoardSpec, config: AccelConfig, seed: int, tools: Mapping[str, Tool],
            seconds: Mapping[str, float], work: Path) -> dict[str, Any]:
    report = json.loads((work / f"{NAME}.report.json").read_text())
    clocks = budget.clocks(report, spec.clock_mhz)
    bitstream = (work / f"{NAME}.bit").read_bytes()
    return {
        "board": spec.name, "part": spec.device.part, "preset": config.name,
        "config_digest": config.digest, "seed": seed, "clocks": clocks,
        "resources": budget.resources(report, spec.device),
        "critical_path": budget.critical_path(report, str(clocks["sync"]["net"])),
        "seconds": dict(seconds), "tools": {name: tool.record() for name, tool in tools.items()},
        "baud": spec.baud, "bytes": len(bitstream),
        "sha256": hashlib.sha256(bitstream).hexdigest(),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def _failure(result: Mapping[str, Any]) -> str:
    if slow := budget.missed(result["clocks"]):
        path = result["critical_path"]
        ends = (f"; slowest path from {path['from']} to {path['to']}: {path['logic_ns']} ns logic, "
                f"{path['routing_ns']} ns routing") if path else ""
        return f"clock missed: {', '.join(slow)}{ends}"
    return ""
