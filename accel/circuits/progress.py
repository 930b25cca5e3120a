"""A sign of life on stderr, for searches that nobody else shows."""
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn


@contextmanager
def shown(text: str) -> Generator[Callable[[float], None]]:
    """Gives what is to be told the part done, 0..1.

    A bar while it lasts on a terminal; one plain line at the start elsewhere.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        console.print(text, markup=False, highlight=False, soft_wrap=True)
        yield lambda part: None
        return
    # The bar first: a long text would squeeze it out of a narrow terminal.
    columns = BarColumn(bar_width=12), TaskProgressColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=console, transient=True) as bars:
        # a format's text may look like markup
        bar = bars.add_task(escape(text), total=1.0)
        yield lambda part: bars.update(bar, completed=part)
