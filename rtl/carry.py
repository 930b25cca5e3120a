"""An adder whose second operand is a function of three inputs, at no extra cost."""
from collections.abc import Callable
from typing import Any

from amaranth.hdl import Const, Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.arith import extended
from rtl.ecp5 import carry as ecp5_carry
from rtl.ecp5.target import is_target

#: Bitwise functions, of Amaranth values and of Python integers (of which bit 0 counts) alike.
First = Callable[[Any, Any], Any]
Second = Callable[[Any, Any, Any], Any]


def add(b: Any, c: Any, d: Any) -> Any:
    """``c``: a plain adder."""
    return c


def select(b: Any, c: Any, d: Any) -> Any:
    """``b`` where ``d`` is set, else ``c``."""
    return (b & d) | (c & ~d)


def subtract_masked(b: Any, c: Any, d: Any) -> Any:
    """``-c - 1`` where ``d`` is set, else 0."""
    return ~c & d


def add_masked(b: Any, c: Any, d: Any) -> Any:
    """``c`` where ``d`` is set, else 0."""
    return c & d


def equal(b: Any, c: Any, d: Any) -> Any:
    """Where ``b`` equals ``c``; ``d`` must be all ones."""
    return ~(b ^ c) & d


def a_alone(a: Any, b: Any) -> Any:
    """The first operand is ``a``."""
    return a


def a_masked(a: Any, b: Any) -> Any:
    """The first operand is ``a`` where ``b`` is set, else 0."""
    return a & b


def a_inverted(a: Any, b: Any) -> Any:
    """The first operand is ``~a`` where ``b`` is set, else ``a``."""
    return a ^ b


def is_less(m: Module, a: Value, b: Value, name: str) -> Value:
    """Whether the signed number ``a`` is less than ``b``; combinational, one carry chain."""
    bits = max(len(a), len(b)) + 1
    m.submodules[name] = difference = FusedAdder(bits, subtract_masked, carry="one")
    m.d.comb += [difference.a.eq(extended(a, bits)), difference.c.eq(extended(b, bits)),
                 difference.d.eq(Const(-1, bits))]
    return difference.sum[-1]


class FusedAdder(wiring.Component):
    """``sum = first(a, b) + second(b, c, d) + carry`` modulo ``2**bits``. Combinational.

    A bit of ECP5's carry chain has a whole LUT4 before its sum, so that masks, multiplexers and
    inversions of operands cost nothing in such an adder; yosys does not find them. Elsewhere it
    is the expression above.

    Parameters
    ----------
    bits
        Width of operands and sum.
    second, first
        Bitwise functions; ``second(b, 0, 0)`` must be 0, which the carry's logic relies on.
    carry
        ``none``; ``one``; ``port``: the port ``carry``; ``inverted``: its inverse.
    """

    def __init__(self, bits: int, second: Second, *, first: First = a_alone,
                 carry: str = "none") -> None:
        self.bits, self.first, self.second, self.carry_kind = bits, first, second, carry
        ports = {name: In(bits) for name in "abcd"}
        if carry in ("port", "inverted"):
            ports["carry"] = In(1)
        super().__init__({**ports, "sum": Out(bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        carry = {"none": 0, "one": 1}.get(self.carry_kind)
        if carry is None:
            carry = self.carry if self.carry_kind == "port" else ~self.carry
        if is_target(platform):
            ecp5_carry.add_chain(m, self)
        else:
            m.d.comb += self.sum.eq(self.first(self.a, self.b)
                                    + self.second(self.b, self.c, self.d) + carry)
        return m
