"""The kinds of processing element: what a weight code means and how large a term can be.

A cell computes ``sum + term(x, w)``. Everything that differs between kinds stands in one
`CellSpec`; quantizer, compiler, emulator and gateware ask it and never test the name.
"""
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class CellSpec:
    """One cell kind at one weight width.

    Parameters
    ----------
    kind
        ``mac`` (``x * w``) or ``shift`` (``±(x << p)``, DeepShift's weight set).
    weight_bits
        Width of a weight code, in bits.
    """

    kind: str
    weight_bits: int

    @property
    def max_exponent(self) -> int:
        """Largest ``p`` of a shift weight ``±2**p``; the code holds it below sign and nonzero."""
        return (1 << (self.weight_bits - 2)) - 1

    @cached_property
    def weights(self) -> tuple[int, ...]:
        """Every integer weight that has a code, ascending."""
        if self.kind == "mac":
            half = 1 << (self.weight_bits - 1)
            return tuple(range(-half, half))
        powers = [1 << p for p in range(self.max_exponent + 1)]
        return (*(-power for power in reversed(powers)), 0, *powers)

    def encode(self, weight: int) -> int:
        """Weight code, unsigned; a ``ValueError`` names a weight that has none.

        ``mac``: two's complement. ``shift``, from the top bit: negative, nonzero, exponent.
        """
        if weight not in self._codes:
            raise ValueError(f"a {self.kind} weight of {self.weight_bits} bits cannot be {weight}")
        return self._codes[weight]

    def decode(self, code: int) -> int:
        """Weight of ``code``; the inverse of `encode` (unused shift codes are zero)."""
        if self.kind == "mac":
            return code - ((code >> (self.weight_bits - 1)) << self.weight_bits)
        negative, nonzero = code >> (self.weight_bits - 1), (code >> (self.weight_bits - 2)) & 1
        power = nonzero << (code & self.max_exponent)
        return -power if negative else power

    def max_term(self, act_bits: int) -> int:
        """Largest magnitude of one term, for activations of ``act_bits`` bits."""
        return max(-self.weights[0], self.weights[-1]) << (act_bits - 1)

    def sum_bits(self, act_bits: int, terms: int) -> int:
        """Signed width that the sum of ``terms`` worst-case terms cannot overflow, in bits."""
        return (self.max_term(act_bits) * terms).bit_length() + 1

    @cached_property
    def _codes(self) -> dict[int, int]:
        if self.kind == "mac":
            return {weight: weight % (1 << self.weight_bits) for weight in self.weights}
        nonzero, negative = 1 << (self.weight_bits - 2), 1 << (self.weight_bits - 1)
        return {weight: 0 if weight == 0 else
                (abs(weight).bit_length() - 1) | nonzero | (negative if weight < 0 else 0)
                for weight in self.weights}


#: Legal weight widths of each kind, in bits.
WEIGHT_BITS = {"mac": (2, 16), "shift": (3, 6)}
