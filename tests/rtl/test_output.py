"""Output scratchpad: who writes first, and when it can be read."""
import random

import pytest
from amaranth.sim import SimulatorContext

from accel.spec.config import AccelConfig
from rtl.output import OutputScratchpad
from sim import pysim
from tests.configs import FIVE_BY_SEVEN, config

SMALL = config("small", out_depth=16)
ODD = config("odd", cols=7, out_depth=32, act_bits=5, residual=False)


@pytest.mark.parametrize("config", [SMALL, ODD], ids=lambda config: config.name)
@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_keeps_what_both_write(config: AccelConfig, share: float) -> None:
    """LOAD's words wait while the vector unit writes, in a ``share`` of the cycles."""
    c, rng, dut = config, random.Random(f"{config.name} {share}"), OutputScratchpad(config)
    everything, latency = (1 << c.word_lanes) - 1, OutputScratchpad.read_latency
    contents: list[list[int | None]] = [[None] * c.word_lanes for _ in range(c.out_depth)]
    found: list[dict[str, list[int | None]]] = []   # what each cycle's reads should give
    took = waited = 0

    def write(address: int, enable: int, word: int) -> None:
        for lane in range(c.word_lanes):
            if enable >> lane & 1:
                contents[address][lane] = word >> c.act_bits * lane & ((1 << c.act_bits) - 1)

    async def bench(ctx: SimulatorContext) -> None:
        nonlocal took, waited
        before, offer = None, None      # the vector unit's last write; what LOAD offers
        for cycle in range(400):
            enable = rng.getrandbits(c.word_lanes) if rng.random() < share else 0
            now = (rng.randrange(c.out_depth), enable, rng.getrandbits(c.word_lanes * c.act_bits))
            for port, value in zip((dut.write.address, dut.write.enable,
                                    dut.write.data.as_value()), now, strict=True):
                ctx.set(port, value)
            if offer is None and rng.random() < 0.5:
                offer = rng.randrange(c.out_depth), rng.getrandbits(c.word_lanes * c.act_bits)
                ctx.set(dut.load.payload, {"address": offer[0], "data": offer[1]})
            ctx.set(dut.load.valid, offer is not None)
            places = {reader: rng.randrange(c.out_depth) for reader in dut.readers}
            for reader, place in places.items():
                ctx.set(getattr(dut, f"{reader}_address"), place)
                if cycle >= latency:
                    got = ctx.get(getattr(dut, f"{reader}_data").as_value())
                    for lane, code in enumerate(found[cycle - latency][reader]):
                        if code is not None:
                            assert got >> c.act_bits * lane & ((1 << c.act_bits) - 1) == code
            # the vector unit's write is a register behind, and that is when LOAD waits
            assert ctx.get(dut.load.ready) == (before is None)
            found.append({reader: list(contents[place]) for reader, place in places.items()})
            done = before if before else (offer[0], everything, offer[1]) if offer else None
            if done:
                write(*done)
                for reader, place in places.items():
                    if place == done[0]:    # read as it is written: may be anything
                        found[-1][reader] = [None] * c.word_lanes
            took, waited = took + bool(offer and not before), waited + bool(offer and before)
            offer, before = offer if before else None, now if enable else None
            await ctx.tick()

    pysim.run(dut, bench)
    assert took > 10
    assert bool(waited) == bool(share)


def test_a_write_can_be_read_as_soon_as_it_says() -> None:
    dut = OutputScratchpad(FIVE_BY_SEVEN)
    seen = []

    async def bench(ctx: SimulatorContext) -> None:
        ctx.set(dut.write, {"address": 9, "enable": -1 % (1 << FIVE_BY_SEVEN.word_lanes),
                            "data": [5] * FIVE_BY_SEVEN.word_lanes})
        await ctx.tick()
        ctx.set(dut.write.enable, 0)
        await ctx.tick().repeat(OutputScratchpad.WRITE_LATENCY - 1)
        ctx.set(dut.add_address, 9)
        await ctx.tick().repeat(OutputScratchpad.read_latency)
        seen.extend(dut_lane for dut_lane in (ctx.get(dut.add_data[0]), ctx.get(dut.add_data[7])))

    pysim.run(dut, bench)
    assert seen == [5, 5]
