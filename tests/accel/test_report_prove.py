"""Proofs of circuits: a right one is proven, and one wrong bit is found."""
import re
from dataclasses import replace
from pathlib import Path

import pytest

from accel.circuits.network import Builder, Lut, Network
from accel.report import prove
from accel.report.prove import Proof, proven
from boards.process import BuildError

CUBES = tuple(x * x * x // 5 % 32 for x in range(64))


def cubes() -> Network:
    """Five bits of a fifth of the cube of six bits."""
    builder = Builder(6)
    return builder.network(builder.table(CUBES, builder.inputs, 5))


@pytest.fixture(autouse=True)
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Proofs run in a folder of the test's own."""
    monkeypatch.setattr(prove, "BUILD", tmp_path)
    return tmp_path / "circuits"


def test_a_right_circuit_is_proven(build: Path) -> None:
    network = cubes()
    assert network.lut4 > 5
    proof = proven(network, CUBES, quiet=True)
    assert proof
    assert proof == Proof(gates=True, ecp5=True, lut4=network.lut4)
    assert [*build.iterdir()] == []


@pytest.mark.slow
def test_one_wrong_bit_of_the_circuit_is_found() -> None:
    network = cubes()
    for number in (0, len(network.luts) // 2, len(network.luts) - 1):
        luts = [*network.luts]
        luts[number] = replace(luts[number], truth=luts[number].truth ^ 2)
        wrong = replace(network, luts=tuple(luts))
        assert wrong.table() != CUBES
        assert proven(wrong, CUBES, quiet=True) == Proof(False, False, network.lut4)


@pytest.mark.parametrize("code", [0, 63])
def test_one_wrong_bit_of_the_table_is_found(code: int, build: Path) -> None:
    words = [*CUBES]
    words[code] ^= 16
    proof = proven(cubes(), words, quiet=True)
    assert not proof
    assert not proof.gates
    assert not proof.ecp5
    for name in ("gates.log", "ecp5.log"):
        (log,) = build.rglob(name)
        assert re.search(rf"\\in_x +{code} ", log.read_text())


def test_a_lut_that_no_output_needs_does_not_count_as_kept() -> None:
    network = Network(2, (Lut((0, 1), 0b0110), Lut((0, 1), 0b1000)), (2,))
    proof = proven(network, (0, 1, 1, 0), quiet=True)
    assert proof == Proof(gates=True, ecp5=False, lut4=1)
    assert not proof


def test_wires_and_constants_are_circuits_without_luts() -> None:
    network = Network(2, (Lut((), 1), Lut((), 0)), (1, 2, 3))
    assert proven(network, (2, 2, 3, 3), quiet=True) == Proof(True, True, 0)


def test_an_undriven_wire_is_not_what_the_table_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prove, "verilog", lambda _: (
        "module circuit (input [1:0] x, output [0:0] y); wire z;\n"
        "assign y = x[0] ? x[1] : z;\nendmodule\n"))
    network = Network(2, (Lut((0, 1), 0b1000),), (2,))
    assert proven(network, (0, 0, 0, 1), quiet=True) == Proof(False, True, 1)


def test_no_answer_is_an_error_and_keeps_the_log(build: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prove, "_SCRIPT", prove._SCRIPT.replace("sat ", "help sat "))
    with pytest.raises(BuildError, match="no answer"):
        proven(cubes(), CUBES, quiet=True)
    assert len([*build.rglob("gates.log")]) == 1
