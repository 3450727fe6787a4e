"""The names that users give to the parts of a data set: Train/, val/, X_test, train_images. Torch-free."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "train": ("train", "training", "trn"),
        "test": ("test", "testing", "tst", "eval", "evaluation"),
        "valid": ("valid", "validation", "val", "validate", "dev", "development"),
    }
)
"""The names of each part; case, dashes and underscores do not count."""
AROUND = ("", "image", "images", "img", "imgs", "set", "data", "dataset", "split", "part")
"""Words that may stand before or after a part's name in a folder's name."""
LETTERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "x": ("x", "image", "images", "img", "imgs", "data", "input", "inputs", "feature", "features", "pixels"),
        "y": ("y", "label", "labels", "target", "targets", "class", "classes"),
    }
)
"""The names of images and labels in the name of an array."""


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _spellings(words: Mapping[str, Sequence[str]], around: Sequence[str], form: str) -> dict[str, str]:
    spellings: dict[str, str] = {}
    for part, names in words.items():
        for name in names:
            for affix in around:
                spellings |= {name + affix: form.format(part), affix + name: form.format(part)}
    return spellings


_FOLDERS = _spellings(PARTS, AROUND, "{}")
_ARRAYS = {
    spelling: key
    for letter, names in LETTERS.items()
    for spelling, key in _spellings(PARTS, names, letter + "_{}").items()
}


def part_of(folder: str) -> str | None:
    """'train', 'test' or 'valid': the part that a folder of this name holds; None for any other name."""
    return _FOLDERS.get(_folded(folder))


def key_of(array: str) -> str | None:
    """'x_train', 'y_test' and so on: the array that this name means; None for any other name."""
    return _ARRAYS.get(_folded(array))
