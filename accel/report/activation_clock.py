"""The clock that an activation circuit allows between registers, after place and route."""
from collections.abc import Callable
from importlib import import_module
from statistics import median_low
from typing import Any

from accel.circuits.network import Network
from boards.devices import ECP5
from boards.implement import place_and_route, synthesise

SEEDS = (1, 2, 3, 4)
#: Asked of nextpnr: more than can be had, so that it does not rest.
TARGET_MHZ = 500.0


def clock(network: Network, *, timeout_s: float = 3600,
          advance: Callable[[], object] = lambda: None) -> dict[str, Any]:
    """Median (the lower of the two in the middle) of `SEEDS` on the ECP5, in MHz, and all of them.

    The circuit stands alone between registers of its own, in the harness of the timing report.
    """
    # By name and late: Amaranth takes a second to load, and is untyped to mypy.
    emit, harness = import_module("rtl.emit"), import_module("rtl.harness")
    unit = import_module("rtl.registered").Registered(
        import_module("rtl.activation").LutFunction(network))
    target = import_module("rtl.ecp5.target").Ecp5Target()
    text = str(emit.rtlil_text(harness.Harness(unit), "top", target))
    design = synthesise(text, ECP5, timeout_s=timeout_s, quiet=True)
    found = []
    for seed in SEEDS:
        found.append(place_and_route(design, target_mhz=TARGET_MHZ, seed=seed,
                                     timeout_s=timeout_s, quiet=True)["fmax_mhz"])
        advance()
    return {"clock_mhz": median_low(found), "clocks_mhz": found, "clock_part": ECP5.part}
