"""Sizes of a convolution's window, as torch accepts them."""
from collections.abc import Sequence

Size = int | tuple[int, ...]


def pair(size: Size, name: str, least: int) -> tuple[int, int]:
    """Of height and width; a single number is both. A ValueError names what is no such size."""
    both = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(both) != 2 or not all(isinstance(each, int) and each >= least for each in both):
        raise ValueError(f"{name} must be one or two whole numbers of at least {least}, not "
                         f"{size!r}")
    height, width = both
    return height, width


def symmetric(padding: str | Size, kernel: tuple[int, int], stride: tuple[int, int],
              dilation: tuple[int, int]) -> tuple[int, int]:
    """Rows above and below, columns left and right, where torch also knows ``same``, ``valid``.

    A ValueError where there is none that is the same on both sides.
    """
    if padding == "valid":
        return 0, 0
    if padding != "same":
        if isinstance(padding, str):
            raise ValueError(f"padding must be 'same', 'valid' or numbers, not {padding!r}")
        return pair(padding, "padding", 0)
    if stride != (1, 1):
        raise ValueError(f"padding 'same' needs stride 1, not {stride}")
    height, width = (spread * (taps - 1) for spread, taps in zip(dilation, kernel, strict=True))
    if height % 2 or width % 2:
        raise ValueError(f"padding 'same' of the kernel {kernel} is not the same on both sides")
    return height // 2, width // 2
