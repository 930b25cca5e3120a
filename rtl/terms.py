"""What each kind of element adds to a sum: the operands of its adder."""
from typing import Any, ClassVar

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.spec.array import ArraySpec
from rtl.arith import extended, register
from rtl.carry import FusedAdder, Second, a_masked, add, equal, select, subtract_masked
from rtl.ecp5.floorplan import Place
from rtl.multiplier import CarryMultiplier, Multiplier
from rtl.pair import DualMultiplier, PackedMultiplier, PairMultiplier
from rtl.register import MaskedRegister


def operand_layout(spec: ArraySpec) -> data.StructLayout:
    """What goes into a column's `carry.FusedAdder` beside the sum from above."""
    return data.StructLayout({"b": spec.sum_bits, "c": spec.sum_bits, "d": spec.sum_bits,
                              "carry": 1})


class Term(wiring.Component):
    """Operands of an element's adder for an activation and weight codes.

    They come `latency_of` cycles after ``x`` and ``w``, from registers.

    Members
    -------
    x
        Activation.
    w
        Weight codes, one per column of the element.
    distance
        The term is a distance (only where the array is switched at run time).
    operands
        One per column.

    Attributes
    ----------
    second, carry
        The adder's function and carry, as in `FusedAdder`.
    """

    second: Second = staticmethod(add)
    carry = "none"

    def __init__(self, spec: ArraySpec, place: Place | None) -> None:
        self.spec, self.place = spec, place
        ports: dict[str, Any] = {
            "x": In(signed(spec.act_bits)),
            "w": In(data.ArrayLayout(spec.cell.weight_bits, spec.span)),
            "operands": Out(data.ArrayLayout(operand_layout(spec), spec.span))}
        if spec.switched:
            ports["distance"] = In(1)
        super().__init__(ports)

    @staticmethod
    def latency_of(spec: ArraySpec) -> int:
        """Cycles from ``x`` and ``w`` to the operands."""
        raise NotImplementedError


class SliceTerm(Term):
    """``x * w`` in one DSP slice."""

    @staticmethod
    def latency_of(spec: ArraySpec) -> int:
        return Multiplier.latency + 1   # and one register between slice and adder

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        m.submodules.multiplier = multiplier = Multiplier(spec.act_bits, spec.cell.weight_bits,
                                                          self.place)
        m.d.comb += [multiplier.a.eq(self.x), multiplier.b.eq(self.w[0].as_signed())]
        product = register(m, multiplier.product, "product")
        m.d.comb += self.operands[0].c.eq(extended(product, spec.sum_bits))
        return m


class CarryTerm(Term):
    """``x * w`` in carry chains."""

    @staticmethod
    def latency_of(spec: ArraySpec) -> int:
        return CarryMultiplier.latency_of(spec.act_bits, spec.cell.weight_bits)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.multiplier = multiplier = CarryMultiplier(self.spec.act_bits,
                                                               self.spec.cell.weight_bits)
        m.d.comb += [
            multiplier.a.eq(self.x), multiplier.b.eq(self.w[0].as_signed()),
            self.operands[0].c.eq(extended(multiplier.product, self.spec.sum_bits))]
        return m


class PairTerm(Term):
    """``x * w`` for two columns in one DSP block."""

    KINDS: ClassVar[dict[str, type[PairMultiplier]]] = {
        "packed": PackedMultiplier, "dual": DualMultiplier}

    @classmethod
    def latency_of(cls, spec: ArraySpec) -> int:
        return cls.KINDS[spec.multiplier].latency_of(spec.act_bits, spec.cell.weight_bits)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        m.submodules.multiplier = multiplier = self.KINDS[spec.multiplier](
            spec.act_bits, spec.cell.weight_bits, self.place)
        m.d.comb += [multiplier.a.eq(self.x), multiplier.b.eq(self.w)]
        m.d.comb += [self.operands[index].c.eq(extended(multiplier.products[index],
                                                        spec.sum_bits))
                     for index in range(spec.span)]
        return m


class DistanceTerm(Term):
    """``-|x - w|``, or zero for the code `cells.OFF`.

    The adder takes the difference as it is if negative, else inverted with a carry: no second
    adder negates.
    """

    second = staticmethod(equal)
    carry = "inverted"

    @staticmethod
    def latency_of(spec: ArraySpec) -> int:
        return 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        code, bits = self.w[0], self.spec.sum_bits
        difference = register(m, masked_difference(m, self.x, code[:-1], code[-1], code[-1]),
                              "difference")
        sign = difference[-1]
        m.d.comb += [
            self.operands[0].b.eq(extended(difference, bits)),
            self.operands[0].c.eq(sign.replicate(bits)), self.operands[0].d.eq(Const(-1, bits)),
            self.operands[0].carry.eq(sign)]
        return m


class ShiftTerm(Term):
    """``±x * 2**p`` or zero, and ``-|x - w|`` where the array is switched.

    A barrel shifter, one bit of the exponent per register stage; its last stage is part of the
    adder. The sign inverts, and the adder's carry completes the negation. A distance goes the
    same way: the difference, unshifted, inverted where it is not negative.
    """

    second = staticmethod(select)
    carry = "port"

    def __init__(self, spec: ArraySpec, place: Place | None) -> None:
        super().__init__(spec, place)
        self.stages = self._stages(spec)

    @staticmethod
    def _stages(spec: ArraySpec) -> int:
        return max(1, spec.cell.exponent_bits - 1)

    @classmethod
    def latency_of(cls, spec: ArraySpec) -> int:
        return cls._stages(spec) + spec.switched

    def elaborate(self, platform: object) -> Module:
        m = Module()
        cell, code = self.spec.cell, self.w[0]
        exponent, negative, on = code[:cell.exponent_bits], code[cell.exponent_bits], code[-1]
        value = self.x.as_unsigned()
        if self.spec.switched:
            value = register(m, masked_difference(m, self.x, code[:-1], on, on & self.distance),
                             "value")
            exponent = register(m, exponent & ~self.distance.replicate(len(exponent)), "exponent")
            negative, distance = register(m, negative, "sign"), register(m, self.distance, "mode")
            negative = Mux(distance, ~value[-1], negative)
            on = Const(1)       # the difference is zero where it does not count
        self._shift(m, value, exponent, negative, on)
        return m

    def _shift(self, m: Module, value: Value, exponent: Value, negative: Value, on: Value,
               ) -> None:
        bits, top = self.spec.sum_bits, len(exponent) - 1
        if self.stages == 1:    # else inverting comes behind masking, and the carry completes zero
            negative &= on
        for stage in range(self.stages):
            if stage < top:
                move = 1 << stage
                wide = extended(value, len(value) + move)
                # the bits that become empty as an AND: yosys would make resets of a multiplexer
                # with a constant, slower ones than data
                value = Cat(wide[:move] & ~exponent[stage].replicate(move),
                            Mux(exponent[stage], value, wide[move:]))
            if stage == self.stages - 1:
                value ^= negative.replicate(len(value))
            if stage == 0 and not self.spec.switched:
                # The LUTs of the lower bits have an input left for the mask, the sign has no LUT.
                # A reset for all bits would save no more, and keep others out of their tiles.
                m.submodules.sign = sign = MaskedRegister(1)
                m.d.comb += [sign.i.eq(value[-1]), sign.on.eq(on)]
                lower = register(m, value[:-1] & on.replicate(len(value) - 1), "shifted_0")
                value = Cat(lower, sign.o)
            else:
                value = register(m, value, f"shifted_{stage}")
            negative = register(m, negative, f"negative_{stage}")
            exponent = register(m, exponent, f"exponent_{stage}")
        shifted = Cat(negative.replicate(1 << top), value)
        m.d.comb += [
            self.operands[0].b.eq(extended(shifted, bits)),
            self.operands[0].c.eq(extended(value, bits)),
            self.operands[0].d.eq(exponent[top].replicate(bits)),
            self.operands[0].carry.eq(negative)]


def masked_difference(m: Module, x: Value, w: Value, x_counts: Value, w_counts: Value) -> Signal:
    """``x - w``, each of them zero unless it counts; wide enough for all values."""
    bits = max(len(x), len(w)) + 1
    m.submodules.subtractor = subtractor = FusedAdder(bits, subtract_masked, first=a_masked,
                                                      carry="port")
    m.d.comb += [
        subtractor.a.eq(extended(x, bits)), subtractor.b.eq(x_counts.replicate(bits)),
        subtractor.c.eq(extended(w, bits)), subtractor.d.eq(w_counts.replicate(bits)),
        subtractor.carry.eq(w_counts)]
    return subtractor.sum


MULTIPLIER_TERMS: dict[str, type[Term]] = {
    "dsp": SliceTerm, "packed": PairTerm, "dual": PairTerm, "lut": CarryTerm}
TERMS: dict[str, type[Term]] = {"shift": ShiftTerm, "add": DistanceTerm, "shiftadd": ShiftTerm}


def term_of(spec: ArraySpec) -> type[Term]:
    """The kind of term in an array's elements."""
    return MULTIPLIER_TERMS[spec.multiplier] if spec.cell.kind == "mac" else TERMS[spec.cell.kind]
