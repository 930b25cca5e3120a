"""Registers of which the designer knows more than synthesis."""
from amaranth.hdl import Const, Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.ecp5.register import trellis_ffs
from rtl.ecp5.target import is_target


class LocalRegister(wiring.Component):
    """``o`` is ``i`` one cycle ago; synthesis must not share it with an equal register.

    In a systolic array the control of element (r, c) equals that of (r + 1, c - 1). yosys would
    make one register of a whole diagonal, whose wires then span the array: the largest loss of
    clock that was measured. On ECP5 the flip-flops are instances, which yosys does not compare.

    If it is ``enabled``, there is a port ``enable``, without which ``o`` stays.
    """

    def __init__(self, bits: int, *, enabled: bool = False) -> None:
        super().__init__({"i": In(bits), "o": Out(bits), **({"enable": In(1)} if enabled else {})})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        enable = getattr(self, "enable", None)
        if is_target(platform):
            trellis_ffs(m, self.i, self.o, enable=enable)
        else:
            with m.If(Const(1) if enable is None else enable):
                m.d.sync += self.o.eq(self.i)
        return m


def local_delay(m: Module, value: Value, cycles: int, name: str) -> Value:
    """The bits of ``value`` as they were ``cycles`` clock cycles ago, each a `LocalRegister`."""
    for age in range(1, cycles + 1):
        m.submodules[f"{name}_{age}"] = held = LocalRegister(len(value))
        m.d.comb += held.i.eq(value)
        value = held.o
    return value


class MaskedRegister(wiring.Component):
    """``o`` is ``i`` one cycle ago where ``on`` was set, else 0; the mask costs no LUT.

    A flip-flop of ECP5 can invert its reset, which yosys does not use: it spends a LUT on the
    inverse.
    """

    def __init__(self, bits: int) -> None:
        super().__init__({"i": In(bits), "on": In(1), "o": Out(bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if is_target(platform):
            trellis_ffs(m, self.i, self.o, self.on)
        else:
            m.d.sync += self.o.eq(self.i & self.on.replicate(len(self.i)))
        return m
