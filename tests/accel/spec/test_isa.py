"""Instruction words: inverse, extremes, and errors that name the field."""
import re
from dataclasses import replace

import numpy as np
import pytest

from accel.spec.config import AccelConfig
from accel.spec.isa import OPCODE_BITS, SUMMARY, TOKENS, UNIT_OF, Field, Instruction, Isa, Opcode
from accel.spec.presets import PRESETS

ODD = replace(PRESETS["tiny"], name="odd", rows=3, cols=5, act_depth=3, acc_depth=2,
              weight_depth=7, param_depth=5, activations=())
CONFIGS = pytest.mark.parametrize("config", [*PRESETS.values(), ODD], ids=lambda c: c.name)


def bounds(field: Field) -> tuple[int, int]:
    """Smallest and largest value of a field."""
    low = -(1 << (field.bits - 1)) if field.signed else 0
    return low, low + (1 << field.bits) - 1


def instructions(config: AccelConfig, opcode: Opcode) -> list[Instruction]:
    """All lowest, all highest, one field high at a time, one low at a time, random."""
    form, rng = Isa(config).formats[opcode], np.random.default_rng(1)
    low = {field.name: bounds(field)[0] for field in form}
    high = {field.name: bounds(field)[1] for field in form}
    rows = [low, high, *({**low, name: high[name]} for name in high),
            *({**high, name: low[name]} for name in low),
            *({name: int(rng.integers(low[name], high[name] + 1)) for name in low}
              for _ in range(20))]
    flags = [frozenset(), frozenset(TOKENS), *(frozenset([token]) for token in TOKENS)]
    return [Instruction(opcode, row, flags[index % len(flags)]) for index, row in enumerate(rows)]


@CONFIGS
@pytest.mark.parametrize("opcode", Opcode)
def test_decode_is_the_inverse_of_encode(config: AccelConfig, opcode: Opcode) -> None:
    isa = Isa(config)
    for instruction in instructions(config, opcode):
        word = isa.encode(instruction)
        assert 0 <= word < 1 << isa.word_bits
        assert isa.decode(word) == instruction
        assert isa.decode(word | 1 << isa.word_bits) == instruction     # bits beyond are ignored


@CONFIGS
def test_words_are_whole_bytes_without_a_byte_to_spare(config: AccelConfig) -> None:
    isa = Isa(config)
    longest = max(sum(field.bits for field in (*isa.header, *form))
                  for form in isa.formats.values())
    assert isa.word_bits % 8 == 0
    assert longest <= isa.word_bits < longest + 8


@CONFIGS
def test_fields_reach_every_address_and_count(config: AccelConfig) -> None:
    forms = {opcode: {field.name: bounds(field)[1] for field in form}
             for opcode, form in Isa(config).formats.items()}
    gemm, vector, fill = forms[Opcode.GEMM], forms[Opcode.VECTOR], forms[Opcode.FILL]
    for highest, needed in (
            (gemm["weight_base"], config.weight_depth - 1), (gemm["tiles"], config.weight_depth),
            (gemm["act_base"], config.act_elements - 1), (gemm["rows"], config.acc_depth),
            (gemm["acc_base"], config.acc_depth - 1), (vector["cols"], config.acc_depth),
            (vector["param_base"], config.param_depth - 1),
            (vector["groups"], config.vector_groups), (vector["out_base"], config.act_depth - 1),
            (vector["activation"], len(config.activations)), (fill["words"], config.act_depth)):
        assert highest >= needed


def test_zero_is_finish_and_every_opcode_is_described() -> None:
    assert Isa(ODD).decode(0) == Instruction(Opcode.FINISH, {})
    assert set(SUMMARY) == set(Isa(ODD).formats) == set(Opcode)
    assert set(UNIT_OF) == set(Opcode) - {Opcode.FINISH}
    assert all(field.doc for form in Isa(ODD).formats.values() for field in form
               if field.name != "rows")


@CONFIGS
@pytest.mark.parametrize("opcode", [Opcode.GEMM, Opcode.VECTOR, Opcode.FILL])
def test_names_a_field_out_of_range(config: AccelConfig, opcode: Opcode) -> None:
    isa = Isa(config)
    base = instructions(config, opcode)[0]
    for field in isa.formats[opcode]:
        low, high = bounds(field)
        for wrong in (low - 1, high + 1):
            with pytest.raises(ValueError, match=re.escape(
                    f"field {field.name} must be in {low}..{high}, not {wrong}")) as caught:
                isa.encode(replace(base, fields={**base.fields, field.name: wrong}))
            assert opcode.name in str(caught.value)


def test_names_missing_and_foreign_fields() -> None:
    with pytest.raises(ValueError, match=r"FILL.*fields must be \['out_base', 'words', 'value'\]"):
        Isa(ODD).encode(Instruction(Opcode.FILL, {"out_base": 0, "words": 1}))
    with pytest.raises(ValueError, match=r"FINISH.*fields must be \[\]"):
        Isa(ODD).encode(Instruction(Opcode.FINISH, {"words": 1}))


@pytest.mark.parametrize("code", range(len(Opcode), 1 << OPCODE_BITS))
def test_bad_opcode(code: int) -> None:
    with pytest.raises(ValueError, match=rf"opcode must be one of \[0, 1, 2, 3\], not {code}"):
        Isa(ODD).decode(code | 0xFF << OPCODE_BITS)


def test_text_shows_fields_and_tokens() -> None:
    fill = Instruction(Opcode.FILL, {"out_base": 1, "words": 2, "value": -3},
                       frozenset(["push_prev", "pop_prev"]))
    assert str(fill) == "FILL   out_base=1 words=2 value=-3 pop_prev push_prev"
