"""Sizes of a convolution's window, as torch accepts them."""

Size = int | tuple[int, ...]


def pair(size: Size) -> tuple[int, int]:
    """Of height and width; a single number is both."""
    height, width = (size, size) if isinstance(size, int) else size
    return height, width
