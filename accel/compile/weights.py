"""Weight tiles on their way from memory into the weight scratchpad, which is a ring of tiles."""
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from accel.spec.config import AccelConfig

#: Tiles of one LOAD.
PIECE = 16


@dataclass(frozen=True)
class Piece:
    """Tiles that one LOAD copies: from ``tile`` of those in memory to ``place`` of the ring."""

    tile: int
    place: int
    tiles: int


@dataclass
class WeightStream:
    """What every block uses, in order; then, block by block, what is to be loaded when.

    Members
    -------
    sequence
        Tile in memory of each place of the ring, which goes on beyond the scratchpad's depth.
    uses
        Per block its first place and tiles.
    """

    config: AccelConfig
    sequence: list[int] = field(default_factory=list)
    uses: list[tuple[int, int]] = field(default_factory=list)
    loaded: int = 0
    credit: int = 0

    def use(self, tile: int, tiles: int, place: int | None = None) -> int:
        """The next block uses ``tiles`` from ``tile`` on, or those at ``place`` if still there.

        Returns their place.
        """
        if place is None or len(self.sequence) > place + self.config.weight_depth:
            place = len(self.sequence)
            self.sequence += range(tile, tile + tiles)
        self.uses.append((place, tiles))
        return place

    def finish(self) -> None:
        """All uses are known."""
        firsts = [place for place, _ in self.uses]
        #: Per block the first place that it or a later one uses.
        self.floor = list(accumulate(reversed(firsts), min))[::-1]

    def needed(self, block: int) -> Iterator[Piece]:
        """What must be loaded before a block, and is not yet."""
        place, tiles = self.uses[block]
        yield from self._until(place + tiles)

    def ahead(self, block: int, spare_cycles: int) -> Iterator[Piece]:
        """What may be loaded while a block runs, in ``spare_cycles`` cycles of the load unit.

        Never what would have to wait for a block that has just begun.
        """
        self.credit = min(self.credit, 0) + spare_cycles
        room = self.floor[max(0, block - 1)] + self.config.weight_depth
        while (self.credit > 0 and self.loaded < len(self.sequence)
               and self.loaded + PIECE <= room):
            yield from self._until(self.loaded + PIECE)

    def _until(self, place: int) -> Iterator[Piece]:
        place = min(place, len(self.sequence))
        while self.loaded < place:
            first, tile = self.loaded, self.sequence[self.loaded]
            count = 1
            while (count < PIECE and first + count < place
                   and self.sequence[first + count] == tile + count):
                count += 1
            self.loaded += count
            self.credit -= count * self.config.rows
            yield Piece(tile, first, count)
