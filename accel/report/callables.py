"""``--function``: one of ours by name, or a Python function of the user's."""
import sys
from collections.abc import Callable
from importlib import import_module, util
from pathlib import Path
from types import ModuleType
from typing import Any

from accel.report.options import OptionError
from accel.spec.functions import FUNCTIONS, Function
from accel.spec.relation import of_floats


def find_function(text: str) -> Function | None:
    """What ``FILE.py:NAME`` or ``package.module:NAME`` names; None for one of `FUNCTIONS`.

    The user's function takes a float and returns a number. Raises `OptionError`.
    """
    if text in FUNCTIONS:
        return None
    source, colon, name = text.rpartition(":")
    if not (colon and source and name):
        raise OptionError(f"--function must be one of {', '.join(FUNCTIONS)}, or FILE.py:NAME or "
                          f"package.module:NAME of a Python function, not {text!r}")
    try:
        module = _run(Path(source)) if source.endswith(".py") else import_module(source)
    except (Exception, SystemExit) as error:    # whatever a user's module raises
        raise OptionError(f"--function {text}: {source} cannot be imported: "
                          f"{_reason(error)}") from None
    if not callable(call := getattr(module, name, None)):
        fault = "is not a function" if hasattr(module, name) else "is not there"
        raise OptionError(f"--function {text}: {name} {fault} in {source}")
    return of_floats(_number(call))


def _run(path: Path) -> ModuleType:
    """The module in a file, whose folder is not put on the path."""
    spec = util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = util.module_from_spec(spec)
    before = sys.modules.get(path.stem)
    sys.modules[path.stem] = module     # a dataclass looks itself up there
    try:
        spec.loader.exec_module(module)
    finally:
        if before is None:
            del sys.modules[path.stem]
        else:
            sys.modules[path.stem] = before
    return module


def _number(call: Callable[[float], Any]) -> Callable[[float], Any]:
    """``call``, but what is no plain number, as a tensor of one element, becomes a float."""
    def function(x: float) -> Any:
        value = call(x)
        return value if type(value) in (int, float) else float(value)
    return function


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
