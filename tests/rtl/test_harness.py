"""The harness for place and route: its size, and that chain and tree do what they say."""
from pathlib import Path

import pytest
from amaranth.hdl import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from boards import implement, tools
from boards.devices import ECP5, ICE40, Device
from rtl.emit import rtlil_text
from rtl.harness import NODE_INPUTS, TAP, Harness


class Toggles(wiring.Component):
    """Output ``n`` inverts itself when input ``n`` modulo their number is set: a LUT and a FF."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__({"i": In(data.ArrayLayout(1, inputs)), "more": Out(1),
                          "o": Out(outputs - 1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        inputs = len(self.i.as_value())
        m.d.sync += self.more.eq(self.more ^ self.i[0])
        m.d.sync += [bit.eq(bit ^ self.i[(index + 1) % inputs])
                     for index, bit in enumerate(self.o)]
        return m


@pytest.mark.parametrize("device", [ECP5, ICE40], ids=lambda device: device.name)
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (3, 3), (4, 5), (9, 17), (40, 65)])
def test_size(inputs: int, outputs: int, device: Device, tmp_path: Path,
              monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (tools, implement):
        monkeypatch.setattr(module, "BUILD", tmp_path)
    harness = Harness(Toggles(inputs, outputs))
    design = implement.synthesise(rtlil_text(harness, "top"), device, timeout_s=60, quiet=True)
    assert device.usage(design.cells) == {"LUT4": harness.lut4 + outputs, "DSP": 0, "BRAM": 0,
                                          "FF": harness.ff + outputs}


def parity(bits: list[int]) -> int:
    return sum(bits) % 2


def test_function() -> None:
    """Every input has its own bit of the chain, and every output reaches the pin."""
    dut = Toggles(3, 5)
    harness = Harness(dut)
    stimulus = [int(bit) for bit in f"{0x9E3779B97F4A7C15:064b}"]
    got, expected = [], []
    # chain[0] is the pin; of the tree, the first level's two nodes and the root
    chain, toggles, nodes, root = [0] * 4, [0] * 5, [0] * 2, 0

    async def bench(ctx) -> None:
        nonlocal chain, toggles, nodes, root
        for bit in stimulus:
            ctx.set(harness.i, bit)
            ctx.set(harness.clk, 0)
            await ctx.delay(1e-6)
            ctx.set(harness.clk, 1)
            await ctx.delay(1e-6)
            chain[0] = bit
            root, nodes = parity(nodes), [parity(toggles[first:first + NODE_INPUTS])
                                          for first in (0, NODE_INPUTS)]
            inputs = chain[1:]
            toggles = [old ^ inputs[index % 3] for index, old in enumerate(toggles)]
            chain = [bit, *(chain[at - 1] ^ (chain[at - TAP] if at >= TAP else 0)
                            for at in range(1, 4))]
            got.append(ctx.get(harness.o))
            expected.append(root)

    simulator = Simulator(harness)
    simulator.add_testbench(bench)
    simulator.run()
    assert got == expected
    assert 0 < sum(got) < len(got)
