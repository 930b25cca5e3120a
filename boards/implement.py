"""RTLIL of a design -> its size, clock and slowest path on a device, without pins; cached.

A netlist is a folder ``build/implement/DEVICE-DIGEST``, named by the RTLIL text, yosys' command
and version; in it lies one file for each placed and routed seed, named by nextpnr's options and
version. Both are made under other names and renamed when complete.
"""
import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accel.files import BUILD, write_atomic
from boards import budget, netlist
from boards.devices import Device
from boards.process import BuildError, run_tool
from boards.tools import Tool, find_tool

#: What yosys and nextpnr append to names.
_GENERATED = re.compile(r"_(TRELLIS_|LUT4_|CCU2C_|PFUMX_|L6MUX21_|MULT18|DP16KD|SB_).*")
_PACKED = re.compile(r"_(DFF)?LC$")
_SOURCE, _NETLIST, _SUMMARY = "design.il", "design.json", "synthesis.json"


@dataclass(frozen=True)
class Netlist:
    """A synthesised design, ready for nextpnr.

    Members
    -------
    digest
        16 hex digits over all that decides the netlist.
    cells
        Count of cells by type.
    """

    device: Device
    folder: Path
    digest: str
    cells: Mapping[str, int]
    tool: Tool

    @property
    def overfull(self) -> list[str]:
        """Resources that the device does not have, as ``DSP 312 of 156``."""
        return self.device.overfull(self.cells)


def synthesise(text: str, device: Device, *, timeout_s: float, quiet: bool = False) -> Netlist:
    """Netlist of the RTLIL ``text``, whose top module is ``top``; `BuildError` if yosys fails."""
    tool = find_tool("yosys")
    key = [text, device.name, device.synthesis, tool.version, netlist.DIGEST]
    digest = _digest(key)
    folder = BUILD / "implement" / f"{device.name}-{digest}"
    if (summary := _load(folder / _SUMMARY)) is None:
        work = folder.with_name(f"{folder.name}.{os.getpid()}-{threading.get_ident()}.partial")
        summary = _synthesise(text, device, tool, work, timeout_s, quiet)
        if _load(folder / _SUMMARY) is None:
            shutil.rmtree(folder, ignore_errors=True)
            work.rename(folder)
        else:   # somebody else has made it, and may be routing it
            shutil.rmtree(work)
    return Netlist(device, folder, digest, summary["cells"], tool)


def place_and_route(design: Netlist, *, target_mhz: float, seed: int, timeout_s: float,
                    quiet: bool = False) -> dict[str, Any]:
    """Figures of one run of nextpnr; `BuildError` if it fails or the design does not fit.

    ``fmax_mhz``, ``resources`` (units in use by name), ``critical_path`` (`budget.critical_path`),
    ``seed``, ``target_mhz``, ``digest``, ``seconds``, ``tools``.
    """
    device = design.device
    if design.overfull:
        raise BuildError(f"does not fit {device.part}: {'; '.join(design.overfull)}")
    tool = find_tool(device.nextpnr)
    options = [*device.options, *device.effort, "--timing-allow-fail", "--freq", f"{target_mhz:g}",
               "--seed", str(seed)]
    digest = _digest([design.digest, options, tool.version])
    path = design.folder / f"seed-{seed}-{digest}.json"
    if (known := _load(path)) is not None:
        return known
    # A name of its own for each run: others may route the same netlist at the same time.
    stem = f"seed-{seed}-{digest}.{os.getpid()}-{threading.get_ident()}"
    report = design.folder / f"{stem}.report.json"
    log = design.folder / f"{stem}.log"
    # yowasp's tools see only the folder they run in.
    seconds = run_tool(tool, ["-q", "--json", _NETLIST, *options, "--report", report.name,
                              "--log", log.name], design.folder, log=log, timeout_s=timeout_s,
                       title=f"place and route, seed {seed}", quiet=quiet)
    try:
        figures = _figures(json.loads(report.read_text()), design)
    except (OSError, LookupError, ValueError) as error:
        raise BuildError(f"{tool.name}'s results in {report} cannot be used: {error!r}") from None
    result = {**figures, "seed": seed, "target_mhz": target_mhz, "digest": digest,
              "seconds": round(seconds, 1),
              "tools": {each.name: each.record() for each in (design.tool, tool)}}
    write_atomic(path, json.dumps(result, indent=1) + "\n")
    for left in (report, log, log.with_name(log.name + ".out")):
        left.unlink(missing_ok=True)    # after a failure they stay
    return result


def _synthesise(text: str, device: Device, tool: Tool, work: Path, timeout_s: float,
                quiet: bool) -> dict[str, Any]:
    work.mkdir(parents=True)
    failed = work.with_name(work.name.split(".")[0] + ".failed")
    try:
        (work / _SOURCE).write_text(netlist.label_registers(text))
        (work / "synthesis.ys").write_text(
            f"read_rtlil {_SOURCE}\n{device.synthesis} -top top -json {_NETLIST}\n"
            f"tee -q -o stat.json stat -json\n")
        seconds = run_tool(tool, ["-q", "-l", "yosys.log", "synthesis.ys"], work, quiet=quiet,
                           title="synthesis", log=work / "yosys.log", timeout_s=timeout_s)
        stat = json.loads((work / "stat.json").read_text())
        relaxed = netlist.relax_file(work / _NETLIST)
        summary = {"cells": stat["design"]["num_cells_by_type"], "relaxed": relaxed._asdict(),
                   "seconds": round(seconds, 1)}
        write_atomic(work / _SUMMARY, json.dumps(summary, indent=1) + "\n")
        (work / "yosys.log.out").unlink()   # the log has it all
        return summary
    except BaseException as error:
        shutil.rmtree(failed, ignore_errors=True)
        work.rename(failed)
        if isinstance(error, BuildError):   # its log has just moved
            raise BuildError(str(error).replace(str(work), str(failed))) from None
        if isinstance(error, OSError | LookupError | ValueError):
            raise BuildError(f"yosys' results in {failed} cannot be used: {error!r}") from None
        raise


def _figures(report: Mapping[str, Any], design: Netlist) -> dict[str, Any]:
    device, clocks = design.device, report["fmax"]
    slowest = min(clocks, key=lambda label: float(clocks[label]["achieved"]))
    placed = budget.resources(report, device)
    path = budget.critical_path(report, slowest.removeprefix(budget.GLOBAL))
    if path:
        names = netlist.register_names(json.loads((design.folder / _NETLIST).read_text()))
        text = (design.folder / _SOURCE).read_text()
        path |= {end: readable(path[end], names, text) for end in ("from", "to")}
    return {"fmax_mhz": round(float(clocks[slowest]["achieved"]), 2), "critical_path": path,
            "resources": {**device.usage(design.cells),     # what nextpnr does not count
                          **{name: use["used"] for name, use in placed.items()}}}


def readable(pin: str, names: Mapping[str, str], text: str) -> str:
    """Where in the gateware a cell's pin is: path of the flip-flop's signal, or of the cell.

    ``names`` are the netlist's, by `netlist.register_names`; ``text`` is its RTLIL.
    """
    cell = pin.rpartition(".")[0]
    name = names.get(_PACKED.sub("", cell), "")
    if not name.startswith("top."):     # made by yosys
        name = _GENERATED.sub("", cell.partition("$")[0])
    elif "$" in name:   # Amaranth's number for one of several names; another may have none
        module, _, signal = name.rpartition(".")
        body = text.partition(f"\nmodule \\{module}\n")[2].partition("\nmodule ")[0]
        if other := re.search(rf"^connect \\(\w+) \\{re.escape(signal)} ", body, re.MULTILINE):
            name = f"{module}.{other[1]}"
    return re.sub(r"\$\w*|^top\.", "", name).removeprefix("dut.").rstrip(".")


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _load(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        return found
    except (OSError, ValueError):
        return None
