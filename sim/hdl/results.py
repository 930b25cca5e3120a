"""A bench's job and result files, and the scoreboard that fills the result."""
import json
import os
import pickle
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def read_job() -> dict[str, Any]:
    """The job of this run (see `sim.runner`)."""
    job: dict[str, Any] = pickle.loads(Path(os.environ["SYSTOLITH_JOB"]).read_bytes())
    return job


class Scoreboard:
    """Counts compared values and describes the first that differs."""

    def __init__(self) -> None:
        self.compared = self.mismatches = self.cycles = 0
        self.first = ""
        self.extra: dict[str, Any] = {}
        self._started = time.perf_counter()

    def compare(self, where: str, expected: Sequence[int], got: Sequence[int],
                place: Callable[[int], object] = int) -> None:
        """Compare value by value; ``where`` names the port, ``place`` the index in it."""
        wrong = [(index, e, g) for index, (e, g) in enumerate(zip(expected, got, strict=True))
                 if e != g]
        self.compared += len(expected)
        self.mismatches += len(wrong)
        if wrong and not self.first:
            index, e, g = wrong[0]
            self.first = f"{where}, index {place(index)}: expected {e}, got {g}"

    def write(self) -> None:
        """Write the result file; without one the run counts as broken."""
        result = {"compared": self.compared, "mismatches": self.mismatches, "first": self.first,
                  "cycles": self.cycles, "extra": self.extra,
                  "seconds": time.perf_counter() - self._started}
        Path(os.environ["SYSTOLITH_RESULT"]).write_text(json.dumps(result))
