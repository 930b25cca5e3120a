"""What a board offers."""
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from boards.devices import Device


@dataclass(frozen=True, kw_only=True)
class BoardSpec:
    """A board as plain data; its pins stand in the platform class.

    Parameters
    ----------
    platform
        Platform class as ``module:class``.
    device
        The device on it, with its capacity and limits.
    preset
        Configuration that is built when none is named.
    clock_resource, clock_input_mhz
        Oscillator and its frequency.
    clock_mhz
        Target of the accelerator's clock; a build that is slower fails.
    uart_resource, baud
        Serial port of the host link and its bit rate, 8N1.
    reset
        Button that resets the accelerator: resource and number.
    leds
        Resource of the lights: number 0 blinks, number 1 shows traffic on the link.
    """

    name: str
    platform: str
    device: Device
    preset: str
    clock_resource: str
    clock_input_mhz: float
    clock_mhz: float
    uart_resource: str
    baud: int
    reset: tuple[str, int] | None
    leds: str

    def make_platform(self) -> Any:
        """Fresh platform object; Amaranth builds each only once."""
        module, _, name = self.platform.partition(":")
        return getattr(import_module(module), name)()
