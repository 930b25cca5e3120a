"""The worst case of every cell: all terms of the largest magnitude, for as long as it takes."""
import itertools

import pytest

from accel.spec.array import ArraySpec
from accel.spec.cells import CellSpec, Operation
from accel.spec.numerics import limits
from rtl.array import SystolicArray
from sim import pysim
from sim.check import UnitCheck

CELLS = [("mac", "dsp", 8, 8), ("mac", "packed", 8, 8), ("mac", "dual", 8, 8), ("mac", "lut", 8, 8),
         ("mac", "packed", 8, 4), ("mac", "dsp", 16, 16), ("shift", "dsp", 8, 5),
         ("shift", "dsp", 8, 6), ("add", "dsp", 8, 9), ("add", "dsp", 16, 17),
         ("shiftadd", "dsp", 8, 9)]


def settled(spec: ArraySpec, operation: Operation, x: int, weight: int) -> UnitCheck:
    """Every element holds ``weight`` and sees ``x``: what every column then shows."""
    cycles = SystolicArray.latency_of(spec) + spec.cols + 4
    code = spec.cell.encode(weight, operation)
    total = spec.rows * spec.cell.term(x, code, operation)
    cells = spec.rows * spec.cols

    def lanes(value: int, bits: int, count: int) -> int:
        return sum((value % (1 << bits)) << (bits * lane) for lane in range(count))

    inputs = {
        "x": [lanes(x, spec.act_bits, spec.rows)] * cycles,
        "swap": [lanes(1, 1, spec.rows)] * cycles,
        "w": [lanes(code, spec.cell.weight_bits, cells)] * cycles}
    if spec.switched:
        inputs["distance"] = [lanes(int(operation), 1, spec.rows)] * cycles
    seen = [None] * (cycles - 2) + [lanes(total, spec.sum_bits, spec.cols)] * 2
    return UnitCheck("worst case", SystolicArray(spec), inputs, {"sums": seen})


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: " ".join(map(str, cell)))
@pytest.mark.parametrize("rows", [1, 4, 5])
def test_sums_of_the_largest_terms_are_exact(cell: tuple[str, str, int, int], rows: int) -> None:
    kind, multiplier, act_bits, weight_bits = cell
    spec = ArraySpec(rows=rows, cols=2, cell=CellSpec(kind, weight_bits), act_bits=act_bits,
                     terms=rows, band_rows=2, multiplier=multiplier)
    largest = 0
    for operation in spec.cell.operations:
        weights = spec.cell.weights_of(operation)
        for x, weight in itertools.product(limits(act_bits), (weights[0], weights[-1])):
            term = spec.cell.term(x, spec.cell.encode(weight, operation), operation)
            largest = max(largest, abs(rows * term))
            assert pysim.mismatches(settled(spec, operation, x, weight)) == []
    assert largest == rows * spec.cell.max_term(act_bits)
    assert 1 << (spec.sum_bits - 2) <= largest < 1 << (spec.sum_bits - 1)
