"""Bench: let a component that checks itself run to its end.

Ports: ``done``, and ``wrong``, the count of differences. Job: ``cycles``, after which it must be
done, and ``compared``, the values that it compares.
"""
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, SimTimeoutError, with_timeout

from sim.hdl.results import Scoreboard, read_job

PERIOD = 10     # ns


@cocotb.test()
async def exhaustive(dut: Any) -> None:
    """Wait for ``done`` without looking at any cycle."""
    job, score = read_job(), Scoreboard()
    Clock(dut.clk, PERIOD, unit="ns").start(start_high=True)
    dut.rst.value = 0
    try:
        await with_timeout(RisingEdge(dut.done), job["cycles"] * PERIOD, "ns")
        score.compare("differences", [0], [int(dut.wrong.value.to_unsigned())])
        score.compared = job["compared"]
    except SimTimeoutError:
        score.compare("done", [1], [0])
    score.cycles = job["cycles"]
    score.write()
