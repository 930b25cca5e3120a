"""Area and delay in cells, with a library in which both can be counted by hand."""
from pathlib import Path

import pytest

from accel.circuits.network import Builder
from accel.circuits.verilog import verilog, verilog_mux, verilog_table
from accel.report import cells
from accel.report.cells import CellFigures, Surroundings, measure, storage_area, surroundings
from boards.process import BuildError

FLIP_FLOP = """cell(DFF) { area: 10; ff(IQ, IQN) { clocked_on: "C"; next_state: "D"; }
  pin(C) { direction: input; clock: true; capacitance: 1; }
  pin(D) { direction: input; capacitance: 1; } pin(Q) { direction: output; function: "IQ"; } }"""


def gate(name: str, area: float, inputs: str, function: str, load: float = 1) -> str:
    """A cell with a delay of 1 from every input."""
    sense = "positive_unate" if function == inputs else "negative_unate"
    times = {"cell_rise": 1, "cell_fall": 1, "rise_transition": 0, "fall_transition": 0}
    tables = " ".join(f'{kind}(scalar) {{ values("{time}"); }}' for kind, time in times.items())
    pins = "".join(f"pin({pin}) {{ direction: input; capacitance: {load}; }}\n" for pin in inputs)
    arcs = "".join(f'timing() {{ related_pin: "{pin}"; timing_sense: {sense}; {tables} }}\n'
                   for pin in inputs)
    return (f"cell({name}) {{ area: {area};\n{pins}pin(Y) {{ direction: output; "
            f'max_capacitance: 100; function: "{function}";\n{arcs} }} }}\n')


def library(time: str = "1ns", load: str = '1, "ff"', *, buffers: str = gate("BUF", 2, "A", "A"),
            flip_flop: str = FLIP_FLOP) -> str:
    """Liberty text; the areas are transistors, halved."""
    return "\n".join([
        f'library(tiny) {{ time_unit: "{time}"; capacitive_load_unit({load});',
        gate("INV", 1, "A", "A'"), gate("NAND2", 2, "AB", "(A*B)'"),
        gate("NOR2", 2, "AB", "(A+B)'"), buffers, flip_flop, "}\n"])


@pytest.fixture
def liberty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The library, in a path with a blank; mappings run in a folder of the test's own."""
    monkeypatch.setattr(cells, "BUILD", tmp_path / "build")
    path = tmp_path / "a tiny.lib"
    path.write_text(library())
    return path


@pytest.mark.parametrize(("y", "area", "delay_ps"), [
    ("~(x[0] & x[1])", 2, 1000), ("x[0] & x[1]", 3, 2000), ("x[0]", 0, 0), ("1'b1", 0, 0),
    ("~x[2]", 1, 1000), ("(x[0] | x[1]) & ~(x[0] | x[1])", 0, 0),
    ("(x[0] | x[1]) & ~x[0]", 3, 2000)])
def test_area_and_delay_are_those_counted(liberty: Path, y: str, area: float,
                                          delay_ps: float) -> None:
    figures = measure(f"module one (input [2:0] x, output y); assign y = {y}; endmodule",
                      liberty, quiet=True)
    assert figures == CellFigures(area, delay_ps, area, delay_ps)
    assert [*(cells.BUILD / "circuits").iterdir()] == []


@pytest.mark.parametrize(("unit", "in_ps"), [("1ps", 1), ("10ps", 10), ("1ns", 1000)])
def test_delays_are_in_ps(liberty: Path, tmp_path: Path, unit: str, in_ps: int) -> None:
    other = tmp_path / f"{unit}.lib"
    other.write_text(library(unit))
    builder = Builder(2)
    text = verilog(builder.network([builder.lut(0b1000, (0, 1))]))
    assert measure(text, other, quiet=True).delay_ps == 2 * in_ps


def test_a_chain_is_small_or_fast(liberty: Path) -> None:
    builder = Builder(8)
    signal = 0
    for number in range(1, 8):
        signal = builder.lut(0b1000, (signal, number))
    figures = measure(verilog(builder.network([signal])), liberty, quiet=True)
    # 8 inputs: 4 NAND2, 2 NOR2, 1 NAND2 and an inverter, in 4 levels
    assert figures.fast_delay_ps == 4000
    assert figures.area_um2 == 15


@pytest.mark.slow
def test_a_table_costs_less_than_its_read_multiplexer(liberty: Path) -> None:
    words = [code * code % 16 for code in range(16)]
    table = measure(verilog_table(words, 4, 4), liberty, quiet=True)
    mux = measure(verilog_mux(4, 4), liberty, quiet=True)
    assert 0 < 2 * table.area_um2 < mux.area_um2
    assert table.fast_delay_ps <= table.delay_ps
    assert table.area_um2 <= table.fast_area_um2
    # 15 selections a bit, and none takes less than a NAND2 and a half
    assert mux.area_um2 > 4 * 15 * 3


def test_storage_is_flip_flops_with_enable(liberty: Path) -> None:
    # a bit: DFF, three NAND2; the inverter of the enable serves eight bits
    assert storage_area(8, liberty, quiet=True) == 8 * (10 + 3 * 2) + 1
    assert storage_area(2048, liberty, quiet=True) == 256 * (8 * (10 + 3 * 2) + 1)


@pytest.mark.parametrize(("load", "buffers", "expected"), [
    ("1, ff", gate("BUF", 2, "A", "A", 1.5), Surroundings("BUF", 3)),
    ('0.1, "pf"', gate("BUF", 2, "A", "(A)", 1.5), Surroundings("BUF", 300)),
    ("1,ff", gate("BUFX4", 3, "A", "A") + gate("BUFX2", 2, "A", "A", 2) +
     gate("BUFX1", 1, "A", "A"), Surroundings("BUFX2", 4)),
    ("1,ff", gate("BUF_12", 3, "A", "A", 3) + gate("BUF_16", 4, "A", "A"),
     Surroundings("BUF_12", 6)),
    ("1,ff", gate("TBUF2", 1, "A", "A").replace("function", 'three_state: "E"; function') +
     gate("OLD2", 1, "A", "A").replace("area", "dont_use: true; area") +
     gate("BUF", 2, "A", "A"), Surroundings("BUF", 2))])
def test_surroundings(tmp_path: Path, load: str, buffers: str, expected: Surroundings) -> None:
    path = tmp_path / "cells.lib"
    path.write_text(library(load=load, buffers=buffers))
    assert surroundings(path) == expected


@pytest.mark.parametrize(("text", "message"), [
    ("no library", "capacitive_load_unit"), (library(buffers=""), "no buffer")])
def test_a_library_that_abc_cannot_use(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "cells.lib"
    path.write_text(text)
    with pytest.raises(BuildError, match=message):
        measure("module one (input x, output y); assign y = ~x; endmodule", path, quiet=True)


def test_what_cannot_be_mapped_keeps_its_log(liberty: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.lib"
    bare.write_text(library(flip_flop=""))
    with pytest.raises(BuildError, match="D flip-flops are not supported"):
        storage_area(8, bare, quiet=True)
    with pytest.raises(BuildError, match="syntax error"):
        measure("modul one;", liberty, quiet=True)
    register = "module r (input c, d, output reg q); always @(posedge c) q <= d; endmodule"
    with pytest.raises(BuildError, match="no delay"):
        measure(register, liberty, quiet=True)
    assert len([*(cells.BUILD / "circuits").glob("cells-*/yosys.log")]) == 3
