"""Number formats of activations: what real value a code stands for."""
import re
from dataclasses import dataclass
from fractions import Fraction

from accel.spec.errors import InputError

BITS = range(4, 13)
_FIXED = re.compile(r"(U?)Q(\d+)\.(\d+)")
_AFFINE = re.compile(r"(u?)int(\d+)\*([0-9.eE+-]+?)(?:@(-?\d+))?")


class FormatError(InputError):
    """A format that is not known, or that a function's values do not fit."""


@dataclass(frozen=True)
class Format:
    """``value = scale * (code - zero_point)``; codes are two's complement if ``signed``.

    Text: ``Q3.5`` (fixed point, 3 integer bits with the sign and 5 fraction bits: [-4, 4)),
    ``UQ0.8`` (without a sign), ``int8*0.05`` and ``uint8*0.05@12`` (scale and zero point).
    """

    bits: int
    scale: Fraction
    zero_point: int = 0
    signed: bool = True
    text: str = ""

    @classmethod
    def parse(cls, text: str) -> "Format":
        """Read the text form; raises `FormatError`."""
        if match := _FIXED.fullmatch(text):
            integer, fraction = int(match[2]), int(match[3])
            made = cls(integer + fraction, Fraction(1, 1 << fraction), 0, not match[1], text)
            if made.signed and integer < 1:
                raise FormatError(f"format {text!r} needs an integer bit for the sign: "
                                  f"Q1.{integer + fraction - 1}, or UQ{text[1:]} without a sign")
        elif match := _AFFINE.fullmatch(text):
            try:
                scale = Fraction(match[3])
            except ValueError:
                raise FormatError(f"format {text!r}: {match[3]!r} is not a number") from None
            made = cls(int(match[2]), scale, int(match[4] or 0), not match[1], text)
            if scale <= 0:
                raise FormatError(f"format {text!r}: the scale must be more than 0")
        else:
            raise FormatError(f"format must be like Q3.5, UQ0.8, int8*0.05 or uint8*0.05@12, "
                              f"not {text!r}")
        if made.bits not in BITS:
            raise FormatError(f"format {text!r} has {made.bits} bits; {BITS[0]} to {BITS[-1]} are "
                              f"allowed")
        return made

    @property
    def low(self) -> int:
        """Smallest code."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """Largest code."""
        return self.low + (1 << self.bits) - 1

    @property
    def codes(self) -> range:
        """All codes, from the smallest value to the largest."""
        return range(self.low, self.high + 1)

    def value(self, code: int) -> Fraction:
        """What a code stands for."""
        return self.scale * (code - self.zero_point)

    def __str__(self) -> str:
        return self.text
