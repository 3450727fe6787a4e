"""A user's own arrays: ./file.npz with x_train, y_train, x_test, y_test, and optionally x_valid, y_valid.

`pixels` reads the images, `labels` the labels; `part_names` has other spellings of the arrays' names. What can be read
in one way only is read so, with a remark; what could be read in two ways is refused, or a remark names both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from relubench.data.files import digest
from relubench.data.formats import npz_archive
from relubench.data.notes import Remarks, format_names, refuse
from relubench.data.numbers import TASK as REGRESSION
from relubench.data.numbers import standardised
from relubench.data.part_names import key_of
from relubench.data.pixels import as_images, scale_of
from relubench.data.prepared import PREPARATION_VERSION, DataOptions
from relubench.data.request import Request, slug
from relubench.data.split import VALID_AT_MOST, VALID_FRACTION, hold_out, validation_size
from relubench.data.split_arrays import Split, SplitArrays, named
from relubench.data.targets import TargetTask, read_targets
from relubench.errors import DataError, UsageError
from relubench.system.lookup import near_names

READING = 2
"""Part of every digest: raise it when the same file would give other arrays."""
REQUIRED = ("x_train", "y_train", "x_test", "y_test")
VALIDATION = ("x_valid", "y_valid")
RULE = f"validation: one in {VALID_FRACTION} training examples (at most {VALID_AT_MOST:,}), a fixed shuffle by class"
MIN_TEST = 2
"""The least number of test examples: the error rate of fewer has no interval."""


def request(name: str, path: Path, options: DataOptions) -> Request:
    """The request for the .npz file at `path`; raises DataError if there is none, UsageError for image_size."""
    if options.image_size is not None:
        raise UsageError(f"image_size is for folders of images, and {path} is a file", "leave image_size out")
    check_exists(path)
    if path.suffix.lower() != ".npz":
        raise DataError(
            f"{path} is neither a .npz file, a table nor a folder",
            "save arrays with numpy.savez or a table as .csv, or name a folder",
        )
    npz_archive.check_regular(path)
    identity = {
        "version": PREPARATION_VERSION,
        "reading": READING,
        "kind": "npz",
        "split": RULE,
        "train_size": options.train_size,
        "source": digest.of_files([("npz", path)]),
        # Absent by default: what older versions prepared keeps its digest.
        **({} if options.task == "auto" else {"task": options.task}),
    }
    return Request(
        name=name,
        slug=slug(path.stem),
        digest=digest.of_value(identity),
        origin=f"the user's own {path}",
        load=lambda work: load(path, options.task),
    )


def check_exists(path: Path) -> None:
    """Raises DataError, with a near name, where there is nothing at `path`."""
    if path.exists() or path.is_symlink():
        return
    near = near_names(path.name, _names_beside(path))
    suggestion = f"did you mean {path.parent / near[0]}? " if near else ""
    rule = "a name without / and suffix is one of `relubench list datasets`"
    raise DataError(f"there is no file or folder {path}", f"{suggestion}{rule}")


def load(path: Path, task: TargetTask = "auto") -> SplitArrays:
    """The parts of the .npz file at `path`, every array checked; raises DataError naming the array and the rule."""
    remarks = Remarks()
    arrays = _read_arrays(path, remarks)
    splits: tuple[Split, ...] = ("train", "valid", "test") if VALIDATION[0] in arrays else ("train", "test")
    images: dict[Split, np.ndarray] = {
        split: as_images(path, f"x_{split}", arrays[f"x_{split}"], remarks) for split in splits
    }
    targets = read_targets(path, {split: arrays[f"y_{split}"] for split in splits}, task, remarks)
    _check_together(path, images, targets.y)
    scale = scale_of(images, remarks)
    x, y = images["train"], targets.y["train"]
    if "valid" in images:
        x_valid, y_valid, rule = images["valid"], targets.y["valid"], "validation: the file's own x_valid"
    else:
        if not (n := validation_size(len(y))):
            refuse(path, f"has only {len(y)} training examples", f"give {VALID_FRACTION} or more, or x_valid, y_valid")
        train, valid = hold_out(y, n)
        x, y, x_valid, y_valid, rule = x[train], y[train], x[valid], y[valid], RULE
    y_of_parts: dict[Split, np.ndarray] = {"train": y, "valid": y_valid, "test": targets.y["test"]}
    if targets.are_numbers:
        y_of_parts, note = standardised(str(path), y_of_parts)
        remarks.note(note)
    return SplitArrays(
        **named((x, y_of_parts["train"]), (x_valid, y_of_parts["valid"]), (images["test"], y_of_parts["test"])),
        classes=y.shape[1] if targets.are_numbers else len(targets.names),
        scale=scale,
        note=rule,
        names=targets.names,
        remarks=remarks,
        task=REGRESSION if targets.are_numbers else "",
    )


def check_test_size(path: Path, n: int) -> None:
    """Raises DataError for a test part that is too small to have an error rate."""
    if n < MIN_TEST:
        refuse(path, f"has {n} test image", f"give at least {MIN_TEST} test images; hundreds tell networks apart")


def _names_beside(path: Path) -> list[str]:
    try:
        return sorted(sibling.name for sibling in path.parent.iterdir())
    except OSError:
        return []


def _read_arrays(path: Path, remarks: Remarks) -> Mapping[str, np.ndarray]:
    """The file's arrays under the names x_train, y_train and so on."""
    with npz_archive.opened(path) as npz:
        names = _names_of_arrays(path, npz.names)
        if respelled := {key: name for key, name in names.items() if key != name}:
            remarks.note(f"{', '.join(respelled.values())} read as {', '.join(respelled)}")
        arrays = npz.read(names.values())
    return {key: arrays[name] for key, name in names.items()}


def _names_of_arrays(path: Path, names_in_file: Sequence[str]) -> dict[str, str]:
    """The name in the file of each array, by its usual name; raises DataError if a required one is missing."""
    spellings: dict[str, list[str]] = {}
    for name in dict.fromkeys(names_in_file):
        # An array with the usual name is that array, whatever the names of others.
        key = name if name in (*REQUIRED, *VALIDATION) else key_of(name)
        if key is not None and not (key in names_in_file and key != name):
            spellings.setdefault(key, []).append(name)
    contents = format_names(sorted(names_in_file)) or "nothing"
    for key, names in spellings.items():
        if len(names) > 1:
            refuse(
                path,
                f"holds {' and '.join(names)}, which both read as {key}",
                f"leave one of them out, or name it {key}",
            )
    missing = [key for key in REQUIRED if key not in spellings]
    if missing:
        refuse(
            path, f"lacks {', '.join(missing)}: it holds {contents}", _how_to_save(missing, spellings, names_in_file)
        )
    if (VALIDATION[0] in spellings) != (VALIDATION[1] in spellings):
        refuse(path, f"holds only one of {' and '.join(VALIDATION)}: it holds {contents}", "give both, or neither")
    return {key: spellings[key][0] for key in (*REQUIRED, *VALIDATION) if key in spellings}


def _how_to_save(missing: Iterable[str], spellings: Mapping[str, list[str]], names_in_file: Sequence[str]) -> str:
    used = {name for names in spellings.values() for name in names}
    spare = [name for name in names_in_file if name not in used]
    near = {key: names[0] for key in missing if (names := near_names(key, spare))}
    suggestion = f"is {', '.join(f'{name} {key}' for key, name in near.items())}? " if near else ""
    return f"{suggestion}numpy.savez('data.npz', {', '.join(f'{key}={key}' for key in REQUIRED)}) has what it needs"


def _check_together(path: Path, images: Mapping[Split, np.ndarray], labels: Mapping[Split, np.ndarray]) -> None:
    """Raises DataError unless lengths, shapes and types agree."""
    train = images["train"]
    for split, x in images.items():
        if len(x) != len(labels[split]):
            fault = f"has {len(x)} images in x_{split} and {len(labels[split])} labels in y_{split}"
            refuse(path, fault, "one label for each image")
        if x.shape[1:] != train.shape[1:] or x.dtype != train.dtype:
            forms = f"{train.dtype} {train.shape[1:]} in x_train and {x.dtype} {x.shape[1:]} in x_{split}"
            refuse(path, f"has images {forms}", "every split needs images of one shape and type")
    check_test_size(path, len(images["test"]))
