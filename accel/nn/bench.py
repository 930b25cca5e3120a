"""``python -m accel.nn.bench``: what a training step of each layer costs beside a convolution's."""
import argparse
import ctypes
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional

from accel.console import console
from accel.nn.add import AddConv2d
from accel.nn.shift import ShiftConv2d

#: Batch, channels in, channels out, height and width, stride; the kernel is 3 x 3, padded.
Case = tuple[int, int, int, int, int]
CASES: tuple[Case, ...] = ((32, 16, 16, 28, 1), (32, 32, 32, 14, 1), (32, 64, 64, 7, 1),
                           (32, 16, 32, 28, 2))
ROUNDS = 31
#: Of the stock implementation, which takes up to a second.
STOCK_ROUNDS = 3
MIB = 1 << 20


class StockAdd(nn.Module):
    """An add layer as a user of torch would write it, with the gradient of ``|x - w|``."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels * 9, 1))
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Apply to ``x`` (n, in, h, w); the result is (n, out, positions)."""
        columns = functional.unfold(x, 3, padding=1, stride=self.stride)
        return -(columns[:, None] - self.weight).abs().sum(2)


def layers(case: Case) -> dict[str, nn.Module]:
    """What is measured, by name."""
    _, channels, outputs, _, stride = case
    shape = channels, outputs, 3, stride, 1
    return {"conv": nn.Conv2d(*shape, bias=False), "add": AddConv2d(*shape),
            "stock": StockAdd(channels, outputs, stride),
            "shift ps": ShiftConv2d(*shape, bias=False),
            "shift q": ShiftConv2d(*shape, bias=False, mode="q")}


def step(layer: nn.Module, case: Case) -> Callable[[], None]:
    """Forward and backward, for the gradients of the weights and of the input."""
    batch, channels, _, size, _ = case
    x = torch.randn(batch, channels, size, size, requires_grad=True)
    grad = torch.randn_like(layer(x))

    def run() -> None:
        layer.zero_grad()
        x.grad = None
        torch.autograd.backward(layer(x), grad)
    return run


def seconds(case: Case, threads: int) -> dict[str, tuple[float, float]]:
    """Median time of a step by layer: on the clock, and of this process on all cores.

    The layers take turns, so that all see the same machine.
    """
    torch.set_num_threads(threads)
    steps = {name: step(layer, case) for name, layer in layers(case).items()}
    # by itself: it leaves nothing of the others in the caches
    stock = {"stock": steps.pop("stock")}
    return _medians(steps, ROUNDS) | _medians(stock, STOCK_ROUNDS)


def _medians(steps: dict[str, Callable[[], None]],
             rounds: int) -> dict[str, tuple[float, float]]:
    walls: dict[str, list[float]] = {name: [] for name in steps}
    works: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, run in steps.items():
            wall, work = time.perf_counter(), time.process_time()
            run()
            if turn:        # the first is slower
                walls[name].append(time.perf_counter() - wall)
                works[name].append(time.process_time() - work)
    return {name: (median(walls[name]), median(works[name])) for name in steps}


def peak(name: str, case: Case) -> int:
    """Bytes that a step holds at most beside its input; ask in a process of its own (Linux)."""
    torch.set_num_threads(1)
    batch, channels, _, size, _ = case
    small = 1, *case[1:]
    step(layers(small)[name], small)()      # loads its code
    layer, x = layers(case)[name], torch.randn(batch, channels, size, size, requires_grad=True)
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")     # forget the peak
    before = _status("VmRSS")
    y = layer(x)
    y.backward(y.detach())
    return _status("VmHWM") - before


def _status(key: str) -> int:
    """A size of this process, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def main(arguments: list[str] | None = None) -> None:
    """Measure and print; ``arguments`` of the command line, of which there are none but help."""
    argparse.ArgumentParser(
        prog="python -m accel.nn.bench",
        description="What a training step of each layer costs beside a convolution's.",
    ).parse_args(arguments)
    # Each in a fork that has no heap yet to take memory from; torch's threads would not survive it.
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        peaks = [{name: pool.apply(peak, (name, case)) for name in ("conv", "add", "stock")}
                 for case in CASES]
    # Where other programs run, they interrupt a longer step more often: x CPU is without that, but
    # two threads also spend it on waiting for each other.
    table = Table(title="A training step, forward and backward; times are medians, x: of conv's")
    for heading in ("n, in -> out, size, stride", "threads", "conv ms", "add ms", "add x",
                    "add x CPU", "stock x", "shift ps x", "shift q x", "conv MiB",
                    "add MiB", "stock MiB"):
        table.add_column(heading, justify="right")
    for case, sizes in zip(CASES, peaks, strict=True):
        for threads in sorted({1, min(2, os.cpu_count() or 1)}):
            times = seconds(case, threads)
            batch, channels, outputs, size, stride = case
            ratios = {name: [mine / conv for mine, conv in zip(both, times["conv"], strict=True)]
                      for name, both in times.items()}
            table.add_row(f"{batch}, {channels} -> {outputs}, {size}x{size}, {stride}",
                          str(threads),
                          *(f"{1e3 * times[name][0]:.2f}" for name in ("conv", "add")),
                          *(f"{ratio:.2f}" for ratio in ratios["add"]),
                          *(f"{ratios[name][0]:.2f}" for name in
                            ("stock", "shift ps", "shift q")),
                          *(f"{held / MIB:.1f}" for held in sizes.values()))
    console().print(table)


if __name__ == "__main__":
    main()
