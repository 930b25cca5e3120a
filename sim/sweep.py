"""Arrays of every kind, at many sizes and widths, as twins and in vendor primitives.

Many arrays stand side by side in one component: a simulator builds one model much faster than
forty.
"""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from amaranth.hdl import Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.spec.array import MULTIPLIERS, PAIRED, ArraySpec
from accel.spec.cells import WEIGHT_BITS, CellSpec
from rtl.ecp5.target import Ecp5Target
from rtl.ice40.target import Ice40Target
from sim.array_checks import array_check
from sim.check import Expected, UnitCheck, Words
from sim.runner import Outcome, run_bench

SIZES = ((1, 1), (2, 3), (4, 4), (12, 13), (16, 16))
#: Cell, multiplier and weight width; activations have 8 bits.
KINDS = (("mac", "dsp", 8), ("mac", "packed", 8), ("mac", "packed", 4), ("mac", "dual", 8),
         ("mac", "lut", 8), ("shift", "dsp", 5), ("shift", "dsp", 6), ("add", "dsp", 9),
         ("shiftadd", "dsp", 9))
WIDTHS = range(2, 17)


@dataclass(frozen=True)
class Sweep:
    """Checks that run side by side, on what they become for ``platform``."""

    name: str
    specs: Sequence[ArraySpec]
    platform: object = None

    def run(self) -> Outcome:
        """Compare all of them with torch, on Verilator."""
        check = _side_by_side(self.name, [array_check(spec) for spec in self.specs])
        return run_bench(check.component, "vectors", check.job, platform=self.platform)


def sweeps() -> Iterator[Sweep]:
    """Every size, every width, and both vendors' primitives."""
    for rows, cols in SIZES:
        yield Sweep(f"{len(KINDS)} arrays of {rows}x{cols}",
                    [_spec(*kind, 8, rows, cols) for kind in KINDS])
    widths = list(_widths())
    yield Sweep(f"{len(widths)} widths of 2x3", widths)
    for rows, cols in ((2, 3), (4, 4)):
        ecp5 = [kind for kind in KINDS if kind[1] != "dual"]
        yield Sweep(f"{len(ecp5)} arrays of {rows}x{cols} in ECP5 primitives",
                    [_spec(*kind, 8, rows, cols) for kind in ecp5], Ecp5Target())
    yield Sweep("mac dual 4x4 in iCE40 primitives", [_spec("mac", "dual", 8, 8, 4, 4)],
                Ice40Target())
    depthwise = [replace(_spec(*kind, 8, 2, 5), depthwise=True) for kind in KINDS
                 if kind[1] not in PAIRED]
    for where, platform in (("", None), (" in ECP5 primitives", Ecp5Target())):
        yield Sweep(f"{len(depthwise)} depthwise arrays of 2x5{where}", depthwise, platform)


def _spec(kind: str, multiplier: str, weight_bits: int, act_bits: int, rows: int, cols: int,
          ) -> ArraySpec:
    """An array with a register in the way of its sums wherever it is high enough."""
    return ArraySpec(rows=rows, cols=cols, cell=CellSpec(kind, weight_bits), act_bits=act_bits,
                     terms=rows, band_rows=max(1, rows // 3), multiplier=multiplier)


def _widths() -> Iterator[ArraySpec]:
    """Each legal activation width with a weight width, from narrow to wide."""
    for kind, multiplier in sorted({kind[:2] for kind in KINDS}):
        low, high = WEIGHT_BITS[kind]
        most = MULTIPLIERS[multiplier] if kind == "mac" else (WIDTHS[-1], high)
        for act_bits in WIDTHS[:most[0] - 1]:
            weight_bits = low + (act_bits - 2) % (min(high, most[1]) - low + 1)
            yield _spec(kind, multiplier, weight_bits, act_bits, 2, 3)


class SideBySide(wiring.Component):
    """Components in one module; the ports of the one at place ``n`` begin with ``u<n>_``."""

    def __init__(self, parts: Sequence[wiring.Component]) -> None:
        self.parts = parts
        super().__init__({
            f"u{n}_{name}": (In if member.flow == In else Out)(len(Value.cast(getattr(part, name))))
            for n, part in enumerate(parts) for name, member in part.signature.members.items()})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for n, part in enumerate(self.parts):
            m.submodules[f"u{n}"] = part
            for name, member in part.signature.members.items():
                ours, theirs = getattr(self, f"u{n}_{name}"), Value.cast(getattr(part, name))
                m.d.comb += theirs.eq(ours) if member.flow == In else ours.eq(theirs)
        return m


def _side_by_side(name: str, checks: Sequence[UnitCheck]) -> UnitCheck:
    cycles = max(len(next(iter(check.inputs.values()))) for check in checks)
    inputs: dict[str, Words] = {}
    expected: dict[str, Expected] = {}
    for n, check in enumerate(checks):
        for port, words in check.inputs.items():
            inputs[f"u{n}_{port}"] = words + words[-1:] * (cycles - len(words))
        for port, seen in check.expected.items():
            expected[f"u{n}_{port}"] = [*seen, *[None] * (cycles - len(seen))]
    where = ", ".join(f"u{n}: {check.name}" for n, check in enumerate(checks))
    return UnitCheck(f"{name} ({where})", SideBySide([check.component for check in checks]),
                     inputs, expected)
