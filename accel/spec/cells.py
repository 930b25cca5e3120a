"""The kinds of processing element: what a weight code means and how large a term can be.

A cell computes ``sum + term(x, w)``. Everything that differs between kinds stands in one
`CellSpec`; quantizer, compiler, emulator and gateware ask it and never test the name.

Terms are exact. A shift weight is ``±2**p`` with ``p`` from 0 up, whatever power of two it stands
for in the network: the smallest one of a layer becomes 1, and a sum has as many guard bits as
exponents differ. (DeepShift's own integer kernel shifts right and floors each term instead; its
layers, which do not, are what is computed here.) A distance has one bit more than its operands.
"""
from dataclasses import dataclass
from enum import IntEnum
from functools import cache, cached_property


class Operation(IntEnum):
    """What a term is: ``x * w``, or ``-|x - w|`` (ShiftAddNet's add layer, AdderNet's kernel)."""

    PRODUCT = 0
    DISTANCE = 1


OPERATIONS = {"mac": (Operation.PRODUCT,), "shift": (Operation.PRODUCT,),
              "add": (Operation.DISTANCE,), "shiftadd": (Operation.PRODUCT, Operation.DISTANCE)}
#: Legal weight widths of each kind, in bits.
WEIGHT_BITS = {"mac": (2, 16), "shift": (3, 6), "add": (3, 17), "shiftadd": (5, 17)}
#: Width of a shift weight's exponent in a ``shiftadd`` cell, whose codes have room for more.
SHIFTADD_EXPONENT_BITS = 3
#: Code of a weight whose term is zero whatever ``x`` is: what an element without a tap holds.
OFF = 0


def cells_for(operation: Operation) -> tuple[str, ...]:
    """The kinds of cell that compute ``operation``."""
    return tuple(kind for kind, operations in OPERATIONS.items() if operation in operations)


@dataclass(frozen=True)
class CellSpec:
    """One cell kind at one weight width.

    Parameters
    ----------
    kind
        ``mac`` (``x * w``), ``shift`` (``±(x << p)``, DeepShift's weight set), ``add``
        (``-|x - w|``) or ``shiftadd`` (either of the two, chosen at run time).
    weight_bits
        Width of a weight code, in bits. ``mac``: the weight in two's complement. Others: the top
        bit says that the weight counts; below it the weight of a distance in two's complement, or
        the sign and the exponent of a shift, right-aligned.
    """

    kind: str
    weight_bits: int

    @property
    def operations(self) -> tuple[Operation, ...]:
        """What the cell can compute; the first one is what it does unless told otherwise."""
        return OPERATIONS[self.kind]

    @property
    def exponent_bits(self) -> int:
        """Width of a shift weight's exponent, in bits."""
        return SHIFTADD_EXPONENT_BITS if self.kind == "shiftadd" else self.weight_bits - 2

    @property
    def max_exponent(self) -> int:
        """Largest ``p`` of a shift weight ``±2**p``."""
        return (1 << self.exponent_bits) - 1

    @cached_property
    def weights(self) -> tuple[int, ...]:
        """Every integer weight of the first operation, ascending."""
        return self.weights_of(self.operations[0])

    def weights_of(self, operation: Operation) -> tuple[int, ...]:
        """Every integer weight that has a code under ``operation``, ascending."""
        return _weights(self, self._checked(operation))

    def encode(self, weight: int, operation: Operation | None = None) -> int:
        """Weight code, unsigned; a ``ValueError`` names a weight that has none.

        ``operation`` is the cell's first unless given. `OFF` is nobody's code but a product's zero.
        """
        operation = self._checked(operation)
        codes = _codes(self, operation)
        if weight not in codes:
            raise ValueError(f"a {self.kind} weight of {self.weight_bits} bits cannot be {weight}"
                             f" under {operation.name}")
        return codes[weight]

    def decode(self, code: int, operation: Operation | None = None) -> int | None:
        """Weight of ``code``, the inverse of `encode`; None where a distance does not count.

        Codes that `encode` never gives mean what the gateware makes of them.
        """
        operation, top = self._checked(operation), 1 << (self.weight_bits - 1)
        if self.kind == "mac":
            return (code ^ top) - top
        if operation is Operation.DISTANCE:
            sign = top >> 1
            return (code & (top - 1) ^ sign) - sign if code & top else None
        if not code & top:
            return 0
        power = 1 << (code & self.max_exponent)
        return -power if code >> self.exponent_bits & 1 else power

    def term(self, x: int, code: int, operation: Operation | None = None) -> int:
        """What an element adds for activation ``x``."""
        weight = self.decode(code, operation)
        if weight is None:
            return 0
        return -abs(x - weight) if self._checked(operation) is Operation.DISTANCE else x * weight

    def max_term(self, act_bits: int) -> int:
        """Largest magnitude of one term, for activations of ``act_bits`` bits."""
        lowest, largest = 1 << (act_bits - 1), 0    # the magnitude of the lowest activation
        for operation in self.operations:
            low, *_, high = self.weights_of(operation)
            largest = max(largest, max(lowest + high, lowest - 1 - low)
                          if operation is Operation.DISTANCE else lowest * max(-low, high))
        return largest

    def sum_bits(self, act_bits: int, terms: int) -> int:
        """Signed width that the sum of ``terms`` worst-case terms cannot overflow, in bits."""
        return (self.max_term(act_bits) * terms).bit_length() + 1

    def _checked(self, operation: Operation | None) -> Operation:
        if operation is None:
            return self.operations[0]
        if operation not in self.operations:
            raise ValueError(f"a {self.kind} cell computes "
                             f"{', '.join(known.name for known in self.operations)}, "
                             f"not {operation.name}")
        return operation


@cache
def _weights(cell: CellSpec, operation: Operation) -> tuple[int, ...]:
    if operation is Operation.DISTANCE or cell.kind == "mac":
        bits = cell.weight_bits - (operation is Operation.DISTANCE)
        half = 1 << (bits - 1)
        return tuple(range(-half, half))
    powers = [1 << p for p in range(cell.max_exponent + 1)]
    return (*(-power for power in reversed(powers)), 0, *powers)


@cache
def _codes(cell: CellSpec, operation: Operation) -> dict[int, int]:
    weights, on = _weights(cell, operation), 1 << (cell.weight_bits - 1)
    if cell.kind == "mac":
        return {weight: weight % (2 * on) for weight in weights}
    if operation is Operation.DISTANCE:
        return {weight: on | weight % on for weight in weights}
    return {weight: OFF if weight == 0 else on | (weight < 0) << cell.exponent_bits
            | (abs(weight).bit_length() - 1) for weight in weights}
