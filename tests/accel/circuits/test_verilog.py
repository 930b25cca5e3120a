"""Verilog of circuits: what a reader gets, and that yosys reads the same function."""
import random

import pytest

from accel.circuits.network import Builder, Lut, Network
from accel.circuits.verilog import (
    expression,
    verilog,
    verilog_lut4,
    verilog_mux,
    verilog_table,
)
from accel.report.prove import proven


def small() -> Network:
    """Bits ``a ^ b``, 1, and ``a & ~c``."""
    builder = Builder(3)
    return builder.network([builder.xor(0, 1), builder.lut(1, ()), builder.lut(0b0010, (0, 2))])


@pytest.mark.parametrize(("truth", "names", "text"), [
    (1, "", "1'b1"), (0, "ab", "1'b0"), (0b10, "a", "a"), (0b01, "a", "~a"), (0b1010, "ab", "a"),
    (0b1000, "ab", "a & b"), (0b0111, "ab", "~a | ~b"), (0b1001, "ab", "~a ^ b"),
    (0xCA, "abc", "c ? b : a"), (0x8000, "abcd", "a & b & c & d"),
    (0x7888, "abcd", "(a & b) ^ (c & d)"), (0x6996, "abcd", "a ^ b ^ c ^ d"),
    (0xE8, "abc", "a ? (b | c) : (b & c)")])
def test_expressions_are_short(truth: int, names: str, text: str) -> None:
    assert expression(Lut(tuple(range(len(names))), truth), names) == text


@pytest.mark.slow
def test_expressions_are_the_functions() -> None:
    truths = random.Random(1).sample(range(1 << 16), 150) + [
        truth | truth << 8 for truth in range(256)]
    network = Network(4, tuple(Lut((2, 0, 3, 1), truth) for truth in truths),
                      tuple(range(4, 4 + len(truths))))
    assert proven(network, network.table(), quiet=True).gates


def test_gates() -> None:
    assert verilog(small(), "mine") == """module mine (input [2:0] x, output [2:0] y);
  // LUTs of up to 4 inputs: 2; levels: 1
  wire n3 = x[0] ^ x[1];
  wire n4 = 1'b1;
  wire n5 = x[0] & ~x[2];
  assign y[0] = n3;
  assign y[1] = n4;
  assign y[2] = n5;
endmodule
"""


def test_lut4() -> None:
    assert verilog_lut4(small()) == """module circuit (input [2:0] x, output [2:0] y);
  wire n3;
  LUT4 #(.INIT(16'h6666)) lut_0 (.A(x[0]), .B(x[1]), .C(1'b0), .D(1'b0), .Z(n3));
  wire n4;
  assign n4 = 1'b1;
  wire n5;
  LUT4 #(.INIT(16'h2222)) lut_2 (.A(x[0]), .B(x[2]), .C(1'b0), .D(1'b0), .Z(n5));
  assign y[0] = n3;
  assign y[1] = n4;
  assign y[2] = n5;
endmodule
"""


def test_table() -> None:
    assert verilog_table([3, 0, 6, 5], 2, 3, "rom") == """\
module rom (input [1:0] x, output reg [2:0] y);
  always @*
    case (x)
      2'd0: y = 3'd3;
      2'd1: y = 3'd0;
      2'd2: y = 3'd6;
      2'd3: y = 3'd5;
    endcase
endmodule
"""


@pytest.mark.parametrize("words", [[0, 1, 2], [0, 1, 2, 8], [0, 1, 2, -1]])
def test_a_table_has_a_word_of_its_width_for_each_code(words: list[int]) -> None:
    with pytest.raises(AssertionError):
        verilog_table(words, 2, 3)


def test_mux() -> None:
    assert verilog_mux(2, 3) == """\
module circuit (input [11:0] words, input [1:0] x,
    output [2:0] y);
  assign y = words[x*3 +: 3];
endmodule
"""
