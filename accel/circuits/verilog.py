"""Verilog of a circuit: gates for a reader, LUT4 cells for ECP5, and the tables to compare with.

All modules are combinational: ``x`` is the input code, ``y`` the output code, both as bits.
"""
from collections.abc import Sequence
from functools import cache
from itertools import combinations

from accel.circuits.network import WIDTH, Lut, Network

#: Truth tables over all inputs of a LUT: always 1, and the value of each input.
_ALWAYS, _INPUTS = 0xFFFF, (0xAAAA, 0xCCCC, 0xF0F0, 0xFF00)
#: Cost, outermost operator, and text in which ``{0}`` stands for input 0.
_Form = tuple[int, str, str]


def verilog(network: Network, name: str = "circuit") -> str:
    """A wire per LUT with an expression of few terms; no cells of any vendor."""
    lines = [f"  // LUTs of up to {WIDTH} inputs: {network.lut4}; levels: {network.levels}"]
    for signal, lut in enumerate(network.luts, network.inputs):
        fanins = [_name(network, fanin) for fanin in lut.fanins]
        lines.append(f"  wire n{signal} = {expression(lut, fanins)};")
    return _module(network, name, lines)


def verilog_lut4(network: Network, name: str = "circuit") -> str:
    """A ``LUT4`` of ECP5 per LUT, inputs that it does not use at 0; a constant is a wire."""
    lines = []
    for number, lut in enumerate(network.luts):
        wire = f"n{network.inputs + number}"
        fanins = [_name(network, fanin) for fanin in lut.fanins]
        fanins += ["1'b0"] * (WIDTH - len(fanins))
        ports = ", ".join(f".{port}({signal})"
                          for port, signal in zip("ABCDZ", [*fanins, wire], strict=True))
        lines += [f"  wire {wire};",
                  f"  LUT4 #(.INIT(16'h{_over_all(lut):04x})) lut_{number} ({ports});"
                  if lut.fanins else f"  assign {wire} = 1'b{lut.truth & 1};"]
    return _module(network, name, lines)


def verilog_table(words: Sequence[int], inputs: int, outputs: int, name: str = "circuit") -> str:
    """A ``case`` with a word of ``outputs`` bits for each code of ``inputs`` bits."""
    assert len(words) == 1 << inputs
    assert all(0 <= word < 1 << outputs for word in words)
    return "\n".join([
        f"module {name} (input [{inputs - 1}:0] x, output reg [{outputs - 1}:0] y);",
        "  always @*",
        "    case (x)",
        *(f"      {inputs}'d{code}: y = {outputs}'d{word};" for code, word in enumerate(words)),
        "    endcase",
        "endmodule", ""])


def verilog_mux(inputs: int, outputs: int, name: str = "circuit") -> str:
    """The read multiplexer of a table whose words come from outside, that of code 0 lowest."""
    return "\n".join([
        f"module {name} (input [{(outputs << inputs) - 1}:0] words, input [{inputs - 1}:0] x,",
        f"    output [{outputs - 1}:0] y);",
        f"  assign y = words[x*{outputs} +: {outputs}];",
        "endmodule", ""])


def expression(lut: Lut, names: Sequence[str]) -> str:
    """What a LUT computes, in few terms; ``names`` are those of its fanins."""
    return _simplest(_over_all(lut))[2].format(*names)


def _module(network: Network, name: str, lines: Sequence[str]) -> str:
    ports = f"input [{network.inputs - 1}:0] x, output [{len(network.outputs) - 1}:0] y"
    outputs = [f"  assign y[{bit}] = {_name(network, signal)};"
               for bit, signal in enumerate(network.outputs)]
    return "\n".join([f"module {name} ({ports});", *lines, *outputs, "endmodule", ""])


def _name(network: Network, signal: int) -> str:
    return f"x[{signal}]" if signal < network.inputs else f"n{signal}"


def _over_all(lut: Lut) -> int:
    """Truth table over all inputs that a LUT can have, those it lacks without effect."""
    used = (1 << len(lut.fanins)) - 1
    return sum((lut.truth >> (index & used) & 1) << index for index in range(1 << WIDTH))


@cache
def _simplest(truth: int) -> _Form:
    """The form of a function with the lowest cost of those tried.

    Split in two where it is an AND, OR or XOR of parts that have no input in common, else by the
    input that chooses between the two cheapest functions.
    """
    support = [i for i in range(WIDTH) if _fixed(truth, i, 0) != _fixed(truth, i, 1)]
    if not support:
        return 0, "", f"1'b{truth & 1}"
    if len(support) == 1:
        return (3, "~", f"~{{{support[0]}}}") if truth & 1 else (2, "", f"{{{support[0]}}}")
    found = [_joined(operator, _simplest(left), _simplest(right))
             for size in range(1, len(support) // 2 + 1)
             for chosen in combinations(support, size)
             for operator, left, right in _parts(truth, chosen)]
    if not found:
        found = [_chosen(i, *(_simplest(_fixed(truth, i, value)) for value in (1, 0)))
                 for i in support]
    return min(found)


def _parts(truth: int, chosen: tuple[int, ...]) -> list[tuple[str, int, int]]:
    """Operators with the function of ``chosen`` and that of the other inputs that they join."""
    left = _without(truth, [i for i in range(WIDTH) if i not in chosen])
    right = _without(truth, chosen)
    flip = _ALWAYS if truth & 1 else 0
    tried = [("&", left[0], right[0], left[0] & right[0]),
             ("|", left[1], right[1], left[1] | right[1]),
             ("^", left[2], right[2] ^ flip, left[2] ^ right[2] ^ flip)]
    return [(operator, f, g) for operator, f, g, made in tried if made == truth]


def _without(truth: int, inputs: Sequence[int]) -> tuple[int, int, int]:
    """Whether a function is 1 for some values of ``inputs``, for all, and where they are 0."""
    some = every = zero = truth
    for i in inputs:
        some = _fixed(some, i, 0) | _fixed(some, i, 1)
        every = _fixed(every, i, 0) & _fixed(every, i, 1)
        zero = _fixed(zero, i, 0)
    return some, every, zero


def _fixed(truth: int, i: int, value: int) -> int:
    """The function with input ``i`` at ``value``, over all inputs still."""
    kept = truth & (_INPUTS[i] if value else ~_INPUTS[i])
    return kept | (kept >> (1 << i) if value else kept << (1 << i))


def _joined(operator: str, left: _Form, right: _Form) -> _Form:
    texts = (_operand(part, operator) for part in (left, right))
    return left[0] + right[0], operator, f" {operator} ".join(texts)


def _chosen(i: int, if_one: _Form, if_zero: _Form) -> _Form:
    return (3 + if_one[0] + if_zero[0], "?",
            f"{{{i}}} ? {_operand(if_one)} : {_operand(if_zero)}")


def _operand(part: _Form, operator: str = "") -> str:
    """The text of a part, in parentheses unless it is one signal or of the same operator."""
    return part[2] if part[1] in ("", "~", operator) else f"({part[2]})"
