"""Where tables go."""
import sys

from rich.console import Console

LOG_WIDTH = 150


def console() -> Console:
    """A terminal at its own width; in a file or pipe, wide enough that no table is cut."""
    return Console() if sys.stdout.isatty() else Console(width=LOG_WIDTH)
