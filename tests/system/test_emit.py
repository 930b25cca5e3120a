"""Emitted text: the same every time, and readable."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from accel.spec.presets import PRESETS
from rtl.emit import free_collisions, verilog_text
from rtl.top import System
from tests.configs import TINY

ROOT = Path(__file__).parent.parent.parent


def test_the_same_under_every_hash_seed(tmp_path: Path) -> None:
    texts = []
    for seed in ("1", "2"):
        file = tmp_path / f"{seed}.v"
        subprocess.run([sys.executable, "-m", "rtl", "tiny-shift", "-o", str(file)], cwd=ROOT,
                       env={**os.environ, "PYTHONHASHSEED": seed}, check=True,
                       capture_output=True)
        texts.append((file.read_text(), file.with_suffix(".json").read_text()))
    assert texts[0] == texts[1]
    assert texts[0][0].startswith(
        f"// Systolith tiny-shift, config {PRESETS['tiny-shift'].digest}\n")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_elaborates(name: str) -> None:
    text = verilog_text(System(PRESETS[name]), "accel")
    config = PRESETS[name]
    last = f"pe_{config.rows - 1}_{config.cols - 1}"
    assert re.search(rf"^  \\accel\.accelerator\.gemm\.array\.{last}  {last} \($", text,
                     re.MULTILINE)


def test_shift_cells_have_no_multiplier() -> None:
    from rtl.array import SystolicArray
    assert "$signed" in (mac := verilog_text(SystolicArray(TINY.array), "array"))
    shift = verilog_text(SystolicArray(PRESETS["tiny-shift"].array), "array")
    product = re.compile(r" \* ")
    assert product.search(mac)
    assert not product.search(shift)


def test_collisions_of_clocked_ports_are_freed() -> None:
    port = ("\n  parameter \\COLLISION_X_MASK 1'{}\n  parameter \\OTHER 1'0"
            "\n  parameter \\CLK_ENABLE {}")
    freed = free_collisions("".join(port.format(0, clocked) + "\n end" for clocked in (0, 1)))
    assert freed == "".join(port.format(clocked, clocked) + "\n end" for clocked in (0, 1))


def test_an_unknown_preset_is_one_line() -> None:
    done = subprocess.run([sys.executable, "-m", "rtl", "huge"], cwd=ROOT, capture_output=True,
                          text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "preset must be one of tiny, " in done.stderr
