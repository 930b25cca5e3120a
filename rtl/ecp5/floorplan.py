"""Where an array's DSP slices and its memories lie on the LFE5U-85F.

nextpnr by itself scatters what there is little of, slices and block RAMs, and then hardly finds
routes for a full array. Here the array's rows are cut into as many bands as the device has rows of
DSPs. In a band an array column takes neighbouring slices; the memories of a row of elements lie in
the row of block RAMs below the band, under their columns; the accumulators lie in the last row of
block RAMs. So activations, weights and sums travel short ways.
"""
from typing import NamedTuple

from accel.spec.array import ArraySpec

DEVICE = "LFE5U-85F"
#: Columns of blocks in nextpnr's grid. A block holds 4 DSP slices or, in other rows, 4 RAMs.
COLUMNS = (4, 13, 22, 31, 40, 49, 58, 69, 78, 87, 96, 105, 114)
BLOCK = 4
DSP_ROWS = (10, 34, 58)
DSP_SLICES = (0, 1, 4, 5)
#: Rows of block RAMs: one below each row of DSPs, and the last.
RAM_ROWS, LAST_RAM_ROW = (22, 46, 70), 82
#: Block RAMs of those beside a row's elements that hold weights; the others hold activations.
WEIGHT_RAMS = 2


class Place(NamedTuple):
    """An element's position in an array, and the array's size."""

    row: int
    col: int
    rows: int
    cols: int


def dsp_bel(place: Place, device: str) -> str | None:
    """Location of an array element's DSP slice, or None if the array does not fit the scheme."""
    band = _band(place.rows)
    if device != DEVICE or place.cols * band > len(COLUMNS) * BLOCK:
        return None
    slot = place.col * band + place.row % band
    slice_ = DSP_SLICES[slot % BLOCK]
    return f"X{COLUMNS[slot // BLOCK] + slice_}/Y{DSP_ROWS[place.row // band]}/MULT18_{slice_}"


def weight_bels(spec: ArraySpec, row: int, col: int) -> list[str]:
    """Block RAMs for the weights of `BLOCK` elements of a row, from ``col`` on."""
    return _beside(spec, row, col)[:WEIGHT_RAMS]


def activation_bels(spec: ArraySpec, row: int, col: int) -> list[str]:
    """Block RAMs for the lanes of activations that have the same numbers."""
    return _beside(spec, row, col)[WEIGHT_RAMS:]


def accumulator_bels(spec: ArraySpec, col: int) -> list[str]:
    """Block RAMs for the sums of a column."""
    band = _band(spec.rows)
    if spec.span > 1 or spec.cols * band > len(COLUMNS) * BLOCK:
        return []
    return [_ram_bel(site // BLOCK, site % BLOCK, LAST_RAM_ROW)
            for site in range(col * band, (col + 1) * band)]


def _band(rows: int) -> int:
    """Rows of a band."""
    return -(-rows // len(DSP_ROWS))


def _beside(spec: ArraySpec, row: int, col: int) -> list[str]:
    """The block RAMs under `BLOCK` elements of a row, which has a block of its own for them."""
    band = _band(spec.rows)
    if spec.span > 1 or col >= spec.cols or -(-spec.cols // BLOCK) * band > len(COLUMNS):
        return []
    block = col // BLOCK * band + row % band
    return [_ram_bel(block, site, RAM_ROWS[row // band]) for site in range(BLOCK)]


def _ram_bel(block: int, site: int, row: int) -> str:
    return f"X{COLUMNS[block] + 2 * site}/Y{row}/EBR{site}"
