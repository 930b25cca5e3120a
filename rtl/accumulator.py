"""One array column's accumulators."""
from amaranth.hdl import Module, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import AccelConfig
from rtl.arith import delay, extended, register
from rtl.carry import FusedAdder, select
from rtl.ecp5.floorplan import accumulator_bels
from rtl.ram import READ_LATENCY, Ram
from rtl.register import LocalRegister, MaskedRegister, local_delay

#: Cycles after which the same accumulator may be addressed again, unless in the very next one.
REUSE_CYCLES = READ_LATENCY + 3


def control_layout(config: AccelConfig) -> data.StructLayout:
    """What to do with the sum that follows.

    Whether it counts, whether it starts afresh, whether it goes on from the sum right before it,
    where it goes, whether it is an instruction's last, and to whom that gives a token.
    """
    return data.StructLayout({"valid": 1, "first": 1, "again": 1,
                              "address": range(config.acc_depth),
                              "last": 1, "push_prev": 1, "push_next": 1})


class AccumulatorColumn(wiring.Component):
    """``acc[address] = sum + (0 if first else acc[address])``, one sum per cycle.

    ``control`` comes `sum_delay` cycles ahead of its ``sum`` and leaves as ``o`` for the next
    column one cycle later. The address can be used again `REUSE_CYCLES` after the control, or in
    the very next cycle with ``again``: the column then adds to its last total, not to what its
    memory holds. Overflow is excluded by
    `graph.Graph.verify`.

    Parameters
    ----------
    col
        The array's column, by which some devices' placement goes.

    Members
    -------
    read_address, read_data
        The vector unit's own read port, `read_latency` cycles; it shows the new value of an
        address that comes `landing` cycles after the control.
    """

    #: What is read gets a register of its own on the long way from block RAM to the adder.
    sum_delay = READ_LATENCY + 1
    read_latency = 1 + READ_LATENCY
    landing = REUSE_CYCLES - 1

    def __init__(self, config: AccelConfig, col: int = 0) -> None:
        self.config, self.col = config, col
        control = control_layout(config)
        super().__init__({
            "control": In(control), "o": Out(control), "sum": In(signed(config.array.sum_bits)),
            "read_address": In(range(config.acc_depth)),
            "read_data": Out(signed(config.acc_bits))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self.config
        m.submodules.ram = ram = Ram(
            signed(c.acc_bits), c.acc_depth, read_ports=2,
            bels=accumulator_bels(c.array, self.col))
        m.d.sync += self.o.eq(self.control)
        valid = delay(m, self.control.valid, self.sum_delay, "valid")
        # columns do not share these: each drives as many inputs as a sum has bits
        goes_on = local_delay(m, ~self.control.first, READ_LATENCY, "goes_on")
        again = local_delay(m, self.control.again, self.sum_delay, "again")
        address = delay(m, self.control.address, self.sum_delay, "address")
        m.submodules.before = before = MaskedRegister(c.acc_bits)
        m.submodules.adder = adder = FusedAdder(c.acc_bits, select)
        total = register(m, adder.sum.as_signed(), "total")
        m.d.comb += [
            before.i.eq(ram.r0_data[0].as_unsigned()), before.on.eq(goes_on),
            adder.a.eq(extended(self.sum, c.acc_bits)), adder.b.eq(total.as_unsigned()),
            adder.c.eq(before.o), adder.d.eq(again.replicate(c.acc_bits))]
        # a register of each column's own: the wire from the vector unit's loops is long
        m.submodules.read_near = near = LocalRegister(len(self.read_address))
        m.d.comb += [
            near.i.eq(self.read_address), ram.r0_addr.eq(self.control.address),
            ram.w_addr.eq(register(m, address, "total_address")), ram.w_data[0].eq(total),
            ram.w_en.eq(register(m, valid, "total_valid")),
            ram.r1_addr.eq(near.o), self.read_data.eq(ram.r1_data[0])]
        return m
