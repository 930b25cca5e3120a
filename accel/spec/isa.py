"""The instruction set: one table for encoder, decoders, emulator, disassembler and reference.

Two levels. A *task* instruction goes to one unit's queue; units run side by side and meet only
through dependency tokens. Inside a unit a *nested affine loop* (base + i * stride_i + ...) turns
the instruction into one step per cycle. Field widths follow the configuration.

Units form a ring, and a token travels between neighbours: an instruction takes the tokens it
asks for before it starts (``pop``) and gives tokens once its last write has landed (``push``).
"""
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

from accel.spec.config import AccelConfig
from accel.spec.numerics import SHIFT_BITS, TFLITE_MULTIPLIER_BITS


class Opcode(IntEnum):
    """Zero is FINISH, so that memory never written stops the core."""

    FINISH = 0
    LOAD = 1
    GEMM = 2
    VECTOR = 3
    STORE = 4


class Unit(IntEnum):
    """Execution units, in the order in which data flows; behind the last comes the first."""

    LOAD = 0
    GEMM = 1
    VECTOR = 2
    STORE = 3

    def neighbour(self, step: int) -> "Unit":
        """The unit ``step`` (-1 or 1) places on around the ring."""
        return Unit((self + step) % len(Unit))


class Target(IntEnum):
    """Where LOAD writes."""

    ACTIVATION = 0  # words of activations, read by the array's rows
    WEIGHT = 1      # rows of weight tiles
    OUTPUT = 2      # words of activations that VECTOR adds to its results


UNIT_OF = {Opcode.LOAD: Unit.LOAD, Opcode.GEMM: Unit.GEMM, Opcode.VECTOR: Unit.VECTOR,
           Opcode.STORE: Unit.STORE}
OPCODE_BITS = 3
#: Token flags of every instruction, after the opcode: take from / give to the neighbour before
#: (``prev``) or behind (``next``) in the ring of units.
TOKENS = ("pop_prev", "pop_next", "push_prev", "push_next")
#: Most tokens under way from one unit to one neighbour.
MOST_TOKENS = 255
#: How addresses go on at the end of a scratchpad.
WRAPPING = ("Addresses of the activation scratchpad wrap around within the half of it in which the "
            "instruction's first one lies, those of all other scratchpads at the end; one beyond "
            "memory is a fault.")

SUMMARY = {
    Opcode.FINISH: "Wait until every unit is idle, then stop.",
    Opcode.LOAD: "Copy `rows` rows of `words` words from the memory port to a scratchpad, with "
                 "`left` and `right` words of `value` around each row and `top` and `bottom` "
                 "rows of it around all.",
    Opcode.GEMM: "acc[acc_base + group * acc_group_stride + i] (+)= sum over `tiles` of "
                 "activations x weight tile, i counting rows x cols output positions. Groups "
                 "must not share accumulators. Weight tiles are used in the order in which they "
                 "lie; `tiles_outer` makes the tiles the outer loop and the groups the inner one.",
    Opcode.VECTOR: "Per group, lane group and output position: bias, requantize, activation, "
                   "addition, clamp and the maximum over a window of accumulators, written to "
                   "the activation or output scratchpad.",
    Opcode.STORE: "Copy `rows` rows of `words` words from the output scratchpad to the memory "
                  "port.",
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
        memory, copied = _width(c.mem_depth - 1), _width(max(c.act_depth, c.out_depth))
        out_word = max(act_word, _width(c.out_depth - 1))
        tile_row = _width(c.weight_depth * c.row_slots - 1)
        most_tiles, most_groups = _width(c.weight_depth), _width(c.acc_depth)
        return {
            Opcode.FINISH: (),
            Opcode.LOAD: (
                Field("target", _width(max(Target)), doc="scratchpad: " + ", ".join(
                    f"{target.value} {target.name.lower()}" for target in Target)),
                Field("mem_base", memory, doc="first memory word"),
                Field("rows", max(copied, most_tiles), doc="count of rows read; may be 0"),
                Field("mem_row_stride", memory, doc="memory words per row"),
                Field("words", copied, doc="words read per row"),
                Field("base", max(out_word, tile_row), doc="first word written"),
                Field("row_stride", max(out_word, tile_row), doc="words written per row"),
                Field("top", copied, doc="rows of padding before all"),
                Field("bottom", copied, doc="rows of padding behind all"),
                Field("left", copied, doc="words of padding before each row"),
                Field("right", copied, doc="words of padding behind each row"),
                Field("value", c.act_bits, signed=True, doc="activation code of the padding")),
            Opcode.GEMM: (
                Field("weight_base", _width(c.weight_depth - 1), doc="first weight tile"),
                Field("tiles", most_tiles, doc="weight tiles summed"),
                Field("groups", most_groups, doc="count of sums of `tiles` tiles"),
                Field("tiles_outer", 1, doc="a tile of every group, before the next tile"),
                Field("offset_base", _width(c.offset_depth - 1), doc="first tile's row offsets"),
                Field("act_base", act_element, doc="first activation, in elements"),
                Field("act_group_stride", act_element, doc="elements per group"),
                Field("rows", acc_count, doc="count of output rows"),
                Field("row_stride", act_element, doc="elements per output row"),
                Field("cols", acc_count, doc="count of output columns"),
                Field("col_stride", act_element, doc="elements per output column"),
                Field("acc_base", acc_address, doc="first accumulator word"),
                Field("acc_group_stride", acc_address, doc="acc words per group"),
                Field("accumulate", 1, doc="add the first tile to what the accumulators hold"),
                *([Field("depthwise", 1, doc="column c takes lane c of the word")]
                  if c.depthwise else []),
                *([Field("distance", 1, doc="terms are -|x - w| instead of x * w")]
                  if c.array.switched else [])),
            Opcode.VECTOR: (
                Field("acc_base", acc_address, doc="first accumulator word"),
                Field("groups", most_groups, doc="count of accumulator groups"),
                Field("acc_group_stride", acc_address, doc="acc words per group"),
                Field("lane_groups", _width(c.vector_groups),
                      doc="steps of `vector_lanes` channels per accumulator word"),
                *(field for axis, what in (
                    ("row", "output row"), ("col", "output column"),
                    ("win_row", "window row"), ("win_col", "window column"))
                  for field in (Field(f"{axis}s", acc_count, doc=f"count of {what}s"),
                                Field(f"{axis}_stride", acc_address,
                                      doc=f"acc words per {what}"))),
                Field("param_base", _width(c.param_depth - 1), doc="first bias and scale word"),
                Field("to_activation", 1, doc="write to the activation scratchpad"),
                Field("to_output", 1, doc="write to the output scratchpad"),
                Field("out_base", out_word, doc="first output word; groups lie side by side"),
                Field("out_row_stride", out_word, doc="words per output row"),
                Field("out_col_stride", out_word, doc="words per output column"),
                Field("activation", _width(len(c.activations)), doc="0 none, else its position"),
                Field("zero_point", c.act_bits, signed=True, doc="added after scaling"),
                Field("low", c.act_bits, signed=True, doc="least code of the result"),
                Field("high", c.act_bits, signed=True, doc="largest code of the result"),
                *(self._add_fields() if c.residual else ())),
            Opcode.STORE: (
                Field("out_base", _width(c.out_depth - 1), doc="first word of the scratchpad"),
                Field("rows", copied, doc="count of rows"),
                Field("row_stride", _width(c.out_depth - 1), doc="scratchpad words per row"),
                Field("words", copied, doc="words per row"),
                Field("mem_base", memory, doc="first memory word"),
                Field("mem_row_stride", memory, doc="memory words per row")),
        }

    def _add_fields(self) -> Iterator[Field]:
        """Fields of the addition: `numerics.add` of the result and a word already there."""
        c = self.config
        tflite = c.rounding == "tflite"
        yield Field("add", 1, doc="add what the output scratchpad holds at `add_base`")
        yield Field("add_base", _width(c.out_depth - 1),
                    doc="first word to add; strides are those of the output")
        for side in ("own", "other"):
            yield Field(f"{side}_zero_point", c.act_bits, signed=True, doc=f"of the {side} summand")
            yield Field(f"{side}_multiplier", c.scales.summand_bits,
                        doc=f"of the {side} summand" + ", a bit on top of an exponent of two"
                        * (c.scale_terms > 0))
            if tflite:
                yield Field(f"{side}_shift", SHIFT_BITS, doc=f"of the {side} summand")
        if tflite:
            yield Field("add_multiplier", TFLITE_MULTIPLIER_BITS, doc="of the sum")
        yield Field("add_shift", SHIFT_BITS, doc="of the sum")
        yield Field("add_zero_point", c.act_bits, signed=True, doc="of the sum")

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
