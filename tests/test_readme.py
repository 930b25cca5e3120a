"""The README's Python examples run as written and print what it says they print."""
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```\s*(?:prints\s*```text\n(.*?)```)?", README, re.DOTALL)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 3
    assert all(printed for _, printed in EXAMPLES)


@pytest.mark.parametrize(("source", "printed"), EXAMPLES, ids=["network", "model", "shiftadd"])
def test_example(source: str, printed: str) -> None:
    done = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True,
                          check=False)
    assert done.stderr == ""
    assert done.stdout == printed


def test_commands_exist() -> None:
    """Every make target and module that the README names is there."""
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", README)) <= targets
    for module in set(re.findall(r"python -m ([a-z.]+)", README)):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
