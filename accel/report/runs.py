"""Synthesis, placement and routing of many designs, several at a time."""
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from rich.console import Console

from accel.report.benches import Bench
from boards.implement import Netlist, place_and_route, synthesise
from boards.process import BuildError, stop_tools, terminable
from boards.tools import find_tool

_POLL_S = 0.5
_elaboration = Lock()   # Amaranth's messages about unused parts are per process


@dataclass
class Outcome:
    """What became of one design.

    Members
    -------
    digest
        Of its netlist.
    harness
        LUT4 and FF of the harness.
    runs
        Results of `place_and_route` by ascending seed.
    unfit
        Empty, or which resources the device lacks.
    failure
        Empty, or the first run that failed.
    """

    digest: str = ""
    harness: dict[str, int] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)
    unfit: str = ""
    failure: str = ""


def run_all(benches: Sequence[Bench], seeds: Sequence[int], target_mhz: Mapping[str, float], *,
            jobs: int, timeout_s: float, quiet: bool) -> list[Outcome]:
    """Outcome of each design, with ``jobs`` tools running at a time; progress goes to stderr.

    `ToolError` if a tool is missing. If interrupted, the tools are stopped; what was finished is
    kept by `boards.implement`.
    """
    for tool in {"yosys", *(bench.device.nextpnr for bench in benches)}:
        find_tool(tool)     # one that is missing is known before hours have passed
    console = Console(stderr=True, quiet=quiet)
    with terminable(), ThreadPoolExecutor(jobs) as pool:
        netlists: dict[str, Future[tuple[Netlist, dict[str, int]]]] = {}
        routed: dict[tuple[str, int], Future[dict[str, Any]]] = {}
        # Each netlist one design ahead, as a run that waits for its netlist keeps a thread busy.
        for bench, ahead in zip(benches, [*benches[1:], None], strict=True):
            for each in (bench, ahead):
                if each and each.key not in netlists:
                    netlists[each.key] = pool.submit(_prepare, each, timeout_s)
            for seed in seeds:
                routed[bench.key, seed] = pool.submit(
                    _route, netlists[bench.key], seed, target_mhz[bench.device.name], timeout_s)
        titles: dict[Future[Any], str] = {
            **{future: f"{key}: synthesis" for key, future in netlists.items()},
            **{future: f"{key}: seed {seed}" for (key, seed), future in routed.items()}}
        finish(pool, titles, _summary, console)
    return [_outcome(netlists[bench.key], [routed[bench.key, seed] for seed in seeds])
            for bench in benches]


def finish(pool: ThreadPoolExecutor, titles: Mapping["Future[Any]", str],
           summary: Callable[["Future[Any]"], str], console: Console) -> None:
    """Wait for everything that ``pool`` does; if interrupted, stop the tools, and start no more."""
    try:
        _watch(titles, summary, console)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        while not all(future.done() for future in titles):
            stop_tools()
            time.sleep(_POLL_S)
        raise


def _prepare(bench: Bench, timeout_s: float) -> tuple[Netlist, dict[str, int]]:
    with _elaboration:
        text, harness = bench.elaborate()
    return synthesise(text, bench.device, timeout_s=timeout_s, quiet=True), harness


def _route(netlist: "Future[tuple[Netlist, dict[str, int]]]", seed: int, target_mhz: float,
           timeout_s: float) -> dict[str, Any]:
    return place_and_route(netlist.result()[0], target_mhz=target_mhz, seed=seed,
                           timeout_s=timeout_s, quiet=True)


def _watch(titles: Mapping["Future[Any]", str], summary: Callable[["Future[Any]"], str],
           console: Console) -> None:
    """Wait for all futures and tell which are done, and on a terminal which run."""
    start, left = time.monotonic(), set(titles)
    status = console.status("") if console.is_terminal and not console.quiet else nullcontext()
    with status as line:
        while left:
            done, left = wait(left, _POLL_S, FIRST_COMPLETED)
            before = len(titles) - len(left) - len(done)
            for number, future in enumerate(sorted(done, key=titles.__getitem__), before + 1):
                console.print(f"{number}/{len(titles)} {titles[future]}{summary(future)}",
                              highlight=False, soft_wrap=True)
            if line is not None:
                now = ", ".join(title for future, title in titles.items() if future.running())
                line.update(f"{time.monotonic() - start:.0f} s: {now}")


def _summary(future: "Future[Any]") -> str:
    if error := future.exception():
        return f": {str(error).splitlines()[0]}"
    if isinstance(found := future.result(), dict):
        return f": {found['fmax_mhz']:.1f} MHz"
    return ""


def _outcome(netlist: "Future[tuple[Netlist, dict[str, int]]]",
             routed: "Sequence[Future[dict[str, Any]]]") -> Outcome:
    if errors := list(_errors([netlist])):
        return Outcome(failure=errors[0])
    design, harness = netlist.result()
    if design.overfull:
        return Outcome(design.digest, harness, unfit=f"does not fit {design.device.part}: "
                                                     f"{'; '.join(design.overfull)}")
    return Outcome(design.digest, harness,
                   [future.result() for future in routed if future.exception() is None],
                   failure=next(_errors(routed), ""))


def _errors(futures: "Sequence[Future[Any]]") -> Iterator[str]:
    """First lines of what failed; anything but `BuildError` is raised."""
    for future in futures:
        if (error := future.exception()) is not None:
            if not isinstance(error, BuildError):
                raise error
            yield str(error).splitlines()[0]
