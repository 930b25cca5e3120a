"""Scales that a requantizer can apply, ``multiplier / 2**shift``, and the codes for them.

With ``terms`` 0 it multiplies, and any multiplier is legal. With ``terms`` n it only shifts and
adds: a multiplier is a sum of at most n signed powers of two. Every scale is then within 33 % (1
term), 9.1 % (2) or 2.3 % (3) of a legal one. `numerics.requantize` means the same for all.
"""
import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import numpy.typing as npt

from accel.spec.numerics import (
    ADD_MAX_SHIFT,
    ADD_MULTIPLIER_BITS,
    SHIFT_BITS,
    add_factors,
    fixed_multiplier,
    mean_multiplier,
    multiplier_bits,
)

#: Most terms of a multiplier.
MAX_TERMS = 3
#: The first term is ``2**FRACTION_BITS``; another is that, divided by 2, 4, ... down to 1.
FRACTION_BITS = 7
#: Code of a term: how often it is halved, 0 for none, and above that its sign.
HALVING_BITS = FRACTION_BITS.bit_length()
TERM_BITS = HALVING_BITS + 1
#: Of a summand's power of two (`Scales.encode_summand`): width of its exponent, in bits.
SUMMAND_EXPONENT_BITS = 3


@dataclass(frozen=True)
class Scales:
    """What the requantizers and additions of a configuration can multiply by.

    Parameters
    ----------
    terms
        0: any number of `multiplier_bits` bits; else the most powers of two in a sum, 1 to 3.
    signed
        Multipliers may be negative, as behind sums of distances, which are never positive.
    rounding
        Of the requantizer, as in `numerics.requantize`.
    """

    terms: int
    signed: bool
    rounding: str

    @property
    def magnitude_bits(self) -> int:
        """Width of a multiplier without its sign, in bits."""
        return FRACTION_BITS + 1 if self.terms else multiplier_bits(self.rounding)

    @property
    def code_bits(self) -> int:
        """Width of a multiplier's code, in bits; 0 where there is but one."""
        bits = (self.terms - 1) * TERM_BITS if self.terms else self.magnitude_bits
        return bits + self.signed

    @property
    def summand_bits(self) -> int:
        """Width of the code of what an addition multiplies a summand by, in bits."""
        if self.terms:
            return SUMMAND_EXPONENT_BITS + 1
        return multiplier_bits(self.rounding) if self.rounding == "tflite" else ADD_MULTIPLIER_BITS

    @cached_property
    def codes(self) -> dict[int, int]:
        """Code of every positive multiplier; only where they are sums."""
        found: dict[int, int] = {}
        for terms in product(range(1 << TERM_BITS), repeat=self.terms - 1):
            code = sum(term << (TERM_BITS * place) for place, term in enumerate(terms))
            if 0 < (value := self.decode(code)) < 1 << self.magnitude_bits:
                found.setdefault(value, code)
        return found

    def encode(self, multiplier: int) -> int:
        """Code of ``multiplier``, unsigned; a ``ValueError`` says what there is none for."""
        if fault := self.fault(multiplier):
            raise ValueError(fault)
        code = self.codes[abs(multiplier)] if self.terms else abs(multiplier)
        return code | (multiplier < 0) << (self.code_bits - self.signed)

    def decode(self, code: int) -> int:
        """Multiplier of ``code``, the inverse of `encode`."""
        sign = code >> (self.code_bits - 1) if self.signed else 0
        code &= (1 << (self.code_bits - self.signed)) - 1
        value = self._sum(code) if self.terms else code
        return -value if sign else value

    def fault(self, multiplier: int) -> str:
        """What is wrong with a multiplier; empty if nothing is."""
        if multiplier < 0 and not self.signed:
            return f"multiplier must not be negative in this configuration, as {multiplier} is"
        if not self.terms:
            most = (1 << self.magnitude_bits) - 1
            return ("" if abs(multiplier) <= most else
                    f"multiplier must be in {-most * self.signed}..{most}, not {multiplier}")
        return ("" if abs(multiplier) in self.codes else
                f"multiplier must be a sum of {self.terms} powers of two (scale_terms), the first "
                f"of them 2**{FRACTION_BITS}, not {multiplier}")

    def nearest(self, scale: float) -> tuple[int, int]:
        """Multiplier and shift with the quotient nearest to ``scale``, which may be negative.

        Raises ``ValueError`` for a scale that is out of range, or negative where none may be.
        """
        if scale < 0 and not self.signed:
            raise ValueError(f"a requantizer scale must not be negative, as {scale!r} is")
        if not self.terms:
            multiplier, shift = fixed_multiplier(abs(scale), self.magnitude_bits)
        else:
            multiplier, shift = self._nearest_sum(abs(scale))
        return (-multiplier if scale < 0 else multiplier), shift

    def rounded(self, scales: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The nearest legal scales, of either sign, whatever their range.

        Those that are multiplied by differ by so little that they are left alone.
        """
        if not self.terms:
            return scales
        fractions, exponents = np.frexp(scales)
        known = np.array([fraction for fraction, _, _ in self._octave])
        middles = (known[1:] + known[:-1]) / 2
        legal = known[np.searchsorted(middles, np.abs(fractions))]
        return np.asarray(np.ldexp(np.copysign(legal, fractions), exponents))

    def mean(self, count: int) -> tuple[int, int]:
        """Multiplier and shift that divide a sum by ``count``: exact where it multiplies."""
        return self.nearest(1 / count) if self.terms else mean_multiplier(count, self.rounding)

    def add_factors(self, scales: tuple[float, float], scale: float,
                    ) -> tuple[tuple[int, int], tuple[int, int], int, int]:
        """As `numerics.add_factors`; where multipliers are sums, those of the inputs are powers.

        Raises ``ValueError`` for ratios that are out of range or no powers of two.
        """
        if not self.terms:
            return add_factors(scales, scale, self.rounding)
        exponents = [self._power(source / scale) for source in scales]
        shift = max(1, SUMMAND_EXPONENT_MAX - max(exponents))
        if max(exponents) + shift > SUMMAND_EXPONENT_MAX or shift > ADD_MAX_SHIFT:
            raise ValueError(f"the larger input scale of an addition must be 2**"
                             f"{SUMMAND_EXPONENT_MAX - ADD_MAX_SHIFT} to 2**"
                             f"{SUMMAND_EXPONENT_MAX - 1} of its output's, not {scales} to "
                             f"{scale!r}")
        one, two = (1 << power if (power := exponent + shift) >= 0 else 0
                    for exponent in exponents)
        return (one, two), (0, 0), 1, shift

    def encode_summand(self, multiplier: int) -> int:
        """Code of what an addition multiplies by: where it shifts, a bit on top and an exponent."""
        if not self.terms:
            return multiplier
        if fault := self.summand_fault(multiplier):
            raise ValueError(fault)
        return 1 << SUMMAND_EXPONENT_BITS | (multiplier.bit_length() - 1) if multiplier else 0

    @staticmethod
    def summand_fault(multiplier: int) -> str:
        """What is wrong with what an addition that shifts multiplies by; empty if nothing is."""
        if multiplier in {0, *(1 << power for power in range(SUMMAND_EXPONENT_MAX + 1))}:
            return ""
        return (f"an addition's multipliers must be 0 or a power of two up to "
                f"2**{SUMMAND_EXPONENT_MAX} (scale_terms), not {multiplier}")

    def decode_summand(self, code: int) -> int:
        """The inverse of `encode_summand`."""
        if not self.terms:
            return code
        return (1 << (code & SUMMAND_EXPONENT_MAX)) if code >> SUMMAND_EXPONENT_BITS else 0

    @staticmethod
    def _sum(code: int) -> int:
        """First term and those that ``code`` names."""
        value = 1 << FRACTION_BITS
        while code:
            if halvings := code & ((1 << HALVING_BITS) - 1):
                term = 1 << (FRACTION_BITS - halvings)
                value += -term if code >> HALVING_BITS & 1 else term
            code >>= TERM_BITS
        return value

    @cached_property
    def _octave(self) -> list[tuple[float, int, int]]:
        """Quotients from 1/2 to 1, ascending, each with its multiplier and shift."""
        found = {multiplier / (1 << (shift := multiplier.bit_length())): (multiplier, shift)
                 for multiplier in reversed(self.codes)}    # fewest terms last, which stay
        found[1.0] = 1 << FRACTION_BITS, FRACTION_BITS
        return [(quotient, *found[quotient]) for quotient in sorted(found)]

    def _nearest_sum(self, scale: float) -> tuple[int, int]:
        low, high = FRACTION_BITS - (1 << SHIFT_BITS) + 3, FRACTION_BITS - 1
        if not 2.0 ** low <= scale <= 2.0 ** high:
            raise ValueError(f"a requantizer scale must be in [2**{low}, 2**{high}], not {scale!r}")
        fraction, exponent = math.frexp(scale)
        known = self._octave
        place = bisect_left(known, (fraction,))
        near = known[max(0, place - 1):place + 1]
        _, multiplier, shift = min(near, key=lambda item: abs(item[0] - fraction))
        return multiplier, shift - exponent

    @staticmethod
    def _power(ratio: float) -> int:
        """Exponent of a power of two."""
        if not (power := math.log2(ratio)).is_integer():
            raise ValueError("where scales are sums of powers of two (scale_terms), those of an "
                             f"addition must be powers of two of each other, not {ratio!r}")
        return int(power)


#: Largest exponent of a summand's power of two.
SUMMAND_EXPONENT_MAX = (1 << SUMMAND_EXPONENT_BITS) - 1
