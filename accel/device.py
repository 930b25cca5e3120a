"""The one seam behind which a program runs: emulator, RTL simulation or board."""
from collections.abc import Mapping
from importlib import import_module
from typing import Protocol

import numpy as np
import numpy.typing as npt

from accel.program import Layout, Program
from accel.spec.config import AccelConfig

IntArray = npt.NDArray[np.int64]


class DeviceError(RuntimeError):
    """A device that answered with a fault, or not at all."""


class Device(Protocol):
    """Runs programs of one configuration."""

    counters: Mapping[str, int]   # of the last image: cycles, and each unit's busy and stall

    def load(self, program: Program) -> None:
        """Make ``program`` the one to run; `program.ProgramError` if it is for another config."""

    def run(self, codes: IntArray) -> IntArray:
        """Run images one by one: codes ``(n, c, h, w)`` to output codes ``(n, c, h, w)``."""

    def read(self, tensor: str) -> IntArray:
        """Codes of a stored tensor as the last run left it."""


def rtl_device(config: AccelConfig) -> Device:
    """The RTL in Verilator; `DeviceError` if that cannot be had."""
    # By name and late: what simulates the RTL knows this package, and not the other way round.
    native, verilator = import_module("sim.native"), import_module("sim.verilator")
    try:
        device: Device = native.NativeDevice(config)
    # no g++, no Verilator
    except (OSError, verilator.SimulatorError) as error:
        raise DeviceError(f"cannot simulate the RTL: {error}") from None
    return device


def input_elements(layout: Layout, codes: IntArray) -> IntArray:
    """The ``layout.size`` elements from ``layout.start`` on that hold an image ``(c, h, w)``."""
    if codes.shape != layout.shape:
        raise DeviceError(f"an image must have shape {layout.shape}, not {codes.shape}")
    elements: IntArray = np.full(layout.size, layout.zero_point, np.int64)
    elements[layout.addresses() - layout.start] = codes
    return elements
