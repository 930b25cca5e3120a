"""Bench: a network on the accelerator, through the host link, against the golden model.

Job: ``program`` (path; it keeps its tensors), ``config``, ``codes`` (n, c, h, w), ``golden``
(tensor name -> array). Every stored tensor of every image is read back and compared.
"""
from functools import partial
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles
from cocotb.utils import get_sim_time

from accel import host
from accel.program import Program
from sim.hdl.link import ByteLink
from sim.hdl.results import Scoreboard, read_job

PERIOD = 10     # ns


@cocotb.test()
async def network(dut: Any) -> None:
    """Load the program, run every image, compare."""
    job, score = read_job(), Scoreboard()
    config, program = job["config"], Program.load(Path(job["program"]))
    Clock(dut.clk, PERIOD, unit="ns").start()
    dut.rst.value = 1
    link = ByteLink(dut)
    await ClockCycles(dut.clk, 3)
    dut.rst.value = 0
    await link.converse(host.load(program, config))

    per_image, outputs = [], []
    for n, codes in enumerate(job["codes"]):
        output = await link.converse(host.infer(program, config, codes))
        counters = await link.converse(host.read_counters(config))
        per_image.append(counters.tolist())
        outputs.append(output.reshape(-1).tolist())
        # in execution order, so that the first mismatch is where things went wrong
        for name, layout in program.tensors.items():
            if name not in job["golden"]:       # a copy that the compiler makes
                continue
            got = await link.converse(host.read_tensor(layout, config))
            score.compare(f"image {n}, tensor {name}",
                          job["golden"][name][n].reshape(-1).tolist(), got.reshape(-1).tolist(),
                          partial(_place, layout.shape))
    score.cycles = round(get_sim_time("ns") / PERIOD)
    score.extra = {"counters": per_image, "outputs": outputs}
    score.write()


def _place(shape: tuple[int, ...], index: int) -> tuple[int, ...]:
    return tuple(map(int, np.unravel_index(index, shape)))
