"""No result depends on a word that is read in the cycle that writes it.

`rtl.emit.free_collisions` lets synthesis return anything then; here such a read returns the
word's complement, and networks must come out right all the same.
"""
import pytest
from amaranth.hdl import Module, Mux
from amaranth.lib import memory

from accel.spec.config import AccelConfig
from rtl.arith import register
from rtl.ram import Ram
from sim.native import NativeDevice
from tests.configs import TINY, TWO_BY_THREE
from tests.graphs import build, images
from tests.system.test_networks import NETWORKS, cases, check


def poisoned(self: Ram, platform: object) -> Module:
    """`Ram.elaborate`, but a collision spoils what is read."""
    m = Module()
    m.submodules.cells = cells = memory.Memory(shape=self.word, depth=self.depth, init=[])
    write = cells.write_port(granularity=1)
    m.d.comb += [write.addr.eq(self.w_addr), write.data.eq(self.w_data), write.en.eq(self.w_en)]
    for index in range(self.read_ports):
        read, address = cells.read_port(), getattr(self, f"r{index}_addr")
        collided = (address == self.w_addr) & self.w_en.any()
        late = register(m, collided, f"collided_{index}")
        m.d.comb += read.addr.eq(address)
        m.d.sync += getattr(self, f"r{index}_data").as_value().eq(
            Mux(late, ~read.data.as_value(), read.data.as_value()))
    return m


@pytest.mark.slow
@pytest.mark.parametrize("c", [TINY, TWO_BY_THREE], ids=lambda c: c.name)
def test_networks_do_not_notice(c: AccelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ram, "elaborate", poisoned)
    device = NativeDevice(c)
    for param in cases([c]):
        shape, layers = NETWORKS[param.values[1]]
        check(device, build(c, shape, layers, 5), images(c, shape, 5, 5), keep=True)
