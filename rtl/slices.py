"""Which products are made in DSP slices."""
from accel.spec.config import AccelConfig

#: Most vector lanes whose products are made in DSP slices; more lanes leave those to the array.
DSP_LANES = 4


def lanes_in_luts(config: AccelConfig) -> bool:
    """Whether the vector unit's lanes need no slices: they have carry chains, or only shift."""
    return config.scale_terms > 0 or config.vector_lanes > DSP_LANES
