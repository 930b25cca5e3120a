"""Proof by SAT, in yosys, that a circuit computes its truth table: as gates and on ECP5."""
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accel.circuits.network import Network
from accel.circuits.verilog import verilog, verilog_lut4, verilog_table
from accel.files import BUILD
from boards.process import BuildError, run_tool
from boards.tools import find_tool

# `proc` may leave a table as a memory, for which `sat` has no model.
_COMPARE = """read_verilog table.v
proc
memory_map
miter -equiv -flatten -make_outputs table_of_words circuit miter
hierarchy -top miter
tee -q -o {log} sat -prove trigger 0 -set-def-inputs -show-inputs miter
"""
_SCRIPT = f"""read_verilog gates.v
{_COMPARE.format(log="gates.log")}
design -reset
read_verilog lut4.v
synth_ecp5 -top circuit
tee -q -o stat.json stat -json
techmap -map +/ecp5/cells_sim.v
{_COMPARE.format(log="ecp5.log")}"""
_EQUAL, _DIFFERENT = "no model found: SUCCESS!", "model found: FAIL!"


@dataclass(frozen=True)
class Proof:
    """What was found; true only if all of it holds.

    Members
    -------
    gates
        The circuit's gates equal the table.
    ecp5
        Its LUT4 cells do after ``synth_ecp5``, and there are as many as the network has LUTs.
    lut4
        LUT4 cells after ``synth_ecp5``.
    """

    gates: bool
    ecp5: bool
    lut4: int

    def __bool__(self) -> bool:
        return self.gates and self.ecp5


def proven(network: Network, table: Sequence[int], *, timeout_s: float = 600,
           quiet: bool = False) -> Proof:
    """Compare ``network`` with ``table``, the output bits for each input code as unsigned.

    What is not proven leaves a folder ``prove-*`` in ``build/circuits``: ``gates.log`` and
    ``ecp5.log`` there name an input code that differs. `BuildError` if yosys has no answer.
    """
    parent = BUILD / "circuits"
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="prove-", dir=parent))
    sources = {"gates.v": verilog(network), "lut4.v": verilog_lut4(network),
               "table.v": verilog_table(table, network.inputs, len(network.outputs),
                                        "table_of_words"),
               "prove.ys": _SCRIPT}
    for name, text in sources.items():
        (folder / name).write_text(text)
    run_tool(find_tool("yosys"), ["-q", "-l", "yosys.log", "prove.ys"], folder,
             title="proof of a circuit", log=folder / "yosys.log", timeout_s=timeout_s,
             quiet=quiet)
    cells: dict[str, int] = json.loads((folder / "stat.json").read_text())["design"][
        "num_cells_by_type"]
    gates, ecp5 = (_verdict(folder / name) for name in ("gates.log", "ecp5.log"))
    only_luts = cells == ({"LUT4": network.lut4} if network.lut4 else {})
    proof = Proof(gates, ecp5 and only_luts, cells.get("LUT4", 0))
    if proof:
        shutil.rmtree(folder)
    return proof


def _verdict(log: Path) -> bool:
    text = log.read_text()
    if _EQUAL not in text and _DIFFERENT not in text:
        raise BuildError(f"proof of a circuit: yosys gave no answer; log: {log}")
    return _EQUAL in text
