"""What the host writes before the first run: weight tiles, row offsets, scales, instructions."""
from collections.abc import Sequence
from dataclasses import dataclass, field

from accel.compile.pack import Taps, offset_words, param_words, tile_rows
from accel.compile.plan import Plan
from accel.compile.stages import CompileError, Stage
from accel.program import Image
from accel.spec.config import AccelConfig
from accel.spec.isa import Instruction, Isa
from accel.spec.link import Space


@dataclass
class Images:
    """The memories under construction."""

    config: AccelConfig
    tiles: list[int] = field(default_factory=list)      # `rows` words per weight tile
    offsets: list[int] = field(default_factory=list)
    params: list[int] = field(default_factory=list)
    _known: dict[tuple[int, ...], int] = field(default_factory=dict)

    def add_tiles(self, plan: Plan) -> None:
        """Weight tiles of a stage in the order of their use."""
        for block in plan.blocks():
            if block.row == 0:
                self.tiles += tile_rows(plan.taps, self.config, list(plan.tile_order(block)))

    def add_offsets(self, plan: Plan) -> int:
        """Row offsets of a geometry; stages of one geometry share them."""
        words = offset_words(plan.offsets, self.config)
        if words not in self._known:
            self._known[words] = len(self.offsets)
            self.offsets += words
        return self._known[words]

    def add_params(self, stage: Stage, taps: Taps) -> tuple[int, int]:
        """First bias and scale word of a stage, and the lane groups of each of its groups."""
        first, c = len(self.params), self.config
        lane_groups = -(-min(len(stage.conv.weight), c.cols) // c.vector_lanes)
        size = lane_groups * (c.vector_lanes // c.param_lanes)
        for number in range(taps.groups):
            words = param_words(stage.conv, number, c)
            self.params += words + [0] * (size - len(words))
        return first, lane_groups

    def finish(self, program: Sequence[Instruction], weights_at: int | None) -> tuple[Image, ...]:
        """All images; `CompileError` lists each memory that is too small.

        Weights go to memory from word ``weights_at`` on, or else to the weight scratchpad.
        """
        c, isa = self.config, Isa(self.config)
        needs = {"instruction_depth": len(program), "param_depth": len(self.params),
                 "offset_depth": len(self.offsets)}
        if faults := [f"{name} must be at least {need}, not {getattr(c, name)}"
                      for name, need in needs.items() if need > getattr(c, name)]:
            raise CompileError(f"the network does not fit config {c.name!r}: " + "; ".join(faults))
        weights = ([Image(Space.MEMORY, weights_at, tuple(self.tiles))]
                   if weights_at is not None else
                   [Image(Space.WEIGHT, tile * c.row_slots,
                          tuple(self.tiles[tile * c.rows:(tile + 1) * c.rows]))
                    for tile in range(len(self.tiles) // c.rows)])
        return (Image(Space.INSTRUCTION, 0, tuple(map(isa.encode, program))),
                Image(Space.OFFSET, 0, tuple(self.offsets)),
                Image(Space.PARAM, 0, tuple(self.params)), *weights)
