"""The C++ that comes with Systolith, compiled where it is needed, once."""
import hashlib
import os
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from accel.files import BUILD


class CompilerError(Exception):
    """g++ is missing or fails, or the result cannot be kept; the message is one line."""


def compiled(source: Path, name: str, flags: Sequence[str], *, parts: Sequence[Path] = (),
             machine: str = "") -> Path:
    """What g++ makes of ``source`` with ``flags``, kept as ``build/name-DIGEST``.

    ``parts`` are files that the source includes, ``machine`` is what else the result depends on.
    Raises `CompilerError`.
    """
    content = b"".join(path.read_bytes() for path in (source, *parts))
    digest = hashlib.sha256(content + " ".join((*flags, machine)).encode()).hexdigest()[:16]
    path = (BUILD / name).with_name(f"{Path(name).name}-{digest}")
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
            _run(["g++", *flags, "-o", str(partial), str(source)], source)
            partial.replace(path)
    except OSError as error:
        raise CompilerError(f"cannot write {path}: {error.strerror}") from None
    return path


def _run(command: Sequence[str], source: Path) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise CompilerError("g++ not found" if missing
                            else f"cannot run g++: {error.strerror}") from None
    if done.returncode:
        reason = (done.stderr.splitlines() or ["it stopped"])[0]
        raise CompilerError(f"g++ cannot compile {source}: {reason}")
