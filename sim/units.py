"""The checkable units of a configuration."""
from collections.abc import Callable, Iterator

from accel.spec.array import ArraySpec
from accel.spec.config import AccelConfig
from sim.array_checks import array_check, pe_check
from sim.check import UnitCheck
from sim.lane_checks import activation_check, lane_check, requantizer_check

ARRAY_CHECKS: tuple[Callable[[ArraySpec], UnitCheck], ...] = (pe_check, array_check)
LANE_CHECKS: tuple[Callable[[AccelConfig], UnitCheck], ...] = (
    activation_check, requantizer_check, lane_check)


def checks(config: AccelConfig) -> Iterator[UnitCheck]:
    """All units of a configuration."""
    for make in ARRAY_CHECKS:
        yield make(config.array)
    for make_lane in LANE_CHECKS:
        yield make_lane(config)
