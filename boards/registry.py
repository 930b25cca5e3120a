"""The boards that work, by name."""
from accel.spec.config import ConfigError
from boards.spec import BoardSpec
from boards.ulx3s import ULX3S

BOARDS: dict[str, BoardSpec] = {spec.name: spec for spec in (ULX3S,)}


def board(name: str) -> BoardSpec:
    """Look up a board; an unknown name is a `ConfigError` listing the known ones."""
    if name not in BOARDS:
        raise ConfigError(f"BOARD must be one of {', '.join(BOARDS)}, not {name!r}")
    return BOARDS[name]
