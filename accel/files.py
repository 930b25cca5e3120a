"""Where results are kept, and how they are written."""
import os
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"


def write_atomic(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    """Write a file so that a reader finds the old content or all of the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Threads may write the same path at once: benches of one netlist share a cache entry.
    partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    partial.write_bytes(content.encode() if isinstance(content, str) else content)
    partial.chmod(mode)
    partial.replace(path)
