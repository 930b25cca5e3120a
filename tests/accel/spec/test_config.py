"""Configurations: every preset builds, every fault is named, the digest tells them apart."""
import json
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest

from accel.spec.config import LIMITS, RINGS, AccelConfig, ConfigError, load_config
from accel.spec.presets import PRESETS, config_from, preset

TINY = PRESETS["tiny"]
#: Another legal value of each parameter.
CHANGES: dict[str, Any] = {
    "rows": 3, "cols": 5, "band_rows": 2, "band_cols": 2, "multiplier": "lut", "cell": "shift",
    "act_bits": 7, "weight_bits": 5, "acc_bits": 29, "rounding": "tflite", "scale_terms": 2,
    "depthwise": False, "residual": False, "act_depth": 512, "weight_depth": 64,
    "offset_depth": 64, "acc_depth": 8, "param_depth": 8, "out_depth": 128,
    "instruction_depth": 7, "mem_depth": 100, "vector_lanes": 1,
    "activations": ("relu", "tanh"), "frame_bytes": 255}


def faults(**changes: Any) -> str:
    """Message of ``tiny`` with changes that are wrong."""
    with pytest.raises(ConfigError) as caught:
        replace(TINY, **changes)
    return str(caught.value)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_build_and_go_by_their_names(name: str) -> None:
    config = preset(name)
    assert config.name == name
    assert AccelConfig.from_mapping(asdict(config)) == config
    assert config.acc_bits >= config.array.sum_bits == config.cell_spec.sum_bits(
        config.act_bits, config.rows)
    assert [spec.function for spec in config.activation_specs] == [
        text.split(":")[0] for text in config.activations]
    assert config.act_elements == config.act_depth * config.word_lanes


def test_derived_sizes_of_odd_arrays() -> None:
    odd = replace(TINY, rows=5, cols=9, vector_lanes=4, acc_bits=40)
    assert (odd.row_slots, odd.word_lanes, odd.vector_groups) == (8, 16, 3)
    one = replace(TINY, rows=1, cols=1, vector_lanes=1)
    assert (one.row_slots, one.word_lanes, one.vector_groups) == (1, 1, 1)


@pytest.mark.parametrize("name", LIMITS)
def test_names_a_parameter_out_of_range_and_the_nearest_value(name: str) -> None:
    low, high = LIMITS[name]
    assert f"{name} must be in {low}..{high}, not {low - 1}; nearest: {low}" in faults(
        **{name: low - 1})
    assert f"{name} must be in {low}..{high}, not {high + 1}; nearest: {high}" in faults(
        **{name: high + 1})
    for wrong in (1.0, True, "8", None):
        assert f"{name} must be a whole number in {low}..{high}, not {wrong!r}" in faults(
            **{name: wrong})


def test_every_simple_fault_stands_in_one_message() -> None:
    wrong = dict.fromkeys(LIMITS, 10 ** 9)
    message = faults(name="bad", cell="dsp", **wrong)
    assert message.startswith("config 'bad': ")
    assert message.count("nearest") == len(LIMITS)
    assert "cell must be one of mac, shift, add, shiftadd, not 'dsp'" in message
    assert "weight_bits must be in 3..6, not 8; nearest: 6" in faults(cell="shift")
    assert "weight_bits must be in 2..16, not 1; nearest: 2" in faults(weight_bits=1)
    assert "multiplier must be one of dsp, packed, dual, lut, not 'booth'" in faults(
        multiplier="booth")
    assert ("weight_bits must be at most 9 with multiplier 'packed', not 12; nearest: 9"
            in faults(weight_bits=12, multiplier="packed", acc_bits=40))


def test_rounding_and_the_widths_that_it_allows() -> None:
    assert "rounding must be one of single, tflite, not 'half'" in faults(rounding="half")
    assert "rounding must be one of single, tflite, not []" in faults(rounding=[])
    message = faults(rounding="tflite", act_bits=9, acc_bits=33, activations=("relu",))
    assert "act_bits must be at most 8 with tflite rounding, not 9; nearest: 8" in message
    assert "acc_bits must be at most 32 with tflite rounding, not 33; nearest: 32" in message
    assert TINY.scales.magnitude_bits == 17
    assert replace(TINY, rounding="tflite").scales.magnitude_bits == 31


def test_every_combined_fault_stands_in_one_message() -> None:
    message = faults(acc_bits=17, vector_lanes=3,
                     activations=("mish", "tanh:Q3.3:Q1.7", "relu", "relu"))
    for fault in ("acc_bits must be in 18..40 to hold 4 worst-case terms, not 17; nearest: 18",
                  "vector_lanes must be a power of two, not 3; nearest: 2",
                  "activation 'mish' is not known; there are relu, tanh, selu",
                  "activation 'tanh:Q3.3:Q1.7' must be", "'relu' is given 2 times"):
        assert fault in message
    assert "not 8; nearest: 4" in faults(vector_lanes=8)


def test_nearest_values_are_legal() -> None:
    assert replace(TINY, acc_bits=18).acc_bits == TINY.array.sum_bits == 18
    assert replace(TINY, cols=5, vector_lanes=8).word_lanes == 8


def test_digest_depends_on_every_parameter_but_the_name() -> None:
    assert replace(TINY, name="other").digest == TINY.digest
    assert set(CHANGES) == {field.name for field in fields(AccelConfig)} - {"name"}
    changed = [replace(TINY, **{"weight_bits": 5, name: value} if name == "cell" else
                       {name: value}).digest for name, value in CHANGES.items()]
    assert len({TINY.digest, *changed}) == len(CHANGES) + 1
    assert all(len(digest) == 16 and int(digest, 16) >= 0 for digest in changed)


def test_digest_is_the_same_for_a_list_and_in_another_order() -> None:
    assert replace(TINY, activations=list(TINY.activations)) == TINY    # type: ignore[arg-type]
    assert AccelConfig.from_mapping(dict(reversed(asdict(TINY).items()))).digest == TINY.digest
    assert replace(TINY, activations=("tanh", "relu", "selu")).digest != TINY.digest


def write(folder: Path, text: str | bytes) -> Path:
    """A file ``mine.toml`` with this content."""
    path = folder / "mine.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_toml_changes_its_base(tmp_path: Path) -> None:
    path = write(tmp_path, 'base = "ecp5"\nrows = 8\nactivations = ["relu"]\n')
    assert load_config(path, PRESETS) == replace(PRESETS["ecp5"], name="mine", rows=8,
                                                 activations=("relu",))
    assert config_from("tiny", str(path)).rows == 8
    assert config_from("tiny", None) is TINY
    assert config_from("tiny", None, "relu, gelu:within1").activations == ("relu", "gelu:within1")
    with pytest.raises(ConfigError, match="activation 'mish' is not known; there are relu, tanh"):
        config_from("tiny", None, "mish")


def test_toml_without_base_gives_everything(tmp_path: Path) -> None:
    # JSON writes these values as TOML does
    lines = [f"{name} = {json.dumps(value)}" for name, value in asdict(TINY).items()]
    assert load_config(write(tmp_path, "\n".join(lines)), {}) == TINY


@pytest.mark.parametrize(("text", "fault"), [
    ('base = "tiny"\nrow = 3\nlanes = 1\n',
     r"mine\.toml: unknown parameter 'lanes'; unknown parameter 'row'; the parameters are name, "),
    ("rows = 3\ncols = 4\n",
     r"mine\.toml: missing parameter 'band_rows' \(or name a preset: .*; missing parameter 'cell'"),
    ('base = "big"\n', r"mine\.toml: base must be one of tiny, .*, not 'big'"),
    ('base = "tiny"\nrows = 0\nact_bits = 99\n',
     r"mine\.toml: config 'mine': rows must be in 1\.\.64, not 0; .*; act_bits must be"),
    ('base = "tiny"\nactivations = "relu"\n', r"activations must be a list of strings, not 'relu'"),
    ('base = "tiny"\nactivations = [1]\n', r"activations must be a list of strings, not \[1\]"),
    ("rows == 3", r"mine\.toml is not TOML: .*line 1"),
    (b"\xff\xfe", r"cannot read config .*mine\.toml: not UTF-8 text"),
], ids=["unknown", "missing", "base", "range", "string", "number", "not toml", "not text"])
def test_toml_faults(tmp_path: Path, text: str | bytes, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        load_config(write(tmp_path, text), PRESETS)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read config .*none\.toml: No such file"):
        load_config(tmp_path / "none.toml", PRESETS)
    with pytest.raises(ConfigError, match=r"cannot read config .*: Is a directory"):
        load_config(tmp_path, PRESETS)


def test_an_unknown_preset_is_answered_with_those_known() -> None:
    with pytest.raises(ConfigError, match=r"preset must be one of tiny, .*, not 'huge'"):
        preset("huge")


@pytest.mark.parametrize("values", [{"cell": ["mac"]}, {"name": 3}, {"rows": None},
                                    {"activations": "tanh"}, {"activations": [1]}], ids=str)
def test_values_of_a_wrong_type(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=rf"{next(iter(values))} must be .*, not "):
        AccelConfig.from_mapping(values, PRESETS["tiny"])


def test_names_and_values_are_faulted_together(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('base = "tiny"\nrow = 3\ncols = 99\ncell = "fft"\n')
    with pytest.raises(ConfigError, match=r"unknown parameter 'row'.*cols must be in 1\.\.64, not "
                                          r"99; nearest: 64; cell must be one of mac, shift"):
        load_config(file, PRESETS)


def test_a_base_of_a_wrong_type(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('base = ["tiny"]\n')
    with pytest.raises(ConfigError, match=r"base must be one of tiny, .*, not \['tiny'\]"):
        load_config(file, PRESETS)


def test_a_frame_holds_the_widest_word() -> None:
    """Else an instruction, or a row of weights or activations, could never be written."""
    wide = replace(PRESETS["ecp5"], cols=64)
    with pytest.raises(ConfigError, match="frame_bytes must be at least 64, the widest memory "
                                          "word, not 63; nearest: 64"):
        replace(wide, frame_bytes=63)
    assert replace(wide, frame_bytes=64).mem_bits == 64 * 8


@pytest.mark.parametrize("name", RINGS)
def test_rings_have_a_power_of_two(name: str) -> None:
    assert set(RINGS) == {f"{what}_depth" for what in (
        "act", "weight", "offset", "acc", "param", "out")}
    for wrong, nearest in ((3, 2), (1000, 512), (65535, 32768)):
        assert f"{name} must be a power of two, not {wrong}; nearest: {nearest}" in faults(
            **{name: wrong})
    message = faults(**{name: 65537})
    assert f"{name} must be in 2..65536" in message
    assert "power of two" not in message
    assert getattr(replace(TINY, **{name: 2}), name) == 2


def test_what_is_there_or_not() -> None:
    for name in ("depthwise", "residual"):
        for wrong in (1, "yes", None):
            assert f"{name} must be true or false, not {wrong!r}" in faults(**{name: wrong})
    for paired in ("packed", "dual"):
        assert f"depthwise must be false with multiplier '{paired}'" in faults(multiplier=paired)
        assert replace(TINY, multiplier=paired, depthwise=False).array.span == 2
    # only multipliers are shared: cells that do not multiply can take streams of their own
    assert replace(TINY, cell="shift", weight_bits=5, multiplier="packed").depthwise


def test_faults_alone_and_together_stand_in_one_message() -> None:
    """A fault of one parameter hides no rule that it has no part in."""
    with pytest.raises(ConfigError) as error:
        replace(PRESETS["tiny"], acc_depth=0, acc_bits=9, vector_lanes=8)
    for fault in ("acc_depth must be in 2..65536, not 0; nearest: 2", "acc_bits must be in 18..40",
                  "vector_lanes must be at most 4 (cols rounded up), not 8; nearest: 4"):
        assert fault in str(error.value)
