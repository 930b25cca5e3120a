"""Options that several reports share."""
import argparse

from accel.spec.errors import InputError
from accel.spec.presets import ACTIVATIONS_HELP, PRESETS

#: What ``--preset`` stands for unless it is given.
DEFAULT_PRESET = "ecp5"


class OptionError(InputError):
    """An option's value that cannot be used."""


def add_config(parser: argparse.ArgumentParser) -> None:
    """Options of a report about one configuration."""
    parser.add_argument("--preset", default=DEFAULT_PRESET,
                        help=f"{', '.join(PRESETS)}; default {DEFAULT_PRESET}")
    parser.add_argument("--config", metavar="FILE.toml", help="instead of a preset")
    parser.add_argument("--activations", metavar="LIST", help=ACTIVATIONS_HELP)


def at_least(name: str, least: int, value: int) -> None:
    """Raise `OptionError` if option ``name`` is smaller than ``least``."""
    if value < least:
        raise OptionError(f"{name} must be at least {least}, not {value}")


def positive(name: str, value: float) -> None:
    """Raise `OptionError` if option ``name`` is not a number above 0."""
    if not value > 0:
        raise OptionError(f"{name} must be more than 0, not {value:g}")
