"""Synthesis of a design's units one by one with yosys, and what their netlists hold.

A unit is a module with everything below it, synthesised on its own: its ports stay, so constants
and don't-cares of its surroundings do not reach it. The whole design is synthesised too.
"""
import json
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accel.files import BUILD
from boards.devices import ECP5 as ECP5_DEVICE
from boards.process import run_tool
from boards.tools import Tool

#: A part of the top that only joins what is in it: `rtl.top.System`'s, beside the memory.
SHELL = "accelerator"
#: Static CMOS transistors of each cell that `GATES` leaves; four (a NAND2) are one gate equivalent.
#: Gates as in yosys' ``stat -tech cmos``; the flip-flop is the 24-transistor one of master, slave
#: and local clock inverters (Weste and Harris, "CMOS VLSI Design", 10.3), not yosys' 16.
TRANSISTORS = {
    "$_NOT_": 2, "$_NAND_": 4, "$_NOR_": 4, "$_AND_": 6, "$_OR_": 6, "$_ANDNOT_": 6, "$_ORNOT_": 6,
    "$_XOR_": 12, "$_XNOR_": 12, "$_MUX_": 12, "$_DFF_P_": 24}
NAND2_TRANSISTORS = 4

_ECP5 = "synth_ecp5 -top {top}"
# The stage "fine" of yosys' `synth` without `memory_map`: memories stay cells ($mem_v2). Enables
# and resets of flip-flops become gates.
_TO_GATES = """synth -flatten -top {top} -run begin:fine
opt -fast -full
opt -full
techmap
opt -fast
"""
# yosys' own script for abc, but `&fraig` with a limit: without it, the multipliers of a vector
# unit keep it busy for minutes, for the same gates. Nothing is sized for speed.
_ABC = ("-script +strash;&get,-n;&fraig,-x,-C,100;&put;scorr;dc2;dretime;strash;&get,-n;&dch,-f;"
        "&nf;&put")
_GATES = _TO_GATES + f"""dfflegalize -cell $_DFF_P_ 01
abc -g NAND,NOR,AND,OR,ANDNOT,ORNOT,XOR,XNOR,MUX {_ABC}
opt_clean -purge"""
_CELLS = _TO_GATES + f"""dfflibmap -liberty {{liberty}}
abc -liberty {{liberty}} {_ABC}
opt_clean -purge"""


@dataclass(frozen=True)
class Unit:
    """A row of the report.

    Members
    -------
    label
        Path below the top without numbers and `SHELL`, as ``gemm.array.pe``; ``total`` for the
        top.
    module
        Name of the last such module in the RTLIL: the first ones, at the edge of an array, lack
        what constants at their ports take away.
    count
        How many there are side by side.
    """

    label: str
    module: str
    count: int

    @property
    def depth(self) -> int:
        """1 for a direct part of the top; these add up to it. 0 for the top."""
        return 0 if self.label == "total" else self.label.count(".") + 1


@dataclass(frozen=True)
class Flavour:
    """What to synthesise to; ``liberty`` is the path of a cell library, for ``cells``."""

    name: str
    script: str
    liberty: str = ""

    def commands(self, source: str, unit: Unit, stat: str) -> str:
        """The yosys script for one unit, reading ``source`` and writing ``stat``."""
        body = self.script.format(top=unit.module, liberty=self.liberty)
        option = f" -liberty {self.liberty}" if self.liberty else ""
        return f"read_rtlil {source}\n{body}\ntee -q -o {stat} stat -json{option}\n"


ECP5 = Flavour("ecp5", _ECP5)
GATES = Flavour("gates", _GATES)


def library_flavour(liberty: Path) -> Flavour:
    """Mapping to the cells of a Liberty file."""
    return Flavour("cells", _CELLS, str(liberty))


def find_units(text: str, top: str = "top", cell: str = "pe") -> list[Unit]:
    """Units of an RTLIL design: its parts, their parts, an element ``cell``, each activation.

    Siblings that differ by number only (``lane_0``, ``lane_1``) are one unit. The parts of
    `SHELL` count as the top's own.
    """
    found: dict[str, list[str]] = {}
    for module in re.findall(r"^module \\(\S+)", text, re.MULTILINE):
        parts = [re.sub(r"\$\d+$", "", part) for part in module.split(".")]
        if parts[0] != top:
            continue
        names = [re.sub(r"(_\d+)+$", "", part) for part in parts[1:]]
        names = names[1:] if names[0:1] == [SHELL] else names
        if len(names) in (1, 2) or names[-1:] == [cell] or names[-2:-1] == ["activations"]:
            found.setdefault(".".join(names), []).append(module)
    return [Unit("total", top, 1),
            *(Unit(label, modules[-1], len(modules)) for label, modules in found.items())]


def rename_elements(text: str) -> str:
    """Rename wires ``data[0]``, elements of a port ``data``, to ``data<0>`` in RTLIL text.

    abc9 names bit 0 of the port alike, and yosys 0.70 then stops with "Assert
    `count_id(wire->name) == 0' failed". A slice in RTLIL has a blank before its bracket.
    """
    return re.sub(r"\\\S+\[\S*", lambda match: match[0].replace("[", "<").replace("]", ">"), text)


def memory_bits(text: str, unit: Unit) -> int:
    """Bits of all memories in a unit; those that share contents for more ports count once."""
    bits, inside = 0, False
    for line in text.splitlines():
        if line.startswith("module "):
            name = line.removeprefix("module \\")
            inside = name == unit.module or name.startswith(unit.module + ".")
        elif inside and (match := re.match(r"\s*memory width (\d+) size (\d+) ", line)):
            bits += int(match[1]) * int(match[2])
    return bits


def synthesise(text: str, unit: Unit, flavour: Flavour, tool: Tool, *, title: str,
               timeout_s: float, quiet: bool = False) -> dict[str, float]:
    """Figures of one unit of the RTLIL ``text``.

    ECP5: LUT4, FF, DSP, BRAM. Gates: ``ge`` (gate equivalents of 4 transistors, memories left
    out), ``ff`` and ``memory_bits``. Cells: ``um2`` without memories.
    """
    folder = BUILD / "report" / f"{flavour.name}-{unit.label}.{os.getpid()}"
    folder.mkdir(parents=True)
    (folder / "design.il").write_text(rename_elements(text))
    (folder / "unit.ys").write_text(flavour.commands("design.il", unit, "stat.json"))
    run_tool(tool, ["-q", "-l", "yosys.log", "unit.ys"], folder, title=title,
             log=folder / "yosys.log", timeout_s=timeout_s, quiet=quiet)
    stat = json.loads((folder / "stat.json").read_text())
    shutil.rmtree(folder)   # after a failure it stays, for its log
    design: dict[str, Any] = stat["design"]
    if flavour.name == "cells":
        return {"um2": round(float(design["area"]), 3)}
    cells: dict[str, int] = design["num_cells_by_type"]
    if flavour.name == "ecp5":
        return {**ECP5_DEVICE.usage(cells)}
    return {"ge": gate_equivalents(cells.items()), "ff": cells.get("$_DFF_P_", 0),
            "memory_bits": memory_bits(text, unit)}


def gate_equivalents(cells: Iterable[tuple[str, int]]) -> float:
    """Size of generic gates in NAND2s; a cell without a size, other than memory, is an error."""
    total = 0
    for cell, count in cells:
        if cell not in TRANSISTORS and cell not in ("$mem_v2", "$scopeinfo"):
            raise ValueError(f"no size for {count} cells of type {cell}")
        total += TRANSISTORS.get(cell, 0) * count
    return total / NAND2_TRANSISTORS
