"""TRELLIS_FF: a flip-flop that synthesis takes as it is."""
from amaranth.hdl import ClockSignal, Const, Instance, Module, Value


def trellis_ffs(m: Module, i: Value, o: Value) -> None:
    """``o`` is ``i`` one cycle ago, bit by bit in flip-flops of its own."""
    for bit in range(len(i)):
        m.submodules[f"bit_{bit}"] = Instance(
            "TRELLIS_FF", p_GSR="AUTO", p_CEMUX="1", p_CLKMUX="CLK", p_LSRMUX="LSR",
            p_REGSET="RESET", p_SRMODE="LSR_OVER_CE", i_CLK=ClockSignal(), i_LSR=Const(0),
            i_DI=i[bit], o_Q=o[bit])
