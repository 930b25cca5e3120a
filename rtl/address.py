"""Nested affine loops: the micro level that turns an instruction into one address per cycle."""
from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out


class AffineLoops(wiring.Component):
    """Walks nested loops and keeps affine addresses of the indices.

    ``address[s] = base[s] + sum(index[level] * stride[s][level])``, modulo the address width.
    ``start`` loads the loops; from the next cycle on the outputs are those of the first step, and
    each ``step`` advances to the following one, the innermost loop first. Counts are at least 1
    and, like the strides, must hold still until the last step.

    Parameters
    ----------
    count_bits
        Width of each loop's count, outermost first.
    address_bits
        Width of each address stream.

    Members
    -------
    counts, bases, strides
        Loop counts; per stream a base and one stride per level.
    addresses
        One per stream.
    at_first, at_last
        Per level: its index is the first, the last.
    last
        This is the last step of all.
    """

    def __init__(self, count_bits: tuple[int, ...], address_bits: tuple[int, ...]) -> None:
        self.count_bits, self.address_bits = count_bits, address_bits
        levels = len(count_bits)
        streams = data.StructLayout({f"s{s}": bits for s, bits in enumerate(address_bits)})
        super().__init__({
            "start": In(1), "step": In(1),
            "counts": In(data.StructLayout({f"l{k}": b for k, b in enumerate(count_bits)})),
            "bases": In(streams),
            "strides": In(data.StructLayout({
                f"s{s}": data.ArrayLayout(bits, levels) for s, bits in enumerate(address_bits)})),
            "addresses": Out(streams), "at_first": Out(levels), "at_last": Out(levels),
            "last": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        levels = range(len(self.count_bits))
        m.d.comb += self.last.eq(self.at_last.all())

        # Level k advances when every level inside it is at its last index; those start over.
        advance = [self.step & self.at_last[k + 1:].all() if k + 1 < len(levels) else self.step
                   for k in levels]
        for k in levels:
            remaining = Signal(self.count_bits[k], name=f"remaining_{k}")
            reload = self.start | (advance[k] & self.at_last[k])
            # registered flags: the address path must not wait for a comparison, nor that for a
            # subtraction
            count = self.counts[f"l{k}"]
            with m.If(reload | advance[k]):
                m.d.sync += [
                    remaining.eq(Mux(reload, count, remaining - 1)[:self.count_bits[k]]),
                    self.at_last[k].eq(Mux(reload, count == 1, remaining == 2)),
                    self.at_first[k].eq(reload)]

        for s, bits in enumerate(self.address_bits):
            stream = f"s{s}"
            here = [Signal(bits, name=f"address_{s}_{k}") for k in levels]
            for k in levels:
                # the address with all indices inside level k at zero
                with m.If(self.start):
                    m.d.sync += here[k].eq(self.bases[stream])
                for outer in range(k + 1):
                    moves = advance[outer] & ~self.at_last[outer]
                    with m.If(moves):
                        m.d.sync += here[k].eq(here[outer] + self.strides[stream][outer])
            m.d.comb += self.addresses[stream].eq(here[-1])
        return m
