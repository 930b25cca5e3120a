"""Where results are kept, and how they are written."""
import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from accel.spec.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"


def write_atomic(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    """Write a file so that a reader finds the old content or all of the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    partial.write_bytes(content.encode() if isinstance(content, str) else content)
    partial.chmod(mode)
    partial.replace(path)


def check_writable(option: str, path: Path) -> None:
    """Raise `InputError` if nobody can write ``path``, which ``option`` names; it stays as it is.

    What takes long comes after this.
    """
    with writing(option, path):
        if path.is_dir():
            raise OSError(0, "it is a folder")
        if not path.parent.is_dir():
            raise OSError(0, f"there is no folder {path.parent}")
        partial = _partial(path)
        partial.touch()
        partial.unlink()


@contextmanager
def writing(option: str, path: Path) -> Generator[None, None, None]:
    """Raises `InputError` for an `OSError` inside."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{option} {path} cannot be written: {error.strerror}") from None


def _partial(path: Path) -> Path:
    # Threads may write the same path at once: benches of one netlist share a cache entry.
    return path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
