"""Cells, array, activation units and requantizer, on Amaranth's simulator."""
from itertools import pairwise

import pytest

from accel.spec.config import AccelConfig
from sim import pysim, units
from tests.configs import UNITS, WIDE


@pytest.mark.parametrize("check", units.CHECKS, ids=lambda check: check.__name__.strip("_"))
@pytest.mark.parametrize("config", UNITS, ids=lambda config: config.name)
def test_equals_torch(config: AccelConfig, check) -> None:
    assert pysim.mismatches(check(config)) == []


@pytest.mark.parametrize("check", [units._pe, units._requantizer])
def test_sixteen_bits(check) -> None:
    assert pysim.mismatches(check(WIDE)) == []


@pytest.mark.parametrize("config", UNITS[:2], ids=lambda config: config.name)
def test_the_checks_can_fail(config: AccelConfig) -> None:
    """A wrong expectation in any unit is found, where it is."""
    for check in units.checks(config):
        words = next(iter(check.expected.values()))
        cycle = next(i for i, (a, b) in enumerate(pairwise(words)) if None not in {a, b})
        words[cycle] ^= 1
        assert [m[1] for m in pysim.mismatches(check)] == [cycle]
