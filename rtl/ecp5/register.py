"""TRELLIS_FF: a flip-flop that synthesis takes as it is."""
from amaranth.hdl import ClockSignal, Const, Instance, Module, Value


def trellis_ffs(m: Module, i: Value, o: Value, on: Value | None = None,
                enable: Value | None = None) -> None:
    """``o`` is ``i`` one cycle ago, bit by bit in flip-flops of its own; 0 if ``on`` was 0.

    Where there is an ``enable``, ``o`` stays in its absence.
    """
    # the slice itself inverts the net of its reset
    reset, invert = (Const(0), "LSR") if on is None else (on, "INV")
    enabling = {"p_CEMUX": "1"} if enable is None else {"p_CEMUX": "CE", "i_CE": enable}
    for bit in range(len(i)):
        m.submodules[f"bit_{bit}"] = Instance(
            "TRELLIS_FF", p_GSR="AUTO", p_CLKMUX="CLK", p_LSRMUX=invert, p_REGSET="RESET",
            p_SRMODE="LSR_OVER_CE", i_CLK=ClockSignal(), i_LSR=reset, i_DI=i[bit], o_Q=o[bit],
            **enabling)
