"""Passes over yosys' JSON netlist, before nextpnr reads it."""
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from accel.files import write_atomic

#: Names what the passes do, for the digest of a build.
DIGEST = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
Cell = Mapping[str, Any]


class Relaxed(NamedTuple):
    """Ports that `relax_carry_chains` disconnected."""

    carry_outs: int
    carry_ins: int


def relax_file(path: Path) -> Relaxed:
    """`relax_carry_chains` on a netlist's file."""
    netlist = json.loads(path.read_text())
    done = relax_carry_chains(netlist)
    write_atomic(path, json.dumps(netlist, separators=(",", ":")))
    return done


def relax_carry_chains(netlist: dict[str, Any]) -> Relaxed:
    """Disconnect carries that do not matter, in place: nextpnr spends LUTs on them.

    At the start of a chain whose carry in is a constant, nextpnr puts a pair of LUTs that makes
    the carry, and another one behind a carry out that leads nowhere; yosys leaves both. A carry
    in does not matter where the LUT of the first half slice is 0 and nothing reads its sum, as in
    the chains of `rtl.ecp5.carry`.
    """
    carry_outs = carry_ins = 0
    for module in netlist["modules"].values():
        read = _read_bits(module)
        for cell in module["cells"].values():
            if cell["type"] != "CCU2C":
                continue
            ports = cell["connections"]
            if ports.get("COUT", ["x"]) != ["x"] and not read.intersection(ports["COUT"]):
                ports["COUT"] = ["x"]
                carry_outs += 1
            if (ports.get("CIN") in (["0"], ["1"]) and not read.intersection(ports.get("S0", []))
                    and _is_zero(cell)):
                ports["CIN"] = ["x"]
                carry_ins += 1
    return Relaxed(carry_outs, carry_ins)


def label_registers(text: str) -> str:
    """RTLIL ``text`` with each flip-flop's own path and signal as its ``src`` attribute.

    yosys names the flip-flops of a netlist after some net on their output, often one of another
    module, but keeps this attribute.
    """
    lines: list[str] = []
    module, cell = "", 0
    for line in text.splitlines():
        if match := re.match(r"module \\(\S+)", line):
            module = match[1]
        elif re.match(r"\s*cell ", line):
            cell = len(lines)
        elif match := re.match(r"(\s*)connect \\Q \\(\S+)", line):
            lines.insert(cell, f'{match[1]}attribute \\src "{module}.{match[2]}"')
        lines.append(line)
    return "\n".join(lines) + "\n"


def register_names(netlist: Mapping[str, Any]) -> dict[str, str]:
    """Labels of `label_registers` by the flip-flops' names in the netlist."""
    return {name: cell["attributes"]["src"].partition("|")[0]
            for module in netlist["modules"].values() for name, cell in module["cells"].items()
            if "Q" in cell["connections"] and "src" in cell["attributes"]}


def _read_bits(module: Mapping[str, Any]) -> set[int]:
    """Bits of nets that a cell or a port of the module reads."""
    bits = {bit for port in module["ports"].values() if port["direction"] != "input"
            for bit in port["bits"]}
    for cell in module["cells"].values():
        directions = cell.get("port_directions", {})
        for port, connected in cell["connections"].items():
            if directions.get(port) != "output":
                bits.update(connected)
    return {bit for bit in bits if isinstance(bit, int)}


def _is_zero(cell: Cell) -> bool:
    """Whether the first LUT is 0 for all inputs that its constants leave possible."""
    init = int(cell["parameters"]["INIT0"], 2)
    pins = [cell["connections"].get(f"{name}0", ["x"])[0] for name in "ABCD"]
    return not any(init >> index & 1 for index in range(16)
                   if all(pin not in ("0", "1") or int(pin) == index >> position & 1
                          for position, pin in enumerate(pins)))
