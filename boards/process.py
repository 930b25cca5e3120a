"""Runs one external tool: in its folder, within a time limit, with progress and a readable end."""
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from boards.tools import Tool

_POLL_S = 0.2
_TAIL_LINES = 8
_running: set["subprocess.Popen[bytes]"] = set()


class BuildError(RuntimeError):
    """A step that failed, or a result that misses its target; the first line says it all."""


def run_tool(tool: Tool, arguments: Sequence[str], folder: Path, *, title: str, log: Path,
             timeout_s: float, quiet: bool = False) -> float:
    """Run ``tool`` in ``folder`` and return the seconds it took.

    Progress goes to stderr: a status line with the elapsed time on a terminal, else one plain line
    at each end. `BuildError` if the tool fails or exceeds ``timeout_s``; it quotes the last lines
    of ``log`` (which the tool may write itself; its output goes to ``log`` + ``.out``).
    """
    console = Console(stderr=True, quiet=quiet)
    start = time.monotonic()
    output = log.with_name(log.name + ".out")
    with output.open("wb") as sink, terminable():
        # A session of its own, so that a time-out ends the tool's children too.
        process = subprocess.Popen([tool.path, *arguments], cwd=folder, stdout=sink,
                                   stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                   start_new_session=True)
        _running.add(process)
        try:
            code = _wait(process, console, title, timeout_s, start)
        finally:
            _running.discard(process)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    seconds = time.monotonic() - start
    if code is None:
        raise BuildError(f"{title}: {tool.name} took longer than {timeout_s / 60:g} minutes and "
                         f"was stopped; log: {log}")
    if code:
        raise BuildError("\n".join([f"{title}: {tool.name} ended with code {code}; log: {log}",
                                    *error_lines(log, output)]))
    if not console.is_terminal:
        console.print(f"{title}: {seconds:.1f} s", highlight=False)
    return seconds


def stop_tools() -> None:
    """End the tools that run now, in all threads; their `run_tool` raises `BuildError`."""
    for process in [*_running]:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def error_lines(*logs: Path) -> list[str]:
    """Last error lines of the logs that exist, or the last lines if none looks like an error."""
    lines = [line.rstrip() for log in logs if log.exists()
             for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR" in line or "error:" in line.lower()]
    return list(dict.fromkeys(errors or lines))[-_TAIL_LINES:]


@contextmanager
def terminable() -> Generator[None]:
    """Turn SIGTERM (``timeout``, ``make``) into an exit that unwinds, so that no tool survives."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _wait(process: "subprocess.Popen[bytes]", console: Console, title: str, timeout_s: float,
          start: float) -> int | None:
    status: AbstractContextManager[Any] = nullcontext()
    if console.is_terminal:
        status = console.status(title)
    elif not console.quiet:
        console.print(f"{title} ...", highlight=False)
        sys.stderr.flush()
    with status as line:
        while (elapsed := time.monotonic() - start) < timeout_s:
            try:
                return process.wait(_POLL_S)
            except subprocess.TimeoutExpired:
                if line is not None:
                    line.update(f"{title} {elapsed:.0f} s")
    return None
