"""``python -m accel``: what it prints, and one line for every mistake."""
from pathlib import Path

import numpy as np
import pytest

from accel.__main__ import main
from accel.program import Program


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    return status, *capsys.readouterr()


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that a refused command prints."""
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "lenet.program"
    assert main(["compile", "lenet5-tanh", "--preset", "tiny", "-o", str(path)]) == 0
    return path


def test_check_compares_the_emulator_with_golden(capsys: pytest.CaptureFixture[str]) -> None:
    """Both networks, all 1,000 test digits, value by value."""
    status, out, _ = run(capsys, "check")
    assert status == 0
    rows = [line.split("│")[1:-1] for line in out.splitlines() if "lenet5" in line]
    assert [[row[0].strip(), *(cell.strip() for cell in row[6:8])] for row in rows] == [
        ["lenet5-tanh", "10,000", "0"], ["lenet5-selu", "10,000", "0"]]


def test_compile_and_disassemble(capsys: pytest.CaptureFixture[str], program: Path) -> None:
    status, out, _ = run(capsys, "disassemble", program, "--preset", "tiny")
    lines = out.splitlines()
    assert status == 0
    assert lines[0].split()[:2] == ["0", "GEMM"]
    assert lines[-1].split() == [str(len(lines) - 1), "FINISH"]


def test_a_program_is_the_same_each_time(program: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.program"
    assert main(["compile", "lenet5-tanh", "--preset", "tiny", "-o", str(again)]) == 0
    assert again.read_bytes() == program.read_bytes()


def test_run(capsys: pytest.CaptureFixture[str], program: Path, tmp_path: Path) -> None:
    images, output = tmp_path / "x.npy", tmp_path / "y.npy"
    np.save(images, np.random.default_rng(1).random((3, 1, 28, 28)))
    status, out, _ = run(capsys, "run", program, "--preset", "tiny", "--input", images,
                         "--output", output)
    assert status == 0
    assert len(out.splitlines()) == 3
    assert np.load(output).shape == (3, 10, 1, 1)


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    file = tmp_path / "net.py"
    file.write_text("""
from torch import nn

def good():
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh())

def bad():
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.Mish(), nn.Softmax(1))

def number():
    return 3
""")
    np.save(tmp_path / "x.npy", np.random.default_rng(1).random((4, 2, 8, 8), np.float32))
    return file


def test_model_from_a_file(capsys: pytest.CaptureFixture[str], model_file: Path) -> None:
    status, out, _ = run(
        capsys, "compile", f"{model_file}:good", "--calibration", model_file.with_name("x.npy"),
        "--preset", "tiny", "-o", model_file.with_name("net.program"))
    assert status == 0
    assert "3 instructions for config tiny" in out
    assert Program.load(model_file.with_name("net.program")).name == "good"


def test_unsupported_layers(capsys: pytest.CaptureFixture[str], model_file: Path) -> None:
    """All of them in one message, with those that are supported."""
    line = fails(capsys, "compile", f"{model_file}:bad", "--calibration",
                 model_file.with_name("x.npy"), "-o", model_file.with_name("p"))
    for part in ("mish", "softmax", "Conv2d", "Tanh"):
        assert part in line


def test_models_that_are_none(capsys: pytest.CaptureFixture[str], model_file: Path) -> None:
    for model, message in ((f"{model_file}:good", "needs --calibration FILE.npy"),
                           (f"{model_file}:none", "KeyError: 'none'"),
                           (f"{model_file}:number", "must return a torch.nn.Module, not int"),
                           ("none.py:f", "No such file"), ("lenet6", "FILE.py:FUNCTION")):
        assert message in fails(capsys, "compile", model, "-o", model_file.with_name("p"))


def test_wrong_names(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "preset must be one of tiny, " in fails(capsys, "isa", "--preset", "big")
    assert "network must be one of lenet5-tanh, " in fails(capsys, "check", "lenet6")
    assert "cannot read config" in fails(capsys, "isa", "--config", tmp_path / "none.toml")


def test_wrong_programs(capsys: pytest.CaptureFixture[str], program: Path, tmp_path: Path) -> None:
    assert "was compiled for config" in fails(capsys, "disassemble", program, "--preset", "ecp5")
    content = program.read_bytes()
    for name, damaged in (("cut", content[:len(content) // 2]), ("text", b"hello"), ("empty", b"")):
        file = tmp_path / name
        file.write_bytes(damaged)
        assert str(file) in fails(capsys, "disassemble", file)
    assert "cannot read program" in fails(capsys, "disassemble", tmp_path / "none")


@pytest.mark.parametrize(("array", "message"), [
    (np.zeros((1, 28, 28)), r"shape must be (n, 1, 28, 28)"),
    (np.zeros((0, 1, 28, 28)), "with n >= 1"),
    (np.full((1, 1, 28, 28), np.nan), "784 are NaN or infinite"),
    (np.full((1, 1, 28, 28), 128), "codes must be in -128..127, not 128..128")],
    ids=["shape", "none", "nan", "range"])
def test_wrong_images(capsys: pytest.CaptureFixture[str], program: Path, tmp_path: Path,
                      array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "x.npy", array)
    assert message in fails(capsys, "run", program, "--preset", "tiny", "--input",
                            tmp_path / "x.npy")


def test_a_network_that_does_not_fit(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    small = tmp_path / "small.toml"
    small.write_text('base = "tiny"\nweight_depth = 100\nparam_depth = 3\n')
    line = fails(capsys, "compile", "lenet5-tanh", "--config", small, "-o", tmp_path / "p")
    assert "weight_depth must be at least 3859, not 100" in line
    assert "param_depth must be at least" in line
    assert not (tmp_path / "p").exists()
