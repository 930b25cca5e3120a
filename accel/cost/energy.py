"""Energy of one inference: published figures for operations and memories, times what is counted.

Energy of 45 nm at 0.9 V, switching only: no leakage, clock, control, wires or array registers.
A format's figures are never used for another; where one is not published, the sum is not known.
"""
import math
from bisect import bisect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from accel.cost.traffic import Access, Content, Count, Store, Traffic, capacity, traffic
from accel.graph import Graph
from accel.program import Program
from accel.spec.config import AccelConfig

TECHNOLOGY = "45 nm, 0.9 V"
HOROWITZ = ('M. Horowitz, "Computing\'s energy problem (and what we can do about it)", ISSCC 2014, '
            "pp. 10-14, fig. 1.1.9, doi 10.1109/ISSCC.2014.6757323")
SHIFTADD = ('the authors of "ShiftAddNet" (H. You et al., NeurIPS 2020, arXiv 2010.12785) in their '
            "code: github.com/GATECH-EIC/ShiftAddNAS, commit 97594b5, "
            "CV/retraining_hybrid/hw_utils.py, get_unit_energy")
#: What the paper claims, and where.
CLAIM = 0.8
CLAIM_TEXT = ("over 80 % less energy than existing networks, at comparable or better accuracy "
              '(H. You et al., "ShiftAddNet", NeurIPS 2020, abstract; measured on an FPGA)')


@dataclass(frozen=True)
class UnitEnergy:
    """Energy of one operation, as published."""

    operation: str      # multiply | add | shift
    format: str         # FP32 | FP16 | FIX32 | FIX16 | FIX8
    picojoules: float
    source: str
    technology: str = TECHNOLOGY


@dataclass(frozen=True)
class MemoryEnergy:
    """Energy of one access of 64 bits to a memory of so many bytes (None: off the chip)."""

    memory: str
    size: int | None
    picojoules: float
    source: str = HOROWITZ
    technology: str = TECHNOLOGY


#: There is none for multiplying and shifting in FIX16, nor for shifting in FP32: the figures in
#: circulation are their users' own estimates, or could not be found in their source.
UNITS = (
    UnitEnergy("multiply", "FP32", 3.7, HOROWITZ), UnitEnergy("multiply", "FP16", 1.1, HOROWITZ),
    UnitEnergy("multiply", "FIX32", 3.1, HOROWITZ), UnitEnergy("multiply", "FIX8", 0.2, HOROWITZ),
    UnitEnergy("add", "FP32", 0.9, HOROWITZ), UnitEnergy("add", "FP16", 0.4, HOROWITZ),
    UnitEnergy("add", "FIX32", 0.1, HOROWITZ), UnitEnergy("add", "FIX16", 0.05, HOROWITZ),
    UnitEnergy("add", "FIX8", 0.03, HOROWITZ),
    UnitEnergy("shift", "FIX32", 0.13, SHIFTADD, "not stated"),
    UnitEnergy("shift", "FIX8", 0.024, SHIFTADD, "not stated"))
ACCESS_BITS = 64
SRAMS = (MemoryEnergy("SRAM 8 KiB", 8 << 10, 10), MemoryEnergy("SRAM 32 KiB", 32 << 10, 20),
         MemoryEnergy("SRAM 1 MiB", 1 << 20, 100))
#: The low end of 1.3 to 2.6 nJ.
DRAM = MemoryEnergy("DRAM, low end of 1.3 to 2.6 nJ", None, 1300)

#: Number formats and the bits of their operands; sums and scales of FIX formats are FIX32.
FORMATS = {"FP32": 32, "FIX32": 32, "FIX16": 16, "FIX8": 8}
#: What may be behind the memory port.
BEHIND = ("dram", "chip")
#: Operations of one kind: name and format of each, and how many.
Recipe = tuple[tuple[str, str, int], ...]


@dataclass(frozen=True)
class FormatEnergy:
    """Energy of one inference in one number format, in picojoules.

    Members
    -------
    own
        The format in which the configuration computes; any other is a what-if.
    operations
        None: no figure is published for some operation of the kind.
    """

    format: str
    own: bool
    operations: Mapping[Count, float | None]
    memories: Mapping[Store, float]

    @property
    def compute_pj(self) -> float | None:
        """All operations."""
        return _known_sum(self.operations.values())

    @property
    def memory_pj(self) -> float:
        """All memories."""
        return sum(self.memories.values())

    @property
    def total_uj(self) -> float | None:
        """Energy of one inference, in microjoules."""
        return None if self.compute_pj is None else (self.compute_pj + self.memory_pj) / 1e6


@dataclass(frozen=True)
class EnergyReport:
    """Energy of one inference of a program on a configuration, in every number format."""

    network: str
    preset: str
    config_digest: str
    traffic: Traffic
    formats: Mapping[str, FormatEnergy]

    @property
    def own(self) -> FormatEnergy:
        """The format in which the configuration computes."""
        return next(each for each in self.formats.values() if each.own)


def energy_of(program: Program, config: AccelConfig, graph: Graph | None = None,
              behind: str = "dram") -> EnergyReport:
    """Energy of one inference; what is ``behind`` the memory port, see `BEHIND`.

    Operations are those that the network needs (`Traffic.useful`), bits are those that the program
    moves.
    """
    program.check(config)
    counted = traffic(program, config, graph)
    return EnergyReport(program.name, config.name, config.digest, counted, {
        name: _in_format(name, counted, config, behind) for name in FORMATS})


def _in_format(name: str, counted: Traffic, config: AccelConfig, behind: str) -> FormatEnergy:
    energies = {kind: None if (each := recipe_pj(recipe(kind, name, config))) is None
                else each * counted.useful[kind]
                for kind in Count if counted.useful.get(kind) and recipe(kind, name, config)}
    memories = {store: sum(bits * growth(access, name, config) * bit_pj(store, name, config, behind)
                           for access, bits in counted.bits.items() if access.store == store)
                for store in Store}
    return FormatEnergy(name, name == own_format(config), energies, memories)


def own_format(config: AccelConfig) -> str:
    """The narrowest FIX format that holds an activation."""
    return next(name for name in ("FIX8", "FIX16", "FIX32") if FORMATS[name] >= config.act_bits)


# --- operations ---------------------------------------------------------------------------------
def unit_pj(operation: str, form: str) -> float | None:
    """Published energy of an operation; None if there is no figure for the format."""
    return next((unit.picojoules for unit in UNITS
                 if (unit.operation, unit.format) == (operation, form)), None)


def recipe(kind: Count, form: str, config: AccelConfig) -> Recipe:
    """What an operation of the array or the vector unit consists of; empty: is not counted."""
    wide = "FP32" if form == "FP32" else "FIX32"
    if terms := _term(kind, form):
        return terms
    recipes: dict[Count, Recipe] = {
        Count.COMPARISON: (("add", form, 1),),      # it subtracts
        # and the zero point
        Count.REQUANTIZATION: (*_scaling(form, config), ("add", wide, 1)),
        Count.ADDITION: _adds(form, config)}
    return recipes.get(kind, ())


def term_pj(kind: Count, form: str) -> float | None:
    """Energy of a term; None if some figure is not published."""
    return recipe_pj(_term(kind, form))


def _term(kind: Count, form: str) -> Recipe:
    """A term's operation and its addition to a sum of 32 bits.

    The sums in the array, those in its accumulators and the bias are together one addition per
    term. A distance is a subtraction; its sign is inverted by logic that is not counted.
    """
    operation = {Count.MAC: "multiply", Count.SHIFT: "shift", Count.DISTANCE: "add"}.get(kind)
    wide = "FP32" if form == "FP32" else "FIX32"
    return ((operation, form, 1), ("add", wide, 1)) if operation else ()


def _scaling(form: str, config: AccelConfig) -> Recipe:
    """Multiplication by a scale: in FIX formats by a multiplier, then a shift that rounds."""
    if form == "FP32":
        return (("multiply", "FP32", 1),)
    return (*_multiplication(config), ("shift", "FIX32", 1), ("add", "FIX32", 1))


def _multiplication(config: AccelConfig) -> Recipe:
    """By a multiplier, or by a sum of powers of two, the first of which is always the same."""
    terms = config.scale_terms
    if not terms:
        return (("multiply", "FIX32", 1),)
    return (("shift", "FIX32", terms - 1), ("add", "FIX32", terms - 1))


def _adds(form: str, config: AccelConfig) -> Recipe:
    """`numerics.add`; where scales are sums of powers of two, those of summands are powers."""
    if form == "FP32":
        return (("add", "FP32", 1),)
    # both zero points, the sum, the zero point of the sum
    sums: Recipe = (("add", "FIX32", 4),)
    if config.rounding == "tflite":
        return sums + 3 * _scaling(form, config)
    of_summand = "shift" if config.scale_terms else "multiply"
    return (*sums, (of_summand, "FIX32", 2), ("shift", "FIX32", 1), ("add", "FIX32", 1))


def recipe_pj(operations: Recipe) -> float | None:
    """Energy of one operation that consists of these; None if one of them has no figure."""
    return _known_sum(None if (unit := unit_pj(name, form)) is None else unit * count
                      for name, form, count in operations if count)


def _known_sum(values: Iterable[float | None]) -> float | None:
    known = list(values)
    return None if None in known else math.fsum(value for value in known if value is not None)


# --- memories -----------------------------------------------------------------------------------
def growth(access: Access, form: str, config: AccelConfig) -> float:
    """By what the bits are more in ``form``: operands grow; sums, scales and shift codes do not."""
    if form == own_format(config) or access.content is Content.OTHER:
        return 1
    if access.content is Content.WEIGHT and config.cell == "shift":
        return 1
    return FORMATS[form] / config.act_bits


def bit_pj(store: Store, form: str, config: AccelConfig, behind: str) -> float:
    """Energy of a bit that is read or written."""
    if store is Store.PORT and behind == "dram":
        return DRAM.picojoules / ACCESS_BITS
    content = {Store.ACTIVATION: Content.ACTIVATION, Store.OUTPUT: Content.ACTIVATION,
               Store.PORT: Content.ACTIVATION, Store.WEIGHT: Content.WEIGHT}
    wider = growth(Access(store, "read", content.get(store, Content.OTHER)), form, config)
    return sram_pj(capacity(store, config) * wider / 8) / ACCESS_BITS


def sram_pj(size: float) -> float:
    """Energy of 64 bits from a memory of ``size`` bytes.

    Between the published sizes on a straight line of logarithms; below the smallest and above the
    largest as those.
    """
    sizes = [math.log(sram.size or 1) for sram in SRAMS]
    place = min(max(bisect(sizes, math.log(size)), 1), len(SRAMS) - 1)
    low, high = SRAMS[place - 1:place + 1]
    way = (math.log(size) - sizes[place - 1]) / (sizes[place] - sizes[place - 1])
    return float(low.picojoules * (high.picojoules / low.picojoules) ** min(max(way, 0), 1))
