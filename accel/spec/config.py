"""The one frozen, validated parameter set from which hardware and software derive."""
import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from accel.spec.array import ArraySpec, band_faults, depthwise_faults, multiplier_faults
from accel.spec.cells import WEIGHT_BITS, CellSpec, Operation
from accel.spec.errors import InputError
from accel.spec.numerics import ROUNDINGS
from accel.spec.scales import MAX_TERMS, Scales
from accel.spec.tables import ActivationSpec

#: The widest that TensorFlow Lite's kernels have, in bits: an activation, an accumulator.
TFLITE_LIMITS = {"act_bits": 8, "acc_bits": 32}
#: Raised whenever the meaning of an encoding changes; part of every digest.
CONTRACT_VERSION = 3

#: Most channels in one word of the bias and scale memory: what is wider costs block RAM.
PARAM_LANES = 4
#: Addresses of these wrap around, as in a ring.
RINGS = ("act_depth", "weight_depth", "offset_depth", "acc_depth", "param_depth", "out_depth")

LIMITS = {
    "rows": (1, 64), "cols": (1, 64), "band_rows": (1, 64), "band_cols": (1, 64),
    "act_bits": (2, 16), "acc_bits": (8, 40), "scale_terms": (0, MAX_TERMS),
    "act_depth": (2, 65536), "weight_depth": (2, 65536), "acc_depth": (2, 65536),
    "offset_depth": (2, 65536), "out_depth": (2, 65536), "mem_depth": (2, 1 << 24),
    "param_depth": (2, 65536), "instruction_depth": (2, 65536), "vector_lanes": (1, 64),
    "frame_bytes": (32, 1024),
}


class ConfigError(InputError):
    """A parameter set that cannot be built; the message lists every fault."""


@dataclass(frozen=True, kw_only=True)
class AccelConfig:
    """An accelerator. Raises `ConfigError` naming every fault and the nearest legal value."""

    name: str
    rows: int                     # products summed per column and cycle
    cols: int                     # output channels computed side by side
    band_rows: int                # rows from one extra register of the sums to the next
    band_cols: int                # columns that take an activation in the same cycle
    cell: str                     # mac | shift | add | shiftadd
    multiplier: str               # of mac cells: dsp | packed | dual | lut (`array.ArraySpec`)
    act_bits: int                 # width of an activation code, signed
    weight_bits: int              # width of a weight code (`cells.CellSpec`)
    acc_bits: int                 # width of an accumulator, signed
    depthwise: bool               # columns can take activation streams of their own
    residual: bool                # the vector unit can add two tensors
    rounding: str                 # of the requantizer: single | tflite (`numerics.requantize`)
    scale_terms: int              # powers of two in a multiplier; 0: multiply (`scales.Scales`)
    act_depth: int                # activation scratchpad: words of `word_lanes` activations
    weight_depth: int             # weight scratchpad: tiles of `rows` x `cols` weights
    offset_depth: int             # offset memory: words of one address offset per row
    acc_depth: int                # accumulator scratchpad: words of `cols` accumulators
    param_depth: int              # bias and scale memory: words of `param_lanes` channels
    out_depth: int                # output scratchpad: words of `word_lanes` activations
    instruction_depth: int
    mem_depth: int                # behind the memory port: words of `mem_bits`
    vector_lanes: int             # channels that the vector unit finishes per cycle
    activations: tuple[str, ...]  # relu | tanh[:Qi.f:Qi.f] | selu[:Qi.f:Qi.f]
    frame_bytes: int              # longest payload of one frame on the host link

    def __post_init__(self) -> None:
        if faults := self._faults():
            raise ConfigError(f"config {self.name!r}: " + "; ".join(faults))
        object.__setattr__(self, "activations", tuple(self.activations))

    def _faults(self) -> list[str]:
        """Faults of single parameters, then of those that are legal alone but not together."""
        alone = _value_faults(vars(self))
        faults, lanes = list(alone.values()), self.vector_lanes
        if not alone.keys() & {"rows", "cell", "weight_bits", "act_bits", "acc_bits"}:
            need = self.cell_spec.sum_bits(self.act_bits, self.rows)
            if self.acc_bits < need:
                faults.append(f"acc_bits must be in {need}..{LIMITS['acc_bits'][1]} to hold "
                              f"{self.rows} worst-case terms, not {self.acc_bits}; nearest: {need}")
        if self.rounding == "tflite":
            faults += [f"{name} must be at most {most} with tflite rounding, not {value}; "
                       f"nearest: {most}" for name, most in TFLITE_LIMITS.items()
                       if name not in alone and (value := getattr(self, name)) > most]
            if "scale_terms" not in alone and self.scale_terms:
                faults.append("scale_terms must be 0 with tflite rounding, which multiplies, not "
                              f"{self.scale_terms}; nearest: 0")
            if self.cell == "add":      # whose sums are all negative
                faults.append("cell must be mac, shift or shiftadd with tflite rounding, not 'add'")
        if not alone.keys() & {"cell", "weight_bits", "act_bits"}:
            faults += multiplier_faults(self.multiplier, self.cell_spec, self.act_bits)
        if not alone.keys() & {"cell", "weight_bits", "depthwise"}:
            faults += depthwise_faults(self.depthwise, self.multiplier, self.cell_spec)
        if not alone.keys() & {"cell", "weight_bits", "band_cols"}:
            faults += band_faults(self.band_cols, self.multiplier, self.cell_spec)
        if not alone.keys() & {"cols", "vector_lanes"} and lanes > self.word_lanes:
            faults.append(f"vector_lanes must be at most {self.word_lanes} (cols rounded up), "
                          f"not {lanes}; nearest: {self.word_lanes}")
        if not faults and self.frame_bytes < self._widest_word:
            faults.append(f"frame_bytes must be at least {self._widest_word}, the widest memory "
                          f"word, not {self.frame_bytes}; nearest: {self._widest_word}")
        return faults

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], base: "AccelConfig | None" = None,
                     ) -> "AccelConfig":
        """Build from plain values; what is missing comes from ``base``, if one is given."""
        names = [field.name for field in fields(cls)]
        merged = {**(asdict(base) if base else {}), **values}
        unknown, missing = sorted(set(merged) - set(names)), [n for n in names if n not in merged]
        faults = [f"unknown parameter {name!r}" for name in unknown]
        faults += [f"missing parameter {name!r} (or name a preset: base = \"...\")"
                   for name in missing]
        if faults:
            faults.append(f"the parameters are {', '.join(names)}")
            raise ConfigError("; ".join((*faults, *_value_faults(merged).values())))
        return cls(**merged)

    @property
    def _widest_word(self) -> int:
        """Bytes of the longest word on the host link."""
        from accel.spec import link  # which builds on this module
        return max(link.word_bytes(self, space) for space in link.Space)

    @cached_property
    def digest(self) -> str:
        """16 hex digits that every artifact made for this configuration carries."""
        content = {**asdict(self), "name": "", "contract": CONTRACT_VERSION}
        if loose := [spec for spec in self.activation_specs if spec.contract != "exact"]:
            # What these give depends on the circuits. By name: they build on this module.
            table = import_module("accel.circuits.store").truth_table
            content["tables"] = [table(spec, self.act_bits) for spec in loose]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @cached_property
    def cell_spec(self) -> CellSpec:
        """What a weight code means in this array."""
        return CellSpec(self.cell, self.weight_bits)

    @cached_property
    def array(self) -> ArraySpec:
        """The systolic array; a sum inside it has one term from every row."""
        return ArraySpec(rows=self.rows, cols=self.cols, cell=self.cell_spec,
                         act_bits=self.act_bits, terms=self.rows, band_rows=self.band_rows,
                         band_cols=self.band_cols, multiplier=self.multiplier,
                         depthwise=self.depthwise)

    @cached_property
    def scales(self) -> Scales:
        """What requantizers and additions can multiply by."""
        signed = Operation.DISTANCE in self.cell_spec.operations and self.rounding == "single"
        return Scales(self.scale_terms, signed, self.rounding)

    @property
    def row_slots(self) -> int:
        """Address slots of one weight tile on the host link: ``rows`` rounded up to 2**n."""
        return 1 << (self.rows - 1).bit_length()

    @property
    def word_lanes(self) -> int:
        """Activations in one scratchpad word: ``cols`` rounded up to a power of two."""
        return 1 << (self.cols - 1).bit_length()

    @property
    def mem_bits(self) -> int:
        """Bits of a word on the memory port: activations, or one row of a weight tile."""
        widest = max(self.word_lanes * self.act_bits, self.cols * self.weight_bits)
        return -(-widest // 8) * 8

    @property
    def param_lanes(self) -> int:
        """Channels in one word of the bias and scale memory; a lane group takes some of them."""
        return min(self.vector_lanes, PARAM_LANES)

    @property
    def act_elements(self) -> int:
        """Activations that the scratchpad holds."""
        return self.act_depth * self.word_lanes

    @property
    def vector_groups(self) -> int:
        """Steps in which the vector unit finishes one accumulator word."""
        return -(-self.cols // self.vector_lanes)

    @cached_property
    def activation_specs(self) -> tuple[ActivationSpec, ...]:
        """Parsed `activations`, in the order of their selection codes 1, 2, ..."""
        return tuple(ActivationSpec.parse(text, self.act_bits) for text in self.activations)


def _value_faults(values: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with each given parameter by itself, by its name."""
    faults = {name: _range_fault(name, values[name], *allowed)
              for name, allowed in LIMITS.items() if name in values}
    cell, lanes = values.get("cell", "mac"), values.get("vector_lanes", 1)
    if cell not in tuple(WEIGHT_BITS):      # a tuple, as the value may be unhashable
        faults["cell"] = f"cell must be one of {', '.join(WEIGHT_BITS)}, not {cell!r}"
    elif "weight_bits" in values:
        faults["weight_bits"] = _range_fault("weight_bits", values["weight_bits"],
                                             *WEIGHT_BITS[cell])
    if not faults.get("vector_lanes") and lanes & (lanes - 1):
        faults["vector_lanes"] = (f"vector_lanes must be a power of two, not {lanes}; nearest: "
                                  f"{1 << (lanes.bit_length() - 1)}")
    for name in RINGS:
        if not faults.get(name) and (depth := values.get(name, 2)) & (depth - 1):
            faults[name] = (f"{name} must be a power of two, not {depth}; nearest: "
                            f"{1 << (depth.bit_length() - 1)}")
    for name in ("depthwise", "residual"):
        if not isinstance(values.get(name, False), bool):
            faults[name] = f"{name} must be true or false, not {values[name]!r}"
    if values.get("rounding", "single") not in ROUNDINGS:
        faults["rounding"] = (f"rounding must be one of {', '.join(ROUNDINGS)}, not "
                              f"{values['rounding']!r}")
    if not isinstance(values.get("name", ""), str):
        faults["name"] = f"name must be a string, not {values['name']!r}"
    bits = values.get("act_bits", 8) if not faults.get("act_bits") else None
    faults["activations"] = "; ".join(_activation_faults(values.get("activations", ()), bits))
    return {name: fault for name, fault in faults.items() if fault}


def _activation_faults(given: object, bits: int | None) -> list[str]:
    if not isinstance(given, list | tuple) or not all(isinstance(text, str) for text in given):
        return [f"activations must be a list of strings, not {given!r}"]
    functions = [text.split(":")[0] for text in given]
    faults = [f"activation {name!r} is given {functions.count(name)} times; once is enough"
              for name in sorted(set(functions)) if functions.count(name) > 1]
    for text in given if bits else ():      # formats can only be judged for a legal width
        try:
            ActivationSpec.parse(text, bits or 0)
        except ValueError as error:
            faults.append(str(error))
    return faults


def _range_fault(name: str, value: object, low: int, high: int) -> str:
    if not isinstance(value, int) or isinstance(value, bool):
        return f"{name} must be a whole number in {low}..{high}, not {value!r}"
    if low <= value <= high:
        return ""
    return f"{name} must be in {low}..{high}, not {value}; nearest: {max(low, min(high, value))}"


def load_config(path: Path, presets: Mapping[str, AccelConfig]) -> AccelConfig:
    """Read a TOML file: every parameter, or ``base = "PRESET"`` and those that differ.

    Raises `ConfigError` naming the file and every fault.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"cannot read config {path}: {reason}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    base_name = values.pop("base", None)
    if base_name is not None and base_name not in tuple(presets):
        raise ConfigError(f"{path}: base must be one of {', '.join(presets)}, not {base_name!r}")
    values.setdefault("name", path.stem)
    try:
        return AccelConfig.from_mapping(values, presets.get(base_name) if base_name else None)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
