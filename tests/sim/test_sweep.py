"""The arrays of `make sim`: which there are, and that one which differs is noticed."""
from dataclasses import replace

import pytest

from accel.spec.cells import OPERATIONS
from rtl.array import SystolicArray
from sim import sweep


def test_every_kind_at_every_size_and_many_widths() -> None:
    found = list(sweep.sweeps())
    for rows, cols in sweep.SIZES:
        kinds = {spec.cell.kind for each in found for spec in each.specs
                 if (spec.rows, spec.cols) == (rows, cols) and each.platform is None}
        assert kinds == set(OPERATIONS)
    widths = next(each for each in found if "widths" in each.name).specs
    assert {spec.act_bits for spec in widths} == set(sweep.WIDTHS)
    assert {spec.cell.weight_bits for spec in widths if spec.cell.kind == "mac"} == set(
        range(2, 17))
    assert {spec.multiplier for each in found for spec in each.specs if each.platform} == {
        "dsp", "packed", "dual", "lut"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_small_arrays_equal_torch(number: int) -> None:
    outcome = list(sweep.sweeps())[number].run()
    assert outcome.mismatches == 0
    assert outcome.compared > 1000


@pytest.mark.slow
def test_another_array_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vendor primitives that are a cycle late, or a wrong latency: every array is wrong."""
    right = SystolicArray.latency_of
    monkeypatch.setattr(SystolicArray, "latency_of", staticmethod(lambda spec: right(spec) + 1))
    first = next(sweep.sweeps())
    outcome = replace(first, specs=first.specs[:2]).run()
    assert outcome.mismatches > 100
    assert "u0_sums" in outcome.first
