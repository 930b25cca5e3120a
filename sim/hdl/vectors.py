"""Bench: drive a unit's ports from a table, cycle by cycle, and compare its outputs.

Job: ``inputs`` (port -> unsigned words per cycle), ``expected`` (port -> word or None per cycle,
as seen in that cycle, before its clock edge). Units without a clock settle in every cycle.
"""
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer

from sim.hdl.results import Scoreboard, read_job

PERIOD = 10     # ns


@cocotb.test()
async def vectors(dut: Any) -> None:
    """Drive after each falling edge, look just before the next rising one."""
    job, score = read_job(), Scoreboard()
    clocked = hasattr(dut, "clk")
    if clocked:
        Clock(dut.clk, PERIOD, unit="ns").start(start_high=True)
        dut.rst.value = 0
    inputs = [(getattr(dut, name), words) for name, words in job["inputs"].items()]
    wanted = {name: [] for name in job["expected"]}
    seen = {name: [] for name in job["expected"]}
    looked = {name: [] for name in job["expected"]}     # in which cycles
    cycles = len(next(iter(job["inputs"].values())))
    for cycle in range(cycles):
        if clocked:
            await FallingEdge(dut.clk)
        for port, words in inputs:
            port.value = words[cycle]
        await Timer(PERIOD / 4, unit="ns")
        for name, words in job["expected"].items():
            if words[cycle] is not None:
                looked[name].append(cycle)
                wanted[name].append(words[cycle])
                value = getattr(dut, name).value
                # a port of one bit is a Logic, which has no to_unsigned()
                seen[name].append(int(value) if value.is_resolvable else str(value))
    for name in wanted:
        score.compare(f"{job['name']}, port {name}", wanted[name], seen[name],
                      looked[name].__getitem__)
    score.cycles = cycles
    score.write()
