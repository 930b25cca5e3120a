"""Instruction words as Amaranth layouts, from the one table in `accel.spec.isa`."""
from amaranth.hdl import signed
from amaranth.lib import data

from accel.spec.isa import Isa, Opcode


def layout(isa: Isa, opcode: Opcode) -> data.StructLayout:
    """Header and fields of ``opcode``, padded to the width of an instruction word."""
    fields = (*isa.header, *isa.formats[opcode])
    members = {field.name: signed(field.bits) if field.signed else field.bits for field in fields}
    padding = isa.word_bits - sum(field.bits for field in fields)
    return data.StructLayout(members | ({"padding": padding} if padding else {}))
