"""Clock and reset of an ECP5 board: oscillator -> EHXPLLL -> domain ``sync``.

Limits and attribute values: Lattice FPGA-TN-02200 "ECP5 and ECP5-5G sysCLOCK PLL/DLL Design and
Usage Guide", FPGA-DS-02012 (table "sysCLOCK PLL Timing"), and ecppll of Project Trellis.
"""
import math
from dataclasses import dataclass
from fractions import Fraction

from amaranth.hdl import ClockSignal, Const, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.spec.config import ConfigError

VCO_MHZ = (400, 800)
PHASE_DETECTOR_MHZ = (10, 400)
OUTPUT_MHZ = (Fraction(25, 8), 400)
MAX_DIVIDER = 128


@dataclass(frozen=True)
class PllPlan:
    """Dividers of an EHXPLLL; frequencies in MHz are exact.

    The loop closes over CLKOP and the clock comes out of CLKOS, whose divider is free: over CLKOP
    alone only multiples of the phase detector's frequency can be made, and 60 MHz from 25 MHz
    would need one of 5 MHz, below the limit.
    """

    input_mhz: Fraction
    clki_div: int
    clkfb_div: int
    clkop_div: int
    clkos_div: int

    @property
    def phase_detector_mhz(self) -> Fraction:
        """Frequency at which the loop compares phases."""
        return self.input_mhz / self.clki_div

    @property
    def vco_mhz(self) -> Fraction:
        """Frequency of the oscillator in the loop."""
        return self.phase_detector_mhz * self.clkfb_div * self.clkop_div

    @property
    def output_mhz(self) -> Fraction:
        """Frequency at CLKOS."""
        return self.vco_mhz / self.clkos_div


def plan_pll(input_mhz: float, output_mhz: float) -> PllPlan:
    """Dividers that make exactly ``output_mhz``; else a `ConfigError` names the nearest two.

    Of several, the one whose phase detector runs fastest, then whose VCO is nearest to the middle
    of its range.
    """
    if not math.isfinite(output_mhz) or not math.isfinite(input_mhz):
        raise ConfigError(f"PLL frequencies must be finite, not {input_mhz} and {output_mhz} MHz")
    source, target = Fraction(str(input_mhz)), Fraction(str(output_mhz))
    plans = _plans(source)
    if not plans:
        raise ConfigError(f"PLL input must be at least {PHASE_DETECTOR_MHZ[0]} MHz, not "
                          f"{input_mhz:g}")
    if target not in plans:
        below = max((f for f in plans if f < target), default=None)
        above = min((f for f in plans if f > target), default=None)
        nearest = " or ".join(f"{float(f):.6g}" for f in (below, above) if f is not None)
        raise ConfigError(f"the PLL cannot make {output_mhz:g} MHz from {input_mhz:g} MHz; "
                          f"nearest: {nearest} MHz")
    return plans[target]


def _plans(source: Fraction) -> dict[Fraction, PllPlan]:
    """Best plan of every frequency that can be made from ``source``."""
    best: dict[Fraction, PllPlan] = {}
    middle = sum(VCO_MHZ) / 2
    for clki_div in range(1, MAX_DIVIDER + 1):
        detector = source / clki_div
        if not PHASE_DETECTOR_MHZ[0] <= detector <= PHASE_DETECTOR_MHZ[1]:
            continue
        # What matters of CLKFB_DIV * CLKOP_DIV is the product; the loop runs at detector * FB.
        multiples = range(int(-(-VCO_MHZ[0] // detector)), int(VCO_MHZ[1] // detector) + 1)
        for multiple in sorted(multiples, key=lambda n: abs(n * detector - middle)):
            clkfb_div = next((n for n in range(1, MAX_DIVIDER + 1) if multiple % n == 0
                              and multiple // n <= MAX_DIVIDER), None)
            if clkfb_div is None:
                continue
            for clkos_div in range(1, MAX_DIVIDER + 1):
                plan = PllPlan(source, clki_div, clkfb_div, multiple // clkfb_div, clkos_div)
                if OUTPUT_MHZ[0] <= plan.output_mhz <= OUTPUT_MHZ[1]:
                    best.setdefault(plan.output_mhz, plan)
    return best


class ClockGenerator(wiring.Component):
    """Drives the clock of the parent's domain ``sync``; reset until the PLL locks and by ``reset``.

    The domain must be without a reset of its own: like Amaranth's platform, this one resets by the
    dedicated GSR network, which sets every flip-flop to its initial value. A reset as logic has a
    pin at each of them, 16,000 in preset ecp5, and nextpnr routes for 350 s instead of 200 s.
    GSR starts flip-flops some cycles apart. Nothing notices while the host is silent, because
    then the initial state of all but the lights' counters is also the next.

    nextpnr computes the constraint of the output from that of the input and the dividers.

    Members
    -------
    source
        Input clock, from a pin with a clock constraint.
    reset
        Asynchronous, active high.
    """

    source: In(1)
    reset: In(1)
    locked: Out(1)

    def __init__(self, plan: PllPlan) -> None:
        self.plan = plan
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        feedback, released, running = Signal(), Signal(), Signal()
        m.submodules.pll = self._instance(feedback)
        # Two flip-flops that GSR leaves alone; 0, that is reset, when the configuration is loaded.
        clock = {"i_CK": ClockSignal("sync"), "p_GSR": "DISABLED"}
        m.submodules.released = Instance("FD1S3AX", **clock, o_Q=released,
                                         i_D=self.locked & ~self.reset)
        m.submodules.running = Instance("FD1S3AX", **clock, o_Q=running, i_D=released)
        m.submodules.gsr = Instance("SGSR", i_CLK=ClockSignal("sync"), i_GSR=running)
        return m

    def _instance(self, feedback: Signal) -> Instance:
        plan = self.plan
        disabled = ("PLLRST_ENA", "INTFB_WAKE", "STDBY_ENABLE", "DPHASE_SOURCE",
                    "CLKOS2_ENABLE", "CLKOS3_ENABLE")
        low = ("RST", "STDBY", "PHASESEL0", "PHASESEL1", "PLLWAKESYNC", "ENCLKOP", "ENCLKOS")
        high = ("PHASEDIR", "PHASESTEP", "PHASELOADREG")
        return Instance(
            "EHXPLLL",
            a_FREQUENCY_PIN_CLKI=f"{float(plan.input_mhz):.6g}",
            a_FREQUENCY_PIN_CLKOS=f"{float(plan.output_mhz):.6g}",
            # Loop filter, as ecppll sets it.
            a_ICP_CURRENT="12", a_LPF_RESISTOR="8", a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2",
            **{f"p_{name}": "DISABLED" for name in disabled},
            **{f"p_OUTDIVIDER_MUX{letter}": f"DIV{letter}" for letter in "ABCD"},
            p_FEEDBK_PATH="CLKOP", p_CLKI_DIV=plan.clki_div, p_CLKFB_DIV=plan.clkfb_div,
            p_CLKOP_ENABLE="ENABLED", p_CLKOP_DIV=plan.clkop_div,
            p_CLKOP_CPHASE=plan.clkop_div - 1, p_CLKOP_FPHASE=0,
            p_CLKOS_ENABLE="ENABLED", p_CLKOS_DIV=plan.clkos_div,
            p_CLKOS_CPHASE=plan.clkos_div - 1, p_CLKOS_FPHASE=0,
            **{f"i_{name}": Const(0, 1) for name in low},
            **{f"i_{name}": Const(1, 1) for name in high},
            i_CLKI=self.source, i_CLKFB=feedback,
            o_CLKOP=feedback, o_CLKOS=ClockSignal("sync"), o_LOCK=self.locked)
