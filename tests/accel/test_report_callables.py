"""A function of the user's: from a file or a module, and one clear line where it cannot be."""
from decimal import Decimal
from pathlib import Path

import pytest

from accel.report.callables import find_function
from accel.spec.errors import InputError
from accel.spec.formats import Format
from accel.spec.functions import FUNCTIONS
from accel.spec.relation import relation

FILES = {"file": "NUMBER = 3\ndef nan(x): return float('nan')\ndef inverse(x): return 1 / x\n"
                 "def nothing(x): pass\ndef two(x, y): return x\n"
                 "def lines(x): raise ValueError('one\\ntwo')\n",
         "broken": "def f(x) return x\n", "exits": "raise SystemExit(3)\n"}
Q3_5 = Format.parse("Q3.5")


def test_names_of_ours_need_no_function() -> None:
    assert [find_function(name) for name in FUNCTIONS] == [None] * len(FUNCTIONS)


def test_numbers_of_all_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kinds.py").write_text(
        "from dataclasses import dataclass\nfrom fractions import Fraction\n"
        "import numpy, torch\n@dataclass\nclass Half:\n    def __float__(self): return 0.5\n"
        "def a(x): return Half()\ndef b(x): return Fraction(1, 2)\n"
        "def c(x): return numpy.float32(0.5)\ndef d(x): return torch.tensor(0.5)\n"
        "def e(x): return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    for source in (f"{tmp_path / 'kinds.py'}", "kinds"):
        found = [find_function(f"{source}:{name}") for name in "abcde"]
        assert [call and call(Decimal(1)) for call in found] == [Decimal("0.5")] * 4 + [1]


@pytest.mark.parametrize(("text", "message"), [
    ("sinc", "--function must be one of tanh, selu, .*, or FILE.py:NAME"),
    ("no_such.py:f", r"no_such\.py cannot be imported: FileNotFoundError"),
    ("no_such:f", "no_such cannot be imported: ModuleNotFoundError"),
    ("{file}:typo", "typo is not there in .*mine.py"),
    ("{file}:NUMBER", "NUMBER is not a function"),
    ("{broken}:f", "cannot be imported: SyntaxError"),
    ("{exits}:f", "cannot be imported: SystemExit: 3"),
    ("{file}:nan", r"function .*:nan is NaN at x = -4; it must be finite"),
    ("{file}:inverse", "raises at x = 0: ZeroDivisionError"),
    ("{file}:nothing", "raises at x = -4: TypeError: .*NoneType"),
    ("{file}:lines", "raises at x = -4: ValueError: one two$"),
    ("{file}:two", "raises at x = -4: TypeError: .*two"),
])
def test_refusals(text: str, message: str, tmp_path: Path) -> None:
    paths = {name: tmp_path / {"file": "mine.py"}.get(name, f"{name}.py") for name in FILES}
    for name, path in paths.items():
        path.write_text(FILES[name])
    text = text.format(**paths)
    with pytest.raises(InputError, match=message) as caught:
        relation(find_function(text) or FUNCTIONS[text], Q3_5, Q3_5, "exact", name=text)
    assert "\n" not in str(caught.value)
