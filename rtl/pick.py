"""One of many values: wide multiplexers, in steps with registers between them."""
from collections.abc import Sequence

from amaranth.hdl import Module, Mux, Value

from rtl.arith import register

#: Bits of the index that one step looks at.
STEP_BITS = 2


def chosen(values: Sequence[Value], index: Value) -> Value:
    """``values[index]``, combinational, as a tree; beyond the last value it may be any."""
    if len(values) == 1:
        return values[0]
    half = 1 << ((len(values) - 1).bit_length() - 1)
    return Mux(index[half.bit_length() - 1], chosen(values[half:], index),
               chosen(values[:half], index))


def pick_latency(count: int) -> int:
    """Cycles of `pick` among ``count`` values; at least 1."""
    return max(1, -(-(count - 1).bit_length() // STEP_BITS))


def pick(m: Module, values: Sequence[Value], index: Value, name: str) -> Value:
    """``values[index]``, `pick_latency` cycles later, one every cycle."""
    step = 0
    while True:
        held = [register(m, chosen(values[base:base + (1 << STEP_BITS)], index[:STEP_BITS]),
                         f"{name}_{step}_{base}") for base in range(0, len(values), 1 << STEP_BITS)]
        if len(held) == 1:
            return held[0]
        index = register(m, index[STEP_BITS:], f"{name}_index_{step}")
        values, step = held, step + 1
