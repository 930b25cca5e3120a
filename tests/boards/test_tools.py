"""Which tool is taken, what it says it is, and the yosys command line over pyosys."""
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from accel.files import write_atomic
from boards import tools


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty build folder, and no tools but those from PyPI."""
    monkeypatch.setattr(tools, "BUILD", tmp_path / "build")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    for name in tools.PYPI:
        monkeypatch.delenv(tools.variable(name), raising=False)
    return tmp_path / "build"


def executable(path: Path, body: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.mark.usefixtures("build")
@pytest.mark.parametrize("name", tools.PYPI)
def test_pypi_is_the_last_resort(name: str) -> None:
    found = tools.find_tool(name)
    assert found.origin == "PyPI"
    assert found.version.startswith(tools.PYPI[name] + " ")
    assert os.access(found.path, os.X_OK)


@pytest.mark.usefixtures("build")
def test_environment_beats_path_beats_pypi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    native = executable(tmp_path / "bin" / "nextpnr-ecp5", "echo 'nextpnr version 0.99' >&2")
    monkeypatch.setenv("PATH", f"{native.parent}:/usr/bin:/bin")
    assert tools.find_tool("nextpnr-ecp5") == tools.Tool(
        "nextpnr-ecp5", str(native), "nextpnr version 0.99", "PATH")
    other = executable(tmp_path / "other", "echo 1.0")
    monkeypatch.setenv("NEXTPNR_ECP5", str(other))
    assert tools.find_tool("nextpnr-ecp5") == tools.Tool(
        "nextpnr-ecp5", str(other), "1.0", "environment")


@pytest.mark.usefixtures("build")
def test_version_is_asked_once_per_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = executable(tmp_path / "bin" / "thing", f"echo asked >> {tmp_path}/count; echo 1.5")
    monkeypatch.setenv("THING", str(tool))
    assert [tools.find_tool("thing").version for _ in range(3)] == ["1.5"] * 3
    executable(tool, f"echo asked >> {tmp_path}/count; echo 1.25")
    assert tools.find_tool("thing").version == "1.25"
    assert (tmp_path / "count").read_text().count("asked") == 2


@pytest.mark.usefixtures("build")
def test_missing_tools_say_what_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(tools.ToolError, match=r"no-such-tool not found: tried \$NO_SUCH_TOOL"):
        tools.find_tool("no-such-tool")
    monkeypatch.setenv("ECPPACK", "/nowhere/ecppack")
    with pytest.raises(tools.ToolError, match=r"\$ECPPACK names '/nowhere/ecppack'"):
        tools.find_tool("ecppack")
    monkeypatch.delenv("ECPPACK")
    monkeypatch.setattr(tools.sys, "executable", "/nowhere/python")
    with pytest.raises(tools.ToolError, match=r"PyPI package yowasp-.*make setup") as e:
        tools.find_tool("ecppack")
    assert "\n" not in str(e.value)


@pytest.mark.usefixtures("build")
def test_a_tool_that_does_not_run_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                              ) -> None:
    monkeypatch.setenv("YOSYS", str(executable(tmp_path / "yosys", "exit 3")))
    with pytest.raises(tools.ToolError, match="ended with code 3"):
        tools.find_tool("yosys")


@pytest.mark.usefixtures("build")
def test_environment_for_amaranth_names_executables() -> None:
    environment = tools.environment()
    assert all(os.access(environment[name], os.X_OK)
               for name in ("YOSYS", "NEXTPNR_ECP5", "ECPPACK"))


def run_yosys(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([tools.find_tool("yosys").path, *arguments], cwd=folder, text=True,
                          capture_output=True, check=False)


@pytest.mark.usefixtures("build")
def test_yosys_command_line(tmp_path: Path) -> None:
    assert run_yosys("-V", folder=tmp_path).stdout.startswith("Yosys 0.")
    (tmp_path / "a.v").write_text("module a(input x, y, output z); assign z = x & y; endmodule\n")
    (tmp_path / "s.ys").write_text("synth -top a\n")
    done = run_yosys("-q", "-l", "a.log", "-s", "s.ys", "-p",
                     "tee -q -o stat.json stat -json; write_rtlil a.il", "a.v", folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert '"$_AND_": 1' in (tmp_path / "stat.json").read_text()
    assert "module \\a" in (tmp_path / "a.il").read_text()
    assert "Executing SYNTH pass" in (tmp_path / "a.log").read_text()


@pytest.mark.usefixtures("build")
def test_yosys_errors_reach_stderr_and_the_log(tmp_path: Path) -> None:
    done = run_yosys("-q", "-l", "a.log", "-p", "read_rtlil none.il", folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("ERROR: File `none.il' not found")
    assert "ERROR" in (tmp_path / "a.log").read_text()
    assert run_yosys("what.txt", folder=tmp_path).returncode == 2


def test_threads_may_write_one_path(tmp_path: Path) -> None:
    path, contents = tmp_path / "a.json", [str(digit) * 100_000 for digit in range(8)]
    with ThreadPoolExecutor(len(contents)) as pool:
        list(pool.map(lambda content: write_atomic(path, content), contents * 20))
    assert path.read_text() in contents
    assert list(tmp_path.iterdir()) == [path]
