"""Passes over the netlist: which carries are disconnected, and how flip-flops get their names."""
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from boards import implement, tools
from boards.devices import ECP5
from boards.netlist import Relaxed, label_registers, register_names, relax_carry_chains
from rtl.carry import FusedAdder, add
from rtl.ecp5.carry import START
from rtl.ecp5.target import Ecp5Target
from rtl.emit import rtlil_text
from rtl.harness import Harness


def chain(init: int, cin: object, *, sum_to: object = "x", cout: object = 9, d: object = "1",
          ) -> dict[str, Any]:
    """A netlist with one slice; net 9 leads nowhere, net 8 out of the module."""
    connections = {"CIN": [cin], "COUT": [cout], "S0": [sum_to], "S1": [5],
                   **{pin: ["1"] for pin in ("B0", "C0", "A1", "B1", "C1", "D1")},
                   "A0": [3], "D0": [d]}
    directions = {pin: "output" if pin in ("COUT", "S0", "S1") else "input" for pin in connections}
    cell = {"type": "CCU2C", "parameters": {"INIT0": f"{init:016b}", "INIT1": "0"},
            "connections": connections, "port_directions": directions}
    ports = {"i": {"direction": "input", "bits": [3, 9]}, "o": {"direction": "output", "bits": [8]}}
    return {"modules": {"top": {"ports": ports, "cells": {"slice": cell}, "netnames": {}}}}


def relaxed(netlist: dict[str, Any]) -> tuple[Relaxed, list[object], list[object]]:
    done = relax_carry_chains(netlist)
    ports = netlist["modules"]["top"]["cells"]["slice"]["connections"]
    return done, ports["CIN"], ports["COUT"]


@pytest.mark.parametrize("init", START.values(), ids=START)
@pytest.mark.parametrize("cin", ["0", "1"])
def test_start_of_a_chain_is_relaxed(init: int, cin: str) -> None:
    netlist = chain(init, cin)
    before = deepcopy(netlist)
    assert relaxed(netlist) == (Relaxed(1, 1), ["x"], ["x"])
    before["modules"]["top"]["cells"]["slice"]["connections"].update(CIN=["x"], COUT=["x"])
    assert netlist == before
    assert relaxed(netlist) == (Relaxed(0, 0), ["x"], ["x"])


@pytest.mark.parametrize(("netlist", "cin", "cout"), [
    (chain(0x96AA, "0"), "0", "x"),                     # a plain adder starts with its carry
    (chain(0xA000, "0"), "0", "x"),                     # 0 for some inputs only
    (chain(0x000A, "0", d=4), "x", "x"),
    (chain(0x00AA, "0", d=4), "0", "x"),                # the upper half counts, unless D = 1
    (chain(0x0000, 4), 4, "x"),                         # not a constant
    (chain(0x0000, "0", sum_to=8), "0", "x"),           # the sum shows the carry
    (chain(0x0000, "0", sum_to=9), "x", "x"),
    (chain(0x0000, "0", cout=8), "x", 8),               # leaves the module
    (chain(0x0000, "0", cout=3), "x", 3)])              # goes into a cell
def test_what_matters_stays(netlist: dict[str, Any], cin: object, cout: object) -> None:
    assert relaxed(netlist)[1:] == ([cin], [cout])


TEXT = r"""module \top.dut.pe_0_1
  wire width 4 \x$3
  attribute \keep 1
  cell $dff $1
    connect \D \a
    connect \Q \x$3
  end
  cell \TRELLIS_FF \bit
    connect \Q \held [0]
  end
end
"""


def test_flip_flops_are_labelled() -> None:
    text = label_registers(TEXT)
    assert [line.strip() for line in text.splitlines() if "src" in line] == [
        r'attribute \src "top.dut.pe_0_1.x$3"', r'attribute \src "top.dut.pe_0_1.held"']
    assert "".join(line for line in text.splitlines(True) if "src" not in line) == TEXT


def test_names_are_the_labels() -> None:
    cells = {"a_FF": {"connections": {"Q": [1]}, "attributes": {"src": "top.a|/cells.v:1.2-3.4"}},
             "lut": {"connections": {"Z": [2]}, "attributes": {"src": "top.b"}},
             "b_FF": {"connections": {"Q": [3]}, "attributes": {}}}
    assert register_names({"modules": {"top": {"cells": cells}}}) == {"a_FF": "top.a"}


class Adders(wiring.Component):
    """Two chains between registers."""

    a: In(16)
    b: In(16)
    o: Out(16)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for half in range(2):
            m.submodules[f"adder_{half}"] = adder = FusedAdder(8, add)
            m.d.comb += [adder.a.eq(self.a[8 * half:]), adder.c.eq(self.b[8 * half:])]
            m.d.sync += self.o[8 * half:][:8].eq(adder.sum)
        return m


@pytest.mark.slow
def test_nextpnr_needs_four_luts_less_per_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                ) -> None:
    for module in (tools, implement):
        monkeypatch.setattr(module, "BUILD", tmp_path)
    harness = Harness(Adders())
    text = rtlil_text(harness, "top", Ecp5Target())
    used = {}
    for name in ("relaxed", "as it was"):
        with monkeypatch.context() as patch:
            if name != "relaxed":
                patch.setattr(implement.netlist, "DIGEST", "none")
                patch.setattr(implement.netlist, "relax_carry_chains", lambda _: Relaxed(0, 0))
            design = implement.synthesise(text, ECP5, timeout_s=300, quiet=True)
            found = json.loads((design.folder / "synthesis.json").read_text())["relaxed"]
            assert found == {"carry_outs": 2 * (name == "relaxed"),
                             "carry_ins": 2 * (name == "relaxed")}
            used[name] = implement.place_and_route(design, target_mhz=100, seed=1, timeout_s=300,
                                                   quiet=True)["resources"]
    assert used["as it was"] == {**used["relaxed"], "LUT4": used["relaxed"]["LUT4"] + 2 * 4}
