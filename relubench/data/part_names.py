"""The names under which people keep the parts of a data set: Train/, val/, X_test, train_images. Torch-free."""

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
"""What each part is called; case, dashes and underscores do not count."""
AROUND = ("", "image", "images", "img", "imgs", "set", "data", "dataset", "split", "part")
"""What may stand before or after a part's name in that of its folder."""
LETTERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "x": ("x", "image", "images", "img", "imgs", "data", "input", "inputs", "feature", "features", "pixels"),
        "y": ("y", "label", "labels", "target", "targets", "class", "classes"),
    }
)
"""What images and labels are called in the name of an array."""


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _spelled(words: Mapping[str, Sequence[str]], around: Sequence[str], form: str) -> dict[str, str]:
    spelled: dict[str, str] = {}
    for part, names in words.items():
        for name in names:
            for other in around:
                spelled |= {name + other: form.format(part), other + name: form.format(part)}
    return spelled


_FOLDERS = _spelled(PARTS, AROUND, "{}")
_ARRAYS = {
    spelling: key
    for letter, names in LETTERS.items()
    for spelling, key in _spelled(PARTS, names, letter + "_{}").items()
}


def part_of(folder: str) -> str | None:
    """'train', 'test' or 'valid', whichever a folder of this name holds; None for any other name."""
    return _FOLDERS.get(_folded(folder))


def key_of(array: str) -> str | None:
    """'x_train', 'y_test' and so on, whichever an array of this name is; None for any other name."""
    return _ARRAYS.get(_folded(array))
