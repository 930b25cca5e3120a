"""Models of vendor primitives against arithmetic and plain lists; twins against the primitives."""
import random
from collections.abc import Callable
from typing import NamedTuple

import pytest
from amaranth.hdl import ClockSignal, Const, Instance, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Flow, In, Out

from accel.spec.config import AccelConfig
from rtl.address import step_or_jump
from rtl.carry import FusedAdder, a_masked, equal, select, subtract_masked
from rtl.ecp5.target import Ecp5Target
from rtl.ice40.target import Ice40Target
from rtl.multiplier import CarryMultiplier, Multiplier
from rtl.pair import DualMultiplier, PackedMultiplier
from rtl.register import LocalRegister, MaskedRegister
from rtl.tree import TreeMultiplier
from sim import units, vendor
from sim.check import UnitCheck
from sim.runner import run_bench, simulators
from sim.verilator import SimulatorError
from tests.configs import TINY, TWO_BY_THREE
from tests.twins import check_on, on_simulators, stimuli, twin_check

ECP5, ICE40 = Ecp5Target(), Ice40Target()
CYCLES = 800


class Slice(NamedTuple):
    """How a MULT18X18D is set: which operands are signed, which registers are there."""

    signed_a: bool = True
    signed_b: bool = True
    inputs: bool = True
    pipeline: bool = False
    output: bool = True


class DspSlice(wiring.Component):
    """One MULT18X18D with everything that the model knows at its ports."""

    def __init__(self, form: Slice, **parameters: str) -> None:
        self.form, self.parameters = form, parameters
        super().__init__({"a": In(18), "b": In(18), "enable": In(1), "clear": In(1),
                          "p": Out(36)})

    def elaborate(self, platform: object) -> Module:
        m, form = Module(), self.form
        registers = {"INPUTA": form.inputs, "INPUTB": form.inputs, "PIPELINE": form.pipeline,
                     "OUTPUT": form.output}
        clocks = {f"p_REG_{name}_CLK": "CLK1" if used else "NONE"
                  for name, used in registers.items()}
        m.submodules.slice = Instance(
            "MULT18X18D", **clocks, **{f"p_{name}": text for name, text in self.parameters.items()},
            **{f"p_REG_{name}_CE": "CE2" for name in registers},
            **{f"p_REG_{name}_RST": "RST3" for name in registers},
            **{f"i_{name}{bit}": bus[bit] for name, bus in (("A", self.a), ("B", self.b))
               for bit in range(18)},
            **{f"o_P{bit}": self.p[bit] for bit in range(36)},
            i_CLK1=ClockSignal(), i_CE2=self.enable, i_RST3=self.clear,
            i_SIGNEDA=Const(form.signed_a), i_SIGNEDB=Const(form.signed_b),
            i_SOURCEA=Const(0), i_SOURCEB=Const(0))
        return m


def dsp_check(form: Slice) -> UnitCheck:
    """Extremes in step and out of step, then random operands; enable and clear now and then."""
    rng = random.Random(str(form))
    a = stimuli(18, CYCLES, rng, signed=form.signed_a)
    b = stimuli(18, CYCLES, rng, signed=form.signed_b)
    b = b[:CYCLES // 5] + b[CYCLES // 7:][:CYCLES - CYCLES // 5]
    b += [0] * (CYCLES - len(b))
    enable = [int(rng.random() < 0.9) for _ in range(CYCLES)]
    clear = [int(rng.random() < 0.02) for _ in range(CYCLES)]

    def number(word: int, signed: bool) -> int:
        return word - (1 << 18) if signed and word >> 17 else word

    stages = [form.inputs, form.pipeline, form.output]
    held: list[int] = [0] * sum(stages)
    expected: list[int | None] = []
    for cycle in range(CYCLES):
        product = number(a[cycle], form.signed_a) * number(b[cycle], form.signed_b)
        expected.append((held[-1] if held else product) % (1 << 36))
        if clear[cycle]:
            held = [0] * len(held)
        elif enable[cycle]:
            held = [product, *held][:len(held)]
    return UnitCheck(f"MULT18X18D {form}", DspSlice(form),
                     {"a": a, "b": b, "enable": enable, "clear": clear}, {"p": expected})


FORMS = [Slice(), Slice(inputs=False, output=False), Slice(pipeline=True),
         Slice(signed_a=False, signed_b=False), Slice(signed_b=False, inputs=False)]


@pytest.mark.parametrize(("form", "simulator"), on_simulators(FORMS[:1], FORMS[1:], FORMS[:1]),
                         ids=str)
def test_mult18x18d(form: Slice, simulator: str) -> None:
    check_on(dsp_check(form), simulator, ECP5)


class Block(wiring.Component):
    """One DP16KD that writes at port A and reads at port B, every used pin at a port."""

    def __init__(self, width: int, register: bool, **parameters: str) -> None:
        self.width, self.register, self.parameters = width, register, parameters
        super().__init__({"ada": In(14), "adb": In(14), "di": In(36), "write": In(1),
                          "read": In(1), "shift": In(1), "do": Out(36 if width == 36 else 18)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        mode = "OUTREG" if self.register else "NOREG"
        pins = {f"i_{port}{bit}": bus[bit] for port, bus in (("ADA", self.ada), ("ADB", self.adb))
                for bit in range(14)}
        pins |= {f"i_DI{'AB'[bit // 18]}{bit % 18}": self.di[bit] for bit in range(36)}
        first = 0 if self.width == 36 else 18       # narrow words come out at port B
        pins |= {f"o_DO{'AB'[(bit + first) // 18]}{bit % 18}": self.do[bit]
                 for bit in range(len(self.do))}
        m.submodules.block = Instance(
            "DP16KD", p_DATA_WIDTH_A=self.width, p_DATA_WIDTH_B=self.width, p_REGMODE_A=mode,
            p_REGMODE_B=mode, **{f"p_{name}": text for name, text in self.parameters.items()},
            **{f"i_CS{port}{bit}": Const(0) for port in "AB" for bit in range(3)}, **pins,
            i_CLKA=ClockSignal(), i_WEA=self.write, i_CEA=Const(1), i_OCEA=self.shift,
            i_RSTA=Const(0), i_CLKB=ClockSignal(), i_WEB=Const(0), i_CEB=self.read,
            i_OCEB=self.shift, i_RSTB=Const(0))
        return m


def block_check(width: int, register: bool) -> UnitCheck:
    """Random words, bytes and enables at few addresses; a collision reads the inverted word."""
    rng = random.Random(f"{width} {register}")
    low = {1: 0, 2: 1, 4: 2, 9: 3, 18: 4, 36: 5}[width]
    enables = {18: 2, 36: 4}.get(width, 0)
    words, array, late = {}, 0, 0
    spots = [0, (1 << 14 - low) - 1, *(rng.getrandbits(14 - low) for _ in range(6))]
    inputs: dict[str, list[int]] = {
        name: [] for name in ("ada", "adb", "di", "write", "read", "shift")}
    expected: list[int | None] = []
    for _ in range(CYCLES):
        w, r, di, bytes_ = rng.choice(spots), rng.choice(spots), rng.getrandbits(36), 1
        write, read, shift = (int(rng.random() < 0.8) for _ in range(3))
        ada = w << low | rng.getrandbits(low)       # the free pins are enables, or ignored
        if enables:
            bytes_ = ada % (1 << enables)
        for name, value in (("ada", ada), ("adb", r << low | rng.getrandbits(low)), ("di", di),
                            ("write", write), ("read", read), ("shift", shift)):
            inputs[name].append(value)
        expected.append(late if register else array)
        late = array if shift else late
        if read:
            spoiled = write and bytes_ and w == r
            array = words.get(r, 0) ^ ((1 << width) - 1 if spoiled else 0)
        step = min(width, 9)
        mask = sum((1 << step) - 1 << step * byte for byte in range(4) if bytes_ >> byte & 1)
        if write:
            words[w] = words.get(w, 0) & ~mask | di & mask
    return UnitCheck(f"DP16KD {width} {register}", Block(width, register), inputs,
                     {"do": expected})


BLOCKS = [(width, register) for register in (True, False) for width in (36, 18, 9, 4, 2, 1)]


@pytest.mark.parametrize(("block", "simulator"), on_simulators(BLOCKS[:2], BLOCKS[2:], BLOCKS[:1]),
                         ids=str)
def test_dp16kd(block: tuple[int, bool], simulator: str) -> None:
    check_on(block_check(*block), simulator, ECP5)


#: What breaks a model, and a check that must notice.
FAULTS: dict[str, tuple[Callable[[], UnitCheck], str, str]] = {
    "operand unsigned": (lambda: dsp_check(Slice()), "SIGNEDA & A17", "1'b0"),
    "no output register": (lambda: block_check(9, True), 'REGMODE_B == "OUTREG" ?', "0 ?"),
    "no product register": (lambda: dsp_check(Slice()), "REG_OUTPUT_CLK, REG", '"NONE", REG'),
    "no byte enables": (lambda: block_check(36, True), "if (byte_en[k])", "if (1)"),
    "old word on collision": (lambda: block_check(18, True), "? ~cells[r_addr]",
                              "? cells[r_addr]")}


@pytest.mark.parametrize(("fault", "simulator"),
                         on_simulators(list(FAULTS)[:2], list(FAULTS)[2:], []))
def test_a_wrong_model_is_found(fault: str, simulator: str, monkeypatch: pytest.MonkeyPatch,
                                ) -> None:
    make, right, wrong = FAULTS[fault]
    text, check = vendor.models(ECP5), make()
    assert text.count(right) == 1
    monkeypatch.setattr(vendor, "models", lambda platform: text.replace(right, wrong))
    outcome = run_bench(check.component, "vectors", check.job, simulator=simulator, platform=ECP5)
    assert outcome.mismatches > 20


UNMODELLED: dict[str, Callable[[], wiring.Component]] = {
    "read before write": lambda: Block(18, True, WRITEMODE_B="READBEFOREWRITE"),
    "bypass": lambda: DspSlice(Slice(), MULT_BYPASS="ENABLED"),
    "asynchronous reset": lambda: DspSlice(Slice(), RESETMODE="ASYNC")}


@pytest.mark.parametrize(("part", "simulator"), on_simulators(
    ["read before write", "bypass"], [], ["asynchronous reset"]))
def test_what_is_not_modelled_ends_the_run(part: str, simulator: str) -> None:
    component = UNMODELLED[part]()
    inputs = {name: [0] * 4 for name, member in component.signature.members.items()
              if member.flow is Flow.In}
    job = {"name": part, "inputs": inputs, "expected": {}}
    with pytest.raises(SimulatorError, match="not modelled"):
        run_bench(component, "vectors", job, simulator=simulator, platform=ECP5)


#: Components whose twin is not what is built, and where.
TWINS: dict[str, tuple[Callable[[], wiring.Component], object]] = {
    "multiplier 8x8": (lambda: Multiplier(8, 8), ECP5),
    "multiplier 18x18": (lambda: Multiplier(18, 18), ECP5),
    "multiplier 5x17": (lambda: Multiplier(5, 17), ECP5),
    "packed multiplier 8x8": (lambda: PackedMultiplier(8, 8), ECP5),
    "dual multiplier 8x8": (lambda: DualMultiplier(8, 8), ICE40),
    "dual multiplier 5x6": (lambda: DualMultiplier(5, 6), ICE40),
    "carry multiplier 7x6": (lambda: CarryMultiplier(7, 6), ECP5),
    "tree multiplier 7x6": (lambda: TreeMultiplier(7, 6), ECP5),
    "tree multiplier 6x5": (lambda: TreeMultiplier(6, 5, b_unsigned=True), ECP5),
    "select and add": (lambda: FusedAdder(9, select), ECP5),
    "compare": (lambda: FusedAdder(6, equal, carry="one"), ECP5),
    "subtract": (lambda: FusedAdder(12, subtract_masked, carry="port"), ECP5),
    "step or jump": (lambda: FusedAdder(7, step_or_jump, first=a_masked), ECP5),
    "register": (lambda: LocalRegister(5), ECP5),
    "enabled register": (lambda: LocalRegister(5, enabled=True), ECP5),
    "masked register": (lambda: MaskedRegister(5), ECP5)}
QUICK = ["multiplier 18x18", "dual multiplier 8x8", "subtract"]


@pytest.mark.parametrize(("name", "simulator"), on_simulators(
    QUICK, [name for name in TWINS if name not in QUICK], ["multiplier 18x18",
                                                           "dual multiplier 8x8", "subtract"]))
def test_twin_equals_primitives(name: str, simulator: str) -> None:
    make, platform = TWINS[name]
    check_on(twin_check(name, make()), simulator, platform)


@pytest.mark.slow
@pytest.mark.parametrize("config", [TINY, TWO_BY_THREE], ids=lambda config: config.name)
def test_units_on_ecp5_equal_torch(config: AccelConfig) -> None:
    simulator = simulators()[-1]        # Icarus, if there is one
    for check in units.checks(config):
        check_on(check, simulator, ECP5)
