"""Stand-ins for yosys and nextpnr, for tests of what surrounds them."""
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from boards import implement, tools

_TOOL = """#!{python}
import json, pathlib, sys, time
name, folder = pathlib.Path(sys.argv[0]).name, pathlib.Path(sys.argv[0]).parent
if "--version" in sys.argv or "-V" in sys.argv:
    sys.exit(print(name, "1.0"))
settings = json.loads((folder / "settings.json").read_text())
with open(folder / "calls", "a") as calls:
    print(name, file=calls)
if name == "yosys":
    stat = {{"design": {{"num_cells_by_type": settings["cells"]}}}}
    pathlib.Path("design.json").write_text(json.dumps({{"modules": settings["modules"]}}))
    sys.exit(pathlib.Path("stat.json").write_text(json.dumps(stat)) and 0)
seed, report = (sys.argv[sys.argv.index(option) + 1] for option in ("--seed", "--report"))
if seed in settings["hang"]:
    time.sleep(600)
if seed in settings["fail"]:
    sys.exit(print("ERROR: no route to the east") or 1)
edge = "posedge $glbnet$clk"
path = [{{"type": "clk-to-q", "delay": 0.5, "from": {{"cell": "a_FF", "port": "Q"}}, "to": {{}}}},
        {{"type": "routing", "delay": 2, "from": {{}},
          "to": {{"cell": "dut.pe_0_1.sum$3_TRELLIS_FF_Q_4", "port": "DI"}}}}]
pathlib.Path(report).write_text(json.dumps({{
    "fmax": {{"$glbnet$clk": {{"constraint": 300, "achieved": settings["mhz"][int(seed) - 1]}}}},
    "critical_paths": [{{"from": edge, "to": edge, "path": path}}],
    "utilization": {{name: {{"used": used, "available": 9999}}
                    for name, used in settings["used"].items()}}}}))
"""
#: A netlist with one flip-flop that has a name.
MODULES = {"top": {"ports": {}, "cells": {"a_FF": {
    "type": "TRELLIS_FF", "connections": {"Q": [2]}, "port_directions": {"Q": "output"},
    "attributes": {"src": "top.dut.pe_0_0.x$1"}}}}}


class FakeTools:
    """yosys and both nextpnr in ``folder``, and nothing built; `change` says what they find."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        for module in (tools, implement):
            monkeypatch.setattr(module, "BUILD", folder / "build")
        for name in ("yosys", "nextpnr-ecp5", "nextpnr-ice40"):
            path = folder / name
            path.write_text(_TOOL.format(python=sys.executable))
            path.chmod(0o755)
            monkeypatch.setenv(tools.variable(name), str(path))
        self.change()

    def change(self, **settings: Any) -> None:
        """What the tools find: ``cells``, ``used``, ``mhz`` by seed; seeds that fail or hang."""
        (self.folder / "settings.json").write_text(json.dumps({
            "cells": {"LUT4": 900, "TRELLIS_FF": 800}, "modules": MODULES, "mhz": [250, 270, 260],
            "used": {"TRELLIS_COMB": 1000, "TRELLIS_FF": 800, "MULT18X18D": 4, "DP16KD": 0},
            "fail": [], "hang": [], **settings}))

    @property
    def calls(self) -> list[str]:
        """Tools that ran since the last look."""
        path = self.folder / "calls"
        found = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return found
