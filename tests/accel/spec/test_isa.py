"""Instruction words: inverse, extremes, and errors that name the field."""
import re
from dataclasses import replace

import numpy as np
import pytest

from accel.spec.config import AccelConfig
from accel.spec.isa import (
    OPCODE_BITS,
    SUMMARY,
    TOKENS,
    UNIT_OF,
    Field,
    Instruction,
    Isa,
    Opcode,
    Target,
    Unit,
)
from accel.spec.presets import PRESETS

ODD = replace(PRESETS["tiny"], name="odd", rows=3, cols=5, act_depth=4, acc_depth=2,
              weight_depth=8, out_depth=2, param_depth=4, mem_depth=2, activations=(),
              depthwise=False, residual=False)
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
    load, gemm, vector, store = (forms[opcode] for opcode in (
        Opcode.LOAD, Opcode.GEMM, Opcode.VECTOR, Opcode.STORE))
    most = max(config.act_depth, config.out_depth)
    rows_of_tiles = config.weight_depth * config.row_slots
    needs = [(load["target"], max(Target)), (load["rows"], config.weight_depth)]
    needs += [(form[name], config.mem_depth - 1) for form in (load, store)
              for name in ("mem_base", "mem_row_stride")]
    needs += [(load[name], most) for name in ("rows", "words", "top", "bottom", "left", "right")]
    needs += [(load[name], max(most, rows_of_tiles) - 1) for name in ("base", "row_stride")]
    needs += [(gemm["weight_base"], config.weight_depth - 1),
              (gemm["tiles"], config.weight_depth), (gemm["groups"], config.acc_depth),
              (gemm["offset_base"], config.offset_depth - 1)]
    needs += [(gemm[name], config.act_elements - 1) for name in (
        "act_base", "act_group_stride", "row_stride", "col_stride")]
    needs += [(form[name], config.acc_depth - 1) for form in (gemm, vector)
              for name in ("acc_base", "acc_group_stride")]
    needs += [(form[name], config.acc_depth) for form in (gemm, vector)
              for name in ("rows", "cols", "groups")]
    needs += [(vector[f"win_{name}"], config.acc_depth) for name in ("rows", "cols")]
    needs += [(vector[f"{axis}_stride"], config.acc_depth - 1)
              for axis in ("row", "col", "win_row", "win_col")]
    needs += [(vector["param_base"], config.param_depth - 1),
              (vector["lane_groups"], config.vector_groups),
              (vector["activation"], len(config.activations))]
    needs += [(vector[f"out_{name}"], most - 1) for name in ("base", "row_stride", "col_stride")]
    needs += [(store[name], config.out_depth - 1) for name in ("out_base", "row_stride")]
    needs += [(store[name], config.out_depth) for name in ("rows", "words")]
    if config.residual:
        needs.append((vector["add_base"], config.out_depth - 1))
    assert [have >= need for have, need in needs] == [True] * len(needs)


def test_fields_of_what_a_configuration_lacks_are_not_there() -> None:
    full, less = (Isa(config).formats for config in (PRESETS["tiny"], ODD))
    apart = {opcode: {field.name for field in full[opcode]} - {field.name for field in less[opcode]}
             for opcode in Opcode}
    assert apart == {
        Opcode.FINISH: set(), Opcode.LOAD: set(), Opcode.STORE: set(), Opcode.GEMM: {"depthwise"},
        Opcode.VECTOR: {"add", "add_base", "own_zero_point", "own_multiplier", "other_zero_point",
                        "other_multiplier", "add_shift", "add_zero_point"}}
    switched = Isa(replace(ODD, cell="shiftadd", weight_bits=5)).formats[Opcode.GEMM]
    assert [field.name for field in switched][-1] == "distance"


def test_units_form_a_ring() -> None:
    assert [unit.neighbour(1) for unit in Unit] == [Unit.GEMM, Unit.VECTOR, Unit.STORE, Unit.LOAD]
    assert all(unit.neighbour(1).neighbour(-1) is unit for unit in Unit)
    assert set(UNIT_OF.values()) == set(Unit)


def test_zero_is_finish_and_every_opcode_is_described() -> None:
    assert Isa(ODD).decode(0) == Instruction(Opcode.FINISH, {})
    assert set(SUMMARY) == set(Isa(ODD).formats) == set(Opcode)
    assert set(UNIT_OF) == set(Opcode) - {Opcode.FINISH}
    assert all(field.doc for config in (ODD, PRESETS["tiny"])
               for form in Isa(config).formats.values() for field in form)


@CONFIGS
@pytest.mark.parametrize("opcode", [opcode for opcode in Opcode if opcode != Opcode.FINISH])
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
    store = instructions(ODD, Opcode.STORE)[0].fields
    with pytest.raises(ValueError, match=r"STORE.*fields must be \['out_base', 'rows', "
                                         r"'row_stride', 'words', 'mem_base', 'mem_row_stride'\]"):
        Isa(ODD).encode(Instruction(Opcode.STORE, {name: value for name, value in store.items()
                                                   if name != "words"}))
    with pytest.raises(ValueError, match=r"FINISH.*fields must be \[\]"):
        Isa(ODD).encode(Instruction(Opcode.FINISH, {"words": 1}))


@pytest.mark.parametrize("code", range(len(Opcode), 1 << OPCODE_BITS))
def test_bad_opcode(code: int) -> None:
    with pytest.raises(ValueError, match=rf"opcode must be one of \[0, 1, 2, 3, 4\], not {code}"):
        Isa(ODD).decode(code | 0xFF << OPCODE_BITS)


def test_text_shows_fields_and_tokens() -> None:
    store = Instruction(Opcode.STORE, {
        "out_base": 1, "rows": 2, "row_stride": 0, "words": 2, "mem_base": 1,
        "mem_row_stride": 0}, frozenset(["push_prev", "pop_prev"]))
    assert str(store) == ("STORE  out_base=1 rows=2 row_stride=0 words=2 mem_base=1 "
                          "mem_row_stride=0 pop_prev push_prev")
