"""What a plain array would take: the yardstick for what modes and overlap bring."""
from math import prod

from accel.cost.cycles import latencies
from accel.graph import Conv2d
from accel.spec.config import AccelConfig
from accel.spec.isa import Unit


def plain_cycles(conv: Conv2d, config: AccelConfig) -> int:
    """Cycles of one convolution, alone, as a matrix product on a weight-stationary array.

    The array has no modes, loads the next tile's weights meanwhile, a row of it per cycle, and
    keeps a tile for all positions: ``tiles * max(positions, rows)``, and once the latency of array
    and vector unit. Groups stand side by side on the diagonal of a tile where they fit. Memory is
    never waited for.
    """
    out, taps = len(conv.weight) // conv.groups, prod(conv.weight.shape[1:])
    beside = max(1, min(config.rows // taps, config.cols // out))
    tiles = (-(-conv.groups // beside) * -(-beside * taps // config.rows)
             * -(-beside * out // config.cols))
    latency = latencies(config)
    return (tiles * max(prod(conv.output.shape[1:]), config.rows)
            + latency[Unit.GEMM] + latency[Unit.VECTOR])
