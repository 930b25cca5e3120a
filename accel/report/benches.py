"""The designs that the timing report places and routes."""
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from accel.spec.array import ArraySpec
from accel.spec.cells import CellSpec
from boards.devices import ECP5, ICE40, Device

ACT_BITS = 8
#: ``mapped``: with the device's primitives. ``inferred``: the same component's behavioural twin,
#: left to yosys alone.
VARIANTS = ("mapped", "inferred")
#: Terms of a sum with which it has 24 bits.
TERMS_24 = {"mac": 511, "shift": 511, "add": 32768}
RAM_LANES, RAM_DEPTH = 16, 2048


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One design on one device in one variant.

    Members
    -------
    name
        Cell, way to multiply if it is not the plain one, size: ``mac-packed-12x26``.
    array
        None for the rows of block RAM.
    large
        Takes very long.
    """

    name: str
    array: ArraySpec | None
    device: Device
    variant: str
    large: bool = False

    @property
    def key(self) -> str:
        """What ``--only`` matches, as ``mac-12x13-ecp5-mapped``."""
        return f"{self.name}-{self.device.name}-{self.variant}"

    @property
    def rows(self) -> int:
        """Rows of the array, or lanes."""
        return self.array.rows if self.array else RAM_LANES

    @property
    def cols(self) -> int:
        """Columns of the array."""
        return self.array.cols if self.array else 1

    @property
    def macs_per_cycle(self) -> int:
        """Terms that are added per cycle."""
        return self.array.rows * self.array.cols if self.array else 0

    def record(self) -> dict[str, Any]:
        """What the design is, as plain values."""
        array = self.array
        described = {"cell": array.cell.kind, "act_bits": array.act_bits,
                     "weight_bits": array.cell.weight_bits, "sum_bits": array.sum_bits,
                     "multiplier": array.multiplier if array.cell.kind == "mac" else None,
                     "band_rows": array.band_rows} if array else {"cell": "ram"}
        return {"name": self.name, **described, "rows": self.rows, "cols": self.cols,
                "device": self.device.name, "part": self.device.part, "variant": self.variant,
                "macs_per_cycle": self.macs_per_cycle}

    def elaborate(self) -> tuple[str, dict[str, int]]:
        """RTLIL of the design in its harness, and the LUT4 and FF that are not the array's."""
        # By name and late: Amaranth takes a second to load, and is untyped to mypy.
        emit, harness = import_module("rtl.emit"), import_module("rtl.harness")
        if self.array:
            component = import_module("rtl.array").SystolicArray(self.array)
        else:
            component = import_module("rtl.ram_lanes").RamLanes(RAM_LANES, RAM_DEPTH, ACT_BITS)
        platform = None
        if self.variant == "mapped":
            module, _, target = self.device.target.partition(":")
            platform = getattr(import_module(module), target)()
        wrapped = harness.Harness(component)
        # In a logic cell with LUT and flip-flop, those of the harness share one.
        lut4 = wrapped.ff if self.device.paired else wrapped.lut4
        lut4 += self.device.constant_luts
        return str(emit.rtlil_text(wrapped, "top", platform)), {"LUT4": lut4, "FF": wrapped.ff}


def _array(kind: str, weight_bits: int, rows: int, cols: int, *, terms: int = 0,
           band_rows: int = 0, multiplier: str = "dsp") -> ArraySpec:
    return ArraySpec(rows=rows, cols=cols, cell=CellSpec(kind, weight_bits), act_bits=ACT_BITS,
                     terms=terms or rows, band_rows=band_rows or rows, multiplier=multiplier)


def _designs() -> Iterator[tuple[ArraySpec | None, Device]]:
    for rows, cols, band_rows in ((8, 8, 8), (9, 16, 3), (12, 13, 4)):
        yield _array("mac", 8, rows, cols, band_rows=band_rows), ECP5
    yield _array("mac", 8, 12, 26, band_rows=4, multiplier="packed"), ECP5
    yield _array("mac", 8, 8, 8, terms=TERMS_24["mac"], multiplier="lut"), ECP5
    for kind, weight_bits, sizes in (("shift", 5, (8, 16, 24, 32)), ("add", 9, (8, 16))):
        for size in sizes:
            yield _array(kind, weight_bits, size, size, terms=TERMS_24[kind]), ECP5
    yield _array("shiftadd", 9, 8, 8), ECP5
    yield None, ECP5
    yield _array("mac", 8, 4, 4, multiplier="dual"), ICE40


def _name(array: ArraySpec | None) -> str:
    if array is None:
        return f"ram-{RAM_LANES}x{RAM_DEPTH}"
    way = f"-{array.multiplier}" if array.cell.kind == "mac" and array.multiplier != "dsp" else ""
    return f"{array.cell.kind}{way}-{array.rows}x{array.cols}"


#: Elements above which an array is routed only on request.
LARGE = 512
BENCHES = tuple(
    Bench(name=_name(array), array=array, device=device, variant=variant,
          large=array is not None and array.rows * array.cols > LARGE)
    for array, device in _designs() for variant in VARIANTS)
