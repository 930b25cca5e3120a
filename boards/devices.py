"""The devices: how their tools are called, what they hold, and which limits no tool checks."""
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device, package and speed grade, as plain data.

    Parameters
    ----------
    name
        Short name, as in reports.
    part
        The device, for people.
    target
        Class that stands for it when gateware is elaborated without a board, ``module:class``.
    synthesis
        yosys' command.
    nextpnr, options
        Place and route: the tool and its options for device, package and speed.
    effort
        Further options of nextpnr, for better results.
    capacity
        Units by resource: LUT4, FF, DSP (multipliers), BRAM (blocks).
    cells
        Units of each resource that a cell of yosys' netlist takes, by a pattern of its type.
    bels
        nextpnr's names of the resources that it counts.
    constant_luts
        LUTs by which nextpnr drives constants, in any design.
    paired
        nextpnr counts cells that hold a LUT and a flip-flop, not either.
    bram_mhz
        Clock above which the block RAM must not be driven, which nextpnr does not check.
    """

    name: str
    part: str
    target: str
    synthesis: str
    nextpnr: str
    options: tuple[str, ...]
    effort: tuple[str, ...] = ()
    capacity: Mapping[str, int]
    cells: Mapping[str, Mapping[str, int]]
    bels: Mapping[str, str]
    constant_luts: int = 0
    paired: bool = False
    bram_mhz: float | None = None

    def usage(self, cells: Mapping[str, int]) -> dict[str, int]:
        """Units by resource of a netlist's cell counts by type."""
        return {name: sum(count * units for cell, count in cells.items()
                          for pattern, units in patterns.items() if fnmatchcase(cell, pattern))
                for name, patterns in self.cells.items()}

    def overfull(self, cells: Mapping[str, int]) -> list[str]:
        """Resources of a netlist that the device does not have, as ``LUT4 90000 of 83640``."""
        usage = self.usage(cells)
        return [f"{name} {usage[name]} of {limit}" for name, limit in self.capacity.items()
                if usage[name] > limit]

    def limit_mhz(self, bram: int) -> float | None:
        """Highest clock that a design with ``bram`` block RAMs may have, if there is a limit."""
        return self.bram_mhz if bram else None


ECP5 = Device(
    name="ecp5", part="Lattice LFE5U-85F-6BG381C", target="rtl.ecp5.target:Ecp5Target",
    synthesis="synth_ecp5", nextpnr="nextpnr-ecp5",
    options=("--85k", "--speed", "6", "--package", "CABGA381", "--lpf-allow-unconstrained"),
    # By default (10, no rip-up) the placer weighs length more than time: an 8x8 array of shift
    # cells has 231, 261 and 248 MHz with seeds 1 to 3, with these 265, 245 and 268.
    effort=("--placer-heap-timingweight", "100", "--tmg-ripup"),
    # Lattice FPGA-DS-02012 "ECP5 and ECP5-5G Family", table 1.1; the counts are nextpnr's.
    capacity={"LUT4": 83640, "FF": 83640, "DSP": 156, "BRAM": 208},
    # A CCU2C is two LUTs and their carry, a TRELLIS_DPR16X4 four LUTs used as memory. PFUMX and
    # L6MUX21, the wide multiplexers, sit behind the LUTs of their slice and cost none.
    cells={"LUT4": {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 4}, "FF": {"TRELLIS_FF": 1},
           "DSP": {"MULT18X18D": 1}, "BRAM": {"DP16KD": 1}},
    bels={"LUT4": "TRELLIS_COMB", "FF": "TRELLIS_FF", "DSP": "MULT18X18D", "BRAM": "DP16KD"},
    constant_luts=2,    # $PACKER_GND and $PACKER_VCC, in nextpnr's ecp5/pack.cc
    # Shortest high and low time of DP16KD's clock: 2.359 ns each at speed grade 6. Project
    # Trellis' timing database, which is derived from the delays (SDF) of the vendor's own tool;
    # nextpnr's import leaves out its entries of type "Width".
    bram_mhz=212.0)
ICE40 = Device(
    name="ice40", part="Lattice iCE40UP5K-SG48", target="rtl.ice40.target:Ice40Target",
    # Not with -dsp: that pass of yosys 0.70 rewrites SB_MAC16 instances to one 16-bit multiplier
    # without registers, and leaves two drivers where a product has three registers.
    synthesis="synth_ice40", nextpnr="nextpnr-ice40",
    options=("--up5k", "--package", "sg48", "--pcf-allow-unconstrained"),
    # The counts are nextpnr's. A logic cell is a LUT4, a carry and a flip-flop.
    capacity={"LUT4": 5280, "FF": 5280, "DSP": 8, "BRAM": 30},
    cells={"LUT4": {"SB_LUT4": 1}, "FF": {"SB_DFF*": 1}, "DSP": {"SB_MAC16": 1},
           "BRAM": {"SB_RAM40_4K*": 1}},
    bels={"LUT4": "ICESTORM_LC", "DSP": "ICESTORM_DSP", "BRAM": "ICESTORM_RAM"},
    paired=True)
