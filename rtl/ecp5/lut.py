"""LUT4: a look-up table that synthesis takes as it is."""
from collections.abc import Sequence

from amaranth.hdl import Const, Instance, Module, Signal, Value


def lut4(m: Module, truth: int, fanins: Sequence[Value], o: Signal, name: str) -> None:
    """``o`` is bit ``i`` of ``truth`` where the fanins spell ``i``, first fanin lowest."""
    init = truth
    for count in range(len(fanins), 4):     # an input that is not used does not matter
        init |= init << (1 << count)
    inputs = dict(zip(("i_A", "i_B", "i_C", "i_D"), [*fanins, *[Const(0)] * 4], strict=False))
    m.submodules[name] = Instance("LUT4", p_INIT=Const(init, 16), **inputs, o_Z=o)
