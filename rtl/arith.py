"""Narrowing and delays, in one place: nothing else in the gateware drops bits."""
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value


def saturate(value: Value, bits: int) -> Value:
    """Nearest signed number of ``bits`` bits: `numerics.saturate`, combinational."""
    if len(value) <= bits:
        return value
    high = value[bits - 1:]         # all equal exactly when the value fits
    limit = Mux(value[-1], -(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    return Mux(high.all() | ~high.any(), value[:bits].as_signed(), limit)[:bits].as_signed()


def fitted(value: Value, bits: int) -> Value:
    """The low ``bits`` bits as a signed number; the caller names the bound that makes it exact."""
    return value[:bits].as_signed() if len(value) > bits else value


def unsigned_as_signed(value: Value) -> Value:
    """An unsigned number as a signed one, a bit wider."""
    return Cat(value, Const(0, 1)).as_signed()


def extended(value: Value, bits: int) -> Value:
    """The low ``bits`` bits of a number in two's complement, its sign repeated as needed."""
    return Cat(value[:bits], value[-1].replicate(max(0, bits - len(value))))


def register(m: Module, value: Value, name: str) -> Signal:
    """``value`` one clock cycle ago, with its shape."""
    held = Signal(value.shape(), name=name)
    m.d.sync += held.eq(value)
    return held


def delay(m: Module, value: Value, cycles: int, name: str) -> Value:
    """``value`` as it was ``cycles`` clock cycles ago; ``cycles`` may be 0."""
    for age in range(1, cycles + 1):
        value = register(m, value, f"{name}_{age}")
    return value
