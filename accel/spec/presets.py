"""Named configurations. Each sets every parameter."""
from dataclasses import replace
from pathlib import Path
from typing import Any

from accel.spec.config import AccelConfig, ConfigError, load_config

_TINY = AccelConfig(
    name="tiny", rows=4, cols=4, band_rows=4, band_cols=1, cell="mac",
    multiplier="dsp", act_bits=8, weight_bits=8, acc_bits=28, rounding="single", scale_terms=0,
    depthwise=True, residual=True,
    act_depth=1024, weight_depth=4096, offset_depth=256, acc_depth=512, param_depth=128,
    out_depth=512, instruction_depth=256, mem_depth=4096,
    vector_lanes=2, activations=("relu", "tanh", "selu"), frame_bytes=256)

# 9 rows are the taps of a 3x3 kernel, 16 columns divide common channel counts (LFE5U-85F).
_ECP5 = AccelConfig(
    name="ecp5", rows=9, cols=16, band_rows=3, band_cols=4, cell="mac",
    multiplier="dsp", act_bits=8, weight_bits=8, acc_bits=32, rounding="single", scale_terms=0,
    depthwise=True, residual=True,
    act_depth=512, weight_depth=1024, offset_depth=256, acc_depth=512, param_depth=512,
    out_depth=512, instruction_depth=512, mem_depth=4096,
    vector_lanes=8, activations=("relu", "tanh", "selu"), frame_bytes=256)

# The same array for networks that are larger than the chip: weights stream from memory outside.
_ECP5_MEM = replace(
    _ECP5, name="ecp5-mem", act_depth=1024, weight_depth=512, param_depth=1024,
    instruction_depth=1024, mem_depth=65536, vector_lanes=16)

# For fully connected layers, which use each weight once: all of them stay in the chip. So many
# accumulators that the sums of 640 channels can be interrupted (`compile.overlap`).
_ECP5_DENSE = replace(
    _ECP5, name="ecp5-dense", band_cols=8, depthwise=False, residual=False, act_depth=128,
    weight_depth=2048, offset_depth=128, acc_depth=64, out_depth=64, instruction_depth=256,
    mem_depth=256, vector_lanes=4)

# Without a multiplier anywhere. Weights are powers of two from 1 to 128 (DeepShift's of 4 bits),
# or have the 8 bits of the activations that they are compared with; a bit says that they count.
_SHIFT: dict[str, Any] = {"cell": "shift", "weight_bits": 5, "scale_terms": 3}
_ADD: dict[str, Any] = {"cell": "add", "weight_bits": 9, "scale_terms": 3}
_SHIFTADD: dict[str, Any] = {"cell": "shiftadd", "weight_bits": 9, "scale_terms": 3}

PRESETS: dict[str, AccelConfig] = {config.name: config for config in (
    _TINY,
    replace(_TINY, name="tiny-shift", **_SHIFT),
    replace(_TINY, name="tiny-add", **_ADD),
    replace(_TINY, name="tiny-shiftadd", **_SHIFTADD),
    _ECP5,
    replace(_ECP5, name="ecp5-shift", **_SHIFT),
    replace(_ECP5, name="ecp5-add", **_ADD),
    replace(_ECP5, name="ecp5-shiftadd", **_SHIFTADD),
    _ECP5_MEM,
    replace(_ECP5_MEM, name="ecp5-shiftadd-mem", instruction_depth=2048, **_SHIFTADD),
    _ECP5_DENSE,
)}
#: What ``make sim`` verifies: every kind of cell, large and small. The others differ in sizes.
SIMULATED = ("tiny", "tiny-shift", "tiny-add", "tiny-shiftadd", "ecp5", "ecp5-shift",
             "ecp5-shiftadd")


def preset(name: str) -> AccelConfig:
    """Look up a preset; an unknown name is a `ConfigError` listing the known ones."""
    if name not in PRESETS:
        raise ConfigError(f"preset must be one of {', '.join(PRESETS)}, not {name!r}")
    return PRESETS[name]


#: Help for ``--activations``, which `config_from` reads.
ACTIVATIONS_HELP = ("instead of the configuration's own, separated by commas: tanh,selu,relu or "
                    "tanh:Q3.5:Q1.7:within1,relu")


def config_from(preset_name: str, config_file: str | None, activations: str | None = None,
                ) -> AccelConfig:
    """Resolve the ``--preset``, ``--config`` and ``--activations`` that every command shares."""
    config = load_config(Path(config_file), PRESETS) if config_file else preset(preset_name)
    if activations is None:
        return config
    names = [text.strip() for text in activations.split(",") if text.strip()]
    return replace(config, activations=tuple(names))
