"""The parameters of a systolic array alone: what its gateware, checks and benchmarks need."""
from dataclasses import dataclass
from functools import cached_property

from accel.spec.cells import WEIGHT_BITS, CellSpec
from accel.spec.errors import InputError

#: How ``mac`` cells multiply, and the widest activation and weight that the way can take.
MULTIPLIERS = {"dsp": (16, 16), "packed": (16, 9), "dual": (8, 8), "lut": (16, 16)}
#: Ways in which one block makes the products of two columns.
PAIRED = ("packed", "dual")


class ArrayError(InputError):
    """An array that cannot be built; the message lists every fault."""


@dataclass(frozen=True, kw_only=True)
class ArraySpec:
    """An array of ``rows`` x ``cols`` cells. Raises `ArrayError` naming every fault.

    Parameters
    ----------
    cell
        Kind and weight width of every cell.
    act_bits
        Width of an activation, in bits.
    terms
        Terms of a sum that must not overflow it; at least ``rows``.
    multiplier
        How ``mac`` cells multiply. ``dsp``: one 18-bit DSP slice each. ``packed``: two columns
        share an 18-bit slice. ``dual``: two columns share a DSP block that has two 8-bit halves
        (iCE40's). ``lut``: in carry chains. Other cells do not multiply.
    band_rows
        Rows from one register in the way of the sums to the next: a device whose DSP slices lie
        in few rows far apart needs time to cross. ``rows`` for none.
    band_cols
        Columns that take an activation in the same cycle, a multiple of `span` or 1. More of them
        save cycles on the way through the array and cost fan-out.
    depthwise
        Elements can take activations of their own instead of those that come from the left.
    """

    rows: int
    cols: int
    cell: CellSpec
    act_bits: int
    terms: int
    band_rows: int
    band_cols: int = 1
    multiplier: str = "dsp"
    depthwise: bool = False

    def __post_init__(self) -> None:
        faults = [f"{name} must be at least {least}, not {value!r}" for name, value, least in (
            ("rows", self.rows, 1), ("cols", self.cols, 1), ("act_bits", self.act_bits, 2),
            ("terms", self.terms, self.rows), ("band_rows", self.band_rows, 1),
            ("band_cols", self.band_cols, 1)) if value < least]
        low, high = WEIGHT_BITS[self.cell.kind]
        if not low <= self.cell.weight_bits <= high:
            faults.append(f"weight_bits of a {self.cell.kind} cell must be in {low}..{high}, "
                          f"not {self.cell.weight_bits}")
        faults += multiplier_faults(self.multiplier, self.cell, self.act_bits)
        faults += depthwise_faults(self.depthwise, self.multiplier, self.cell)
        faults += band_faults(self.band_cols, self.multiplier, self.cell)
        if faults:
            raise ArrayError("array: " + "; ".join(faults))

    @cached_property
    def sum_bits(self) -> int:
        """Width of a sum, in bits; ``terms`` worst-case terms cannot overflow it."""
        return self.cell.sum_bits(self.act_bits, self.terms)

    @property
    def switched(self) -> bool:
        """Whether the operation is chosen at run time."""
        return len(self.cell.operations) > 1

    @property
    def span(self) -> int:
        """Columns that one element computes."""
        return span_of(self.multiplier, self.cell)

    def row_step(self, row: int) -> int:
        """Cycles by which ``row`` is behind the row above."""
        return 2 if row % self.band_rows == 0 else 1

    def row_delay(self, row: int) -> int:
        """Cycles by which ``row`` is behind row 0."""
        return row + row // self.band_rows

    def col_delay(self, col: int) -> int:
        """Cycles by which the sums of ``col`` are behind those of column 0."""
        return col // self.band_cols

    def x_delay(self, col: int) -> int:
        """Cycles by which the element of ``col`` takes an activation after that of column 0."""
        return (col - col % self.span) // self.band_cols


def span_of(multiplier: object, cell: CellSpec) -> int:
    """Columns that one element computes."""
    return 2 if cell.kind == "mac" and multiplier in PAIRED else 1


def depthwise_faults(depthwise: bool, multiplier: object, cell: CellSpec) -> list[str]:
    """What is wrong with activations of each element's own: those of two columns share one."""
    if not depthwise or span_of(multiplier, cell) == 1:
        return []
    return [f"depthwise must be false with multiplier {multiplier!r}"]


def band_faults(band_cols: int, multiplier: object, cell: CellSpec) -> list[str]:
    """What is wrong with this many columns in a band: an element is in one."""
    span = span_of(multiplier, cell)
    if band_cols <= 1 or band_cols % span == 0:
        return []
    fault = f"band_cols must be 1 or a multiple of {span} with multiplier {multiplier!r}"
    return [f"{fault}, not {band_cols}; nearest: {band_cols + 1}"]


def multiplier_faults(multiplier: object, cell: CellSpec, act_bits: int) -> list[str]:
    """What is wrong with a way to multiply, for this cell and activation width."""
    if multiplier not in tuple(MULTIPLIERS):
        return [f"multiplier must be one of {', '.join(MULTIPLIERS)}, not {multiplier!r}"]
    if cell.kind != "mac":
        return []
    limits = MULTIPLIERS[str(multiplier)]
    return [f"{name} must be at most {limit} with multiplier {multiplier!r}, not {value}; nearest: "
            f"{limit}" for name, value, limit in (
                ("act_bits", act_bits, limits[0]), ("weight_bits", cell.weight_bits, limits[1]))
            if value > limit]
