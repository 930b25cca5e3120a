"""Imports point one way (CONTRIBUTING.md), and every module's syntax tree shows it."""
import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: Folder -> what its modules may import besides the standard library.
MAY_IMPORT = {
    "accel/spec": {"accel.spec", "numpy"},
    "accel": {"accel", "google.protobuf", "numpy", "onnx", "torch", "rich"},
    "accel/report": {"accel", "rtl", "sim", "boards", "amaranth", "numpy", "torch", "rich",
                     "matplotlib", "mpmath"},
    "rtl": {"rtl", "accel.spec", "accel.circuits", "amaranth"},
    "sim": {"sim", "rtl", "accel", "amaranth", "cocotb", "cocotb_tools", "numpy", "torch", "rich"},
    "boards": {"boards", "rtl", "accel", "amaranth", "amaranth_boards", "pyosys", "serial",
               "numpy", "rich"},
}
TOP_FLOOR = ("accel.report", "accel.explore")
SOURCES = sorted(path for folder in ("accel", "rtl", "sim", "boards")
                 for path in (ROOT / folder).rglob("*.py"))


def imports(source: str) -> set[str]:
    """Full names of what a module imports, without the standard library."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write imports in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names if name.split(".")[0] not in sys.stdlib_module_names}


def strays(folder: str, names: set[str]) -> set[str]:
    """Imports that a module in ``folder`` must not have."""
    top = folder in {"accel/report", "accel/explore"}
    return {name for name in names
            if "__main__" in name.split(".")
            or (not top and name.startswith(TOP_FLOOR))
            or not any(f"{name}.".startswith(f"{ok}.") for ok in MAY_IMPORT[folder])}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    folder = max((f for f in MAY_IMPORT if path.is_relative_to(ROOT / f)), key=len)
    assert not strays(folder, imports(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(("folder", "line"), [
    ("accel/spec", "import torch"), ("accel", "from rtl.top import Accelerator"),
    ("accel", "from accel.report import area"), ("rtl", "from accel import graph"),
    ("sim", "import boards.flow"), ("boards", "from sim import units"),
    ("boards", "from rtl.__main__ import main")])
def test_a_wrong_import_is_found(folder: str, line: str) -> None:
    assert strays(folder, imports(line))
