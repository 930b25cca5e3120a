"""A network of LUTs with up to four inputs, and how to build one."""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WIDTH = 4


@dataclass(frozen=True)
class Lut:
    """Bit ``i`` of ``truth`` is the value where the fanins spell ``i``, first fanin lowest."""

    fanins: tuple[int, ...]
    truth: int


@dataclass(frozen=True)
class Network:
    """LUTs in topological order. Signals: the inputs, then the LUTs, from 0.

    Members
    -------
    inputs
        How many; input ``i`` is bit ``i`` of the code.
    outputs
        Signal of each bit of the output code, lowest first.
    """

    inputs: int
    luts: tuple[Lut, ...]
    outputs: tuple[int, ...]

    @property
    def lut4(self) -> int:
        """LUTs; constants are none."""
        return sum(bool(lut.fanins) for lut in self.luts)

    @property
    def signal_levels(self) -> list[int]:
        """Of each signal the LUTs on the longest way to it; an input and a constant have none."""
        level = [0] * self.inputs
        for lut in self.luts:
            level.append(1 + max((level[fanin] for fanin in lut.fanins), default=-1))
        return level

    @property
    def levels(self) -> int:
        """LUTs on the longest way from an input to an output."""
        level = self.signal_levels
        return max((level[output] for output in self.outputs), default=0)

    @property
    def gates(self) -> int:
        """NAND2 equivalents of LUTs of at most two inputs: an exclusive or counts as two."""
        return sum(2 if lut.truth in (0b0110, 0b1001) else 1 for lut in self.luts
                   if len(lut.fanins) == 2)

    def narrowed(self) -> "Network":
        """The same function of LUTs with two inputs."""
        builder = Builder(self.inputs)
        signals = [*builder.inputs]
        for lut in self.luts:
            signals.append(builder.narrow(lut.truth, [signals[fanin] for fanin in lut.fanins]))
        return builder.network([signals[output] for output in self.outputs])

    def evaluate(self, code: int) -> int:
        """Output bits for the input code ``code`` taken as unsigned."""
        bits = [code >> i & 1 for i in range(self.inputs)]
        for lut in self.luts:
            index = sum(bits[fanin] << k for k, fanin in enumerate(lut.fanins))
            bits.append(lut.truth >> index & 1)
        return sum(bits[output] << b for b, output in enumerate(self.outputs))

    def table(self) -> tuple[int, ...]:
        """Output bits for every input code taken as unsigned."""
        return tuple(self.evaluate(code) for code in range(1 << self.inputs))

    def record(self) -> dict[str, Any]:
        """As plain values, for `from_record`."""
        return {"inputs": self.inputs, "outputs": list(self.outputs),
                "luts": " ".join(".".join(map(str, [*lut.fanins, f"{lut.truth:x}"]))
                                 for lut in self.luts)}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "Network":
        """The network of `record`."""
        luts = []
        for text in record["luts"].split():
            *fanins, truth = text.split(".")
            luts.append(Lut(tuple(map(int, fanins)), int(truth, 16)))
        return cls(record["inputs"], tuple(luts), tuple(record["outputs"]))


class Builder:
    """Builds a `Network`; equal LUTs are made once."""

    def __init__(self, inputs: int) -> None:
        self.inputs = list(range(inputs))
        self._luts: list[Lut] = []
        self._known: dict[Lut, int] = {}
        self._functions: dict[tuple[int, tuple[int, ...]], int] = {}

    def lut(self, truth: int, fanins: Sequence[int]) -> int:
        """Signal of a LUT."""
        lut = Lut(tuple(fanins), truth)
        if lut not in self._known:
            self._known[lut] = len(self.inputs) + len(self._luts)
            self._luts.append(lut)
        return self._known[lut]

    def function(self, truth: int, signals: tuple[int, ...]) -> int:
        """Signal of a function of any number of signals: LUTs behind a tree of multiplexers."""
        if (truth, signals) not in self._functions:
            half = 1 << len(signals) >> 1
            upper, lower = truth >> half, truth & ((1 << half) - 1)
            if len(signals) and upper == lower:
                made = self.function(lower, signals[:-1])
            elif len(signals) <= WIDTH:
                made = self.lut(truth, signals)
            else:
                made = self.lut(0b11001010, (self.function(lower, signals[:-1]),
                                             self.function(upper, signals[:-1]), signals[-1]))
            self._functions[truth, signals] = made
        return self._functions[truth, signals]

    def narrow(self, truth: int, signals: Sequence[int]) -> int:
        """Signal of a function in LUTs of two inputs."""
        if len(signals) <= 2:
            return self.lut(truth, signals)
        half = 1 << len(signals) >> 1
        low, high = (self.narrow(part, signals[:-1])
                     for part in (truth & ((1 << half) - 1), truth >> half))
        if low == high:
            return low
        return self.either(self.lut(0b0010, (low, signals[-1])),
                           self.lut(0b1000, (high, signals[-1])))

    def table(self, words: Sequence[int], signals: Sequence[int], width: int) -> list[int]:
        """Signals of the bits of a table that ``signals`` address, lowest first."""
        return [self.function(sum((word >> bit & 1) << place for place, word in enumerate(words)),
                              tuple(signals)) for bit in range(width)]

    def xor(self, a: int, b: int) -> int:
        """``a ^ b``."""
        return self.lut(0b0110, (a, b))

    def constant(self, value: int) -> int:
        """0 or 1."""
        return self.lut(value, ())

    def both(self, a: int, set_: int) -> int:
        """``a`` if ``set_``, else 0."""
        return a if set_ else self.constant(0)

    def either(self, a: int, b: int) -> int:
        """``a | b``."""
        return self.lut(0b1110, (a, b))

    def add(self, a: Sequence[int], b: Sequence[int]) -> list[int]:
        """Bits of the sum modulo ``2**len(a)``; ``b`` is as long as ``a``."""
        total, carry = [], self.lut(0, ())
        for x, y in zip(a, b, strict=True):
            total.append(self.lut(0b10010110, (x, y, carry)))
            carry = self.lut(0b11101000, (x, y, carry))
        return total

    def network(self, outputs: Sequence[int]) -> Network:
        """Everything built so far; what no output needs stays in it."""
        return Network(len(self.inputs), tuple(self._luts), tuple(outputs))
