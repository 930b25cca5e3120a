"""A check of a component: stimuli, and what must come out.

Stimuli begin with the extremes (all lowest, all highest, alternating) and go on at random with a
fixed seed. Words are unsigned, as ports carry them.
"""
from dataclasses import dataclass
from typing import Any

import torch
from amaranth.lib import wiring

Words = list[int]
Expected = list[int | None]


@dataclass(frozen=True)
class UnitCheck:
    """One run of the bench `sim.hdl.vectors`."""

    name: str
    component: wiring.Component
    inputs: dict[str, Words]
    expected: dict[str, Expected]

    @property
    def job(self) -> dict[str, Any]:
        """The bench's job."""
        return {"name": self.name, "inputs": self.inputs, "expected": self.expected}


def extremes(low: int, high: int, count: int, generator: torch.Generator) -> torch.Tensor:
    """``count`` numbers: runs of the lowest, the highest, the two in turn, then random ones."""
    run = count // 8
    alternating = torch.tensor([low, high]).repeat(run // 2 + 1)[:run]
    rest = torch.randint(low, high + 1, (count - 3 * run,), generator=generator)
    return torch.cat([torch.full((run,), low), torch.full((run,), high), alternating, rest])


def flags(count: int, generator: torch.Generator) -> torch.Tensor:
    """Random bits."""
    return (torch.rand(count, generator=generator) < 0.5).long()


def unsigned(values: torch.Tensor, bits: int) -> Words:
    words: Words = (values % (1 << bits)).tolist()
    return words


def delayed(values: Words, cycles: int, total: int) -> Expected:
    """What is seen when a value appears ``cycles`` after its cause."""
    padded: Expected = [None] * cycles + list(values)
    return padded[:total] + [None] * (total - len(padded))


def pack(columns: list[Words], bits: int) -> Words:
    """Per cycle the lanes of an array port, lane 0 lowest."""
    return [sum(word << (bits * lane) for lane, word in enumerate(lanes))
            for lanes in zip(*columns, strict=True)]
