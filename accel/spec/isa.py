"""The instruction set: one table for encoder, decoders, emulator, disassembler and reference.

Two levels. A *task* instruction goes to one unit's queue; units run side by side and meet only
through dependency tokens. Inside a unit a *nested affine loop* (base + i * stride_i + ...) turns
the instruction into one step per cycle. Field widths follow the configuration.

Units form a chain, and a token travels between neighbours: an instruction takes the tokens it
asks for before it starts (``pop``) and gives tokens once its last write has landed (``push``).
"""
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

from accel.spec.config import AccelConfig


class Opcode(IntEnum):
    """Zero is FINISH, so that memory never written stops the core."""

    FINISH = 0
    GEMM = 1
    VECTOR = 2
    FILL = 3


class Unit(IntEnum):
    """Execution units in chain order."""

    GEMM = 0
    VECTOR = 1


UNIT_OF = {Opcode.GEMM: Unit.GEMM, Opcode.VECTOR: Unit.VECTOR, Opcode.FILL: Unit.VECTOR}
OPCODE_BITS = 3
#: Token flags of every instruction, after the opcode: take from / give to the neighbour before
#: (``prev``) or behind (``next``) in the chain of units.
TOKENS = ("pop_prev", "pop_next", "push_prev", "push_next")


def stray_tokens(unit: Unit) -> tuple[str, ...]:
    """Token flags that name a neighbour ``unit`` does not have; setting one is a fault."""
    ends = {min(Unit): "_prev", max(Unit): "_next"}
    return tuple(flag for flag in TOKENS if unit in ends and flag.endswith(ends[unit]))


SUMMARY = {
    Opcode.FINISH: "Wait until every unit is idle, then stop.",
    Opcode.GEMM: "acc[acc_base + i] (+)= sum over tiles of activations x weight tile, i counting "
                 "rows x cols output positions.",
    Opcode.VECTOR: "Per channel group and output position: bias, requantize, activation and the "
                   "maximum over a window of accumulators, written to the activation scratchpad.",
    Opcode.FILL: "Write `value` to every activation of `words` words (the halo of a tensor).",
}


@dataclass(frozen=True)
class Field:
    """One field of an instruction word."""

    name: str
    bits: int
    signed: bool = False
    doc: str = ""

    def check(self, value: int) -> int:
        """Return the unsigned encoding of ``value``; a value that does not fit is an error."""
        low = -(1 << (self.bits - 1)) if self.signed else 0
        high = low + (1 << self.bits) - 1
        if not low <= value <= high:
            raise ValueError(f"field {self.name} must be in {low}..{high}, not {value}")
        return value & ((1 << self.bits) - 1)


@dataclass(frozen=True)
class Instruction:
    """A decoded instruction: opcode, token flags that are set, and its fields by name."""

    opcode: Opcode
    fields: Mapping[str, int]
    tokens: frozenset[str] = frozenset()

    def __str__(self) -> str:
        body = " ".join(f"{name}={value}" for name, value in self.fields.items())
        return " ".join(filter(None, (f"{self.opcode.name:6}", body, *sorted(self.tokens))))


def _width(largest: int) -> int:
    return max(1, largest.bit_length())


@dataclass(frozen=True)
class Isa:
    """The instruction formats of one configuration."""

    config: AccelConfig

    @cached_property
    def formats(self) -> dict[Opcode, tuple[Field, ...]]:
        """Fields of each opcode behind the header, from the low bit up."""
        c = self.config
        act_element, act_word = _width(c.act_elements - 1), _width(c.act_depth - 1)
        acc_address, acc_count = _width(c.acc_depth - 1), _width(c.acc_depth)
        vector_loops = [
            field for axis, what in (("row", "output row"), ("col", "output column"),
                                     ("win_row", "window row"), ("win_col", "window column"))
            for field in (Field(f"{axis}s", acc_count, doc=f"count of {what}s"),
                          Field(f"{axis}_stride", acc_address, doc=f"acc words per {what}"))]
        return {
            Opcode.FINISH: (),
            Opcode.GEMM: (
                Field("weight_base", _width(c.weight_depth - 1), doc="first weight tile"),
                Field("tiles", _width(c.weight_depth), doc="weight tiles summed"),
                Field("act_base", act_element, doc="first activation, in elements"),
                Field("rows", acc_count, doc="count of output rows"),
                Field("row_stride", act_element, doc="elements per output row"),
                Field("cols", acc_count, doc="count of output columns"),
                Field("col_stride", act_element, doc="elements per output column"),
                Field("acc_base", acc_address, doc="first accumulator word"),
                Field("accumulate", 1, doc="add the first tile to what the accumulators hold"),
                *([Field("distance", 1, doc="terms are -|x - w| instead of x * w")]
                  if c.array.switched else [])),
            Opcode.VECTOR: (
                Field("acc_base", acc_address, doc="first accumulator word"), *vector_loops,
                Field("param_base", _width(c.param_depth - 1), doc="first bias and scale word"),
                Field("groups", _width(c.vector_groups), doc="channel groups"),
                Field("out_base", act_word, doc="first output word"),
                Field("out_row_stride", act_word, doc="words per output row"),
                Field("out_col_stride", act_word, doc="words per output column"),
                Field("activation", _width(len(c.activations)), doc="0 none, else its position"),
                Field("zero_point", c.act_bits, signed=True, doc="added after scaling")),
            Opcode.FILL: (
                Field("out_base", act_word, doc="first word"),
                Field("words", _width(c.act_depth), doc="count of words"),
                Field("value", c.act_bits, signed=True, doc="activation code written")),
        }

    @property
    def header(self) -> tuple[Field, ...]:
        """Opcode and token flags, common to all instructions."""
        return (Field("opcode", OPCODE_BITS), *(Field(flag, 1) for flag in TOKENS))

    @property
    def word_bits(self) -> int:
        """Width of an instruction, whole bytes."""
        longest = max(sum(field.bits for field in fields) for fields in self.formats.values())
        return -(-(OPCODE_BITS + len(TOKENS) + longest) // 8) * 8

    def encode(self, instruction: Instruction) -> int:
        """Instruction word; ``ValueError`` names the instruction and the field that is wrong."""
        form = self.formats[instruction.opcode]
        if {field.name for field in form} != set(instruction.fields):
            raise ValueError(f"{instruction}: fields must be {[field.name for field in form]}")
        values = {"opcode": int(instruction.opcode), **instruction.fields,
                  **{flag: int(flag in instruction.tokens) for flag in TOKENS}}
        word, position = 0, 0
        for field in (*self.header, *form):
            try:
                word |= field.check(values[field.name]) << position
            except ValueError as error:
                raise ValueError(f"{instruction}: {error}") from None
            position += field.bits
        return word

    def decode(self, word: int) -> Instruction:
        """Inverse of `encode`; an opcode that is not in the table is a ``ValueError``."""
        code = word & ((1 << OPCODE_BITS) - 1)
        if code not in Opcode.__members__.values():
            raise ValueError(f"opcode must be one of {[int(op) for op in Opcode]}, not {code}")
        opcode, values, position = Opcode(code), {}, 0
        for field in (*self.header, *self.formats[opcode]):
            value = (word >> position) & ((1 << field.bits) - 1)
            if field.signed and value >> (field.bits - 1):
                value -= 1 << field.bits
            values[field.name] = value
            position += field.bits
        del values["opcode"]
        tokens = frozenset(flag for flag in TOKENS if values.pop(flag))
        return Instruction(opcode, values, tokens)
