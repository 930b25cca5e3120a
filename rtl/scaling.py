"""The parts of a lane that scale codes, as the configuration rounds."""
from typing import NamedTuple

from accel.spec.config import AccelConfig
from rtl.adder import Addition
from rtl.requantize import Requantizer
from rtl.tflite import TfliteAddition, TfliteRequantizer


class Scaling(NamedTuple):
    """What scales accumulators, and what scales and adds two activations."""

    requantizer: type[Requantizer]
    addition: type[Addition]


ROUNDINGS = {"single": Scaling(Requantizer, Addition),
             "tflite": Scaling(TfliteRequantizer, TfliteAddition)}


def scaling(config: AccelConfig) -> Scaling:
    """The parts of ``config``."""
    return ROUNDINGS[config.rounding]
