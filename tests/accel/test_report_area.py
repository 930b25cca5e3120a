"""The area report: what it counts, on a stand-in design, and how it is kept."""
import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from accel.report import area as report
from accel.report import synthesis
from accel.report.synthesis import Unit, find_units, gate_equivalents, memory_bits
from accel.spec.config import ConfigError
from accel.spec.presets import PRESETS
from boards import tools
from boards.process import BuildError
from rtl.emit import rtlil_text


def liberty() -> str:
    """Enough of a cell library for abc: made-up areas, every delay 1."""
    delays = " ".join(f'{kind}(scalar) {{ values("1"); }}' for kind in (
        "cell_rise", "cell_fall", "rise_transition", "fall_transition"))

    def gate(name: str, area: int, inputs: str, function: str) -> str:
        pins = " ".join(f"pin({pin}) {{ direction: input; capacitance: 1; }}" for pin in inputs)
        timing = " ".join(f"timing() {{ related_pin: \"{pin}\"; timing_sense: negative_unate; "
                          f"{delays} }}" for pin in inputs)
        return (f"cell({name}) {{ area: {area}; {pins} pin(Y) {{ direction: output; "
                f'max_capacitance: 9; function: "{function}"; {timing} }} }}')
    return f"""library(demo) {{
      time_unit: "1ns"; capacitive_load_unit(1, pf);
      {gate("INV", 2, "A", "A'")} {gate("NAND2", 3, "AB", "(A*B)'")}
      {gate("NOR2", 3, "AB", "(A+B)'")} {gate("AOI21", 4, "ABC", "((A*B)+C)'")}
      {gate("BUF", 2, "A", "A")}
      {gate("OAI21", 4, "ABC", "((A+B)*C)'")} {gate("NAND3", 4, "ABC", "(A*B*C)'")}
      cell(DFF) {{ area: 10; ff(IQ, IQN) {{ clocked_on: "C"; next_state: "D"; }}
        pin(C) {{ direction: input; clock: true; }} pin(D) {{ direction: input; }}
        pin(Q) {{ direction: output; function: "IQ"; }} }} }}
    """


class Cell(wiring.Component):
    """A register before and behind ``a * b + c``."""

    a: In(8)
    b: In(8)
    o: Out(16)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        a = Signal(8)
        m.d.sync += [a.eq(self.a), self.o.eq(a * self.b + 1)]
        return m


class StandIn(wiring.Component):
    """A memory of 1,024 words of 18 bits, whose halves two cells multiply."""

    address: In(10)
    data: In(18)
    write: In(1)
    o: Out(16)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.store = store = memory.Memory(shape=18, depth=1024, init=[])
        write, read = store.write_port(), store.read_port()
        m.d.comb += [write.addr.eq(self.address), write.data.eq(self.data),
                     write.en.eq(self.write), read.addr.eq(self.address)]
        for index in range(2):
            m.submodules[f"pe_{index}"] = cell = Cell()
            m.d.comb += [cell.a.eq(read.data[:8]), cell.b.eq(read.data[8 + index:])]
            with m.If(self.address[0] == index):
                m.d.comb += self.o.eq(cell.o)
        return m


@pytest.fixture(scope="module")
def text() -> str:
    return rtlil_text(StandIn(), "top")


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (tools, report, synthesis):
        monkeypatch.setattr(module, "BUILD", tmp_path)
    return tmp_path


def test_units_and_memory(text: str) -> None:
    total, *units = find_units(text)
    assert units == [Unit("pe", "top.pe_1", 2)]
    assert (total.depth, units[0].depth) == (0, 1)
    assert (memory_bits(text, total), memory_bits(text, units[0])) == (18 * 1024, 0)


def test_parts_of_the_accelerator_count_as_the_tops_own() -> None:
    modules = ("top", "top.accelerator", "top.accelerator.gemm$7", "top.accelerator.gemm.pe_0",
               "top.memory", "top.memory.ram", "other.gemm")
    text = "".join(f"module \\{name}\nend\n" for name in modules)
    assert find_units(text) == [
        Unit("total", "top", 1), Unit("gemm", "top.accelerator.gemm$7", 1),
        Unit("gemm.pe", "top.accelerator.gemm.pe_0", 1), Unit("memory", "top.memory", 1),
        Unit("memory.ram", "top.memory.ram", 1)]


class Elements(wiring.Component):
    """A port with elements, which yosys 0.70 confuses with the bits of the port."""

    a: In(data.ArrayLayout(8, 2))
    o: Out(8)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.sync += self.o.eq(self.a[0] ^ self.a[1])
        return m


@pytest.mark.usefixtures("build")
def test_names_of_array_elements_do_not_stop_abc9() -> None:
    text = rtlil_text(Elements(), "top")
    assert r"\a[0]" in text
    found = synthesis.synthesise(text, Unit("total", "top", 1), synthesis.ECP5,
                                 tools.find_tool("yosys"), title="", timeout_s=60, quiet=True)
    assert found == {"LUT4": 8, "FF": 8, "DSP": 0, "BRAM": 0}


def test_gate_equivalents() -> None:
    assert gate_equivalents([("$_NAND_", 3), ("$_DFF_P_", 2), ("$mem_v2", 5)]) == 3 + 12
    with pytest.raises(ValueError, match=r"no size for 1 cells of type \$_DLATCH_P_"):
        gate_equivalents([("$_DLATCH_P_", 1)])


def test_figures_of_the_stand_in(build: Path, text: str) -> None:
    library = build / "demo.lib"
    library.write_text(liberty())
    make = partial(report.area, PRESETS["tiny"], library, timeout_s=60, quiet=True)
    calls = []
    found = make(elaborate=lambda for_ecp5: calls.append(for_ecp5) or text)
    assert sorted(calls) == [False, True]
    total, (cell,) = found["total"], found["units"]
    assert (total["ecp5"]["DSP"], total["ecp5"]["BRAM"]) == (2, 1)
    assert (cell["label"], cell["count"], cell["ecp5"]["DSP"]) == ("pe", 2, 1)
    assert (cell["ecp5"]["FF"], cell["cells"]["ff"]) == (24, 24)
    assert total["cells"]["memory_bits"] == 18 * 1024
    # an 8 x 8 multiplier alone is a few hundred gates; the memory as flip-flops would be 100,000
    assert 2 * cell["cells"]["ge"] < total["cells"]["ge"] * 1.2 < 4000
    assert cell["cells"]["um2"] > 24 * 10
    assert found["liberty"]["path"] == str(library)
    assert found["config_digest"] == PRESETS["tiny"].digest
    assert json.loads(json.dumps(found)) == found

    def never(for_ecp5: bool) -> str:
        raise AssertionError("elaborated in spite of the cache")
    assert make(elaborate=never) == found
    with pytest.raises(AssertionError):
        report.area(replace(PRESETS["tiny"], rows=3), None, elaborate=never, timeout_s=60)


def test_an_interrupted_report_is_continued(build: Path, text: str,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    done = []

    def fake(*arguments: object, **options: object) -> dict[str, float]:
        unit, flavour = arguments[1:3]
        if len(done) == 3:
            raise BuildError("stopped")
        done.append((flavour.name, unit.label))
        return {"LUT4": 1, "FF": 1, "DSP": 0, "BRAM": 0}
    monkeypatch.setattr(report, "synthesise", fake)
    make = partial(report.area, PRESETS["tiny"], None, timeout_s=60, elaborate=lambda _: text)
    with pytest.raises(BuildError):
        make()
    before = [*done]
    done[:] = []
    make()
    assert before + done == [("ecp5", "total"), ("ecp5", "pe"), ("gates", "total"), ("gates", "pe")]


def test_liberty_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--liberty must name a Liberty file, not"):
        report.find_liberty(tmp_path / "none.lib")


@pytest.mark.parametrize(("arguments", "code", "error"), [
    (["area", "--preset", "nope"], 2, "error: preset must be one of"),
    (["area", "--liberty", "/nowhere.lib"], 2, "error: --liberty must name"),
    (["area", "--config", "/nowhere.toml"], 2, "error: cannot read config")])
def test_command_line_errors(arguments: list[str], code: int, error: str) -> None:
    done = subprocess.run([sys.executable, "-m", "accel.report", *arguments], cwd=tools.ROOT,
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr[:len(error)]) == (code, error)
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_real_configuration() -> None:
    command = [sys.executable, "-m", "accel.report", "area", "--preset", "tiny", "--json"]
    done = subprocess.run(command, cwd=tools.ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    units = {row["label"]: row for row in found["units"]}
    assert units["gemm.array.pe"]["count"] == 16
    assert units["gemm.array.pe"]["ecp5"]["DSP"] == 1
    parts = [row for row in found["units"] if row["depth"] == 1]
    for resource in ("LUT4", "FF", "DSP", "BRAM"):
        total = found["total"]["ecp5"][resource]
        assert total == pytest.approx(sum(row["ecp5"][resource] for row in parts), rel=0.15)
