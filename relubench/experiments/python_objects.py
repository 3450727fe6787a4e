"""Names, as the command line takes them, of what Python hands over: functions and classes, and arrays. Torch-free."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import sys
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from relubench.errors import DataError, UsageError, shown
from relubench.system.paths import cache_root, user_path

PARTS = ("x_train", "y_train", "x_valid", "y_valid", "x_test", "y_test")
"""The arrays of a data set in the order of a tuple of six; a tuple of four leaves x_valid and y_valid out."""

_STATE = threading.local()
"""Whether a computation is under way in this thread."""

SAVED_AT = (1980, 1, 1, 0, 0, 0)
"""The time of every entry of an archive: equal arrays give equal files, and so equal run ids."""


def activation_name(act: object) -> str:
    """The name of an activation: `act` itself if it is text, './file.py:Name' or 'module:Name' of a function or class.

    Raises UsageError for what a worker process could not import by such a name: a lambda, something defined inside a
    function, an instance.
    """
    if isinstance(act, str):
        return act
    if not callable(act):
        raise UsageError(f"an activation is a name, a function or a class, not {shown(act)}", 'for example act="relu"')
    name = getattr(act, "__qualname__", None)
    if name is None:
        raise UsageError(
            f"act is an instance of {type(act).__name__}: every layer needs one of its own", "give the class itself"
        )
    if "<" in name:
        raise UsageError(
            f"{name} has no name that a worker process can import",
            'define it at the top of a .py file, or write it as a formula such as act="x*sigmoid(x)"',
        )
    module = getattr(act, "__module__", None)
    file = _users_file(act, module)
    if file is not None:
        return f"{file}:{name}"
    short = name.rpartition(".")[2]  # torch.tanh calls itself _VariableFunctionsClass.tanh.
    for place in dict.fromkeys(filter(None, (module, "torch", "torch.nn.functional"))):
        if getattr(_imported(place), short, None) is act:
            return f"{place}:{short}"
    raise UsageError(f"{name} is in no file and no module", "define it at the top of a .py file")


def dataset_name(dataset: str | Path | Sequence[Any] | Mapping[str, Any]) -> str:
    """The name of a data set: of the table, of a file or folder, or of the .npz file that the arrays are kept in.

    Arrays are x_train, y_train, x_test, y_test and optionally x_valid, y_valid: a mapping, or a tuple of four or six in
    the order of PARTS. Raises UsageError for anything else, DataError where they cannot be kept in the cache folder.
    """
    if isinstance(dataset, str):
        return dataset
    if isinstance(dataset, Path):
        return str(user_path(dataset).absolute())
    if isinstance(dataset, Mapping):
        return str(_kept({key: np.asarray(value) for key, value in dataset.items()}))
    keys = PARTS if len(dataset) == len(PARTS) else tuple(key for key in PARTS if not key.endswith("valid"))
    if len(dataset) != len(keys):
        raise UsageError(
            f"a data set has 4 or 6 arrays, got {len(dataset)}", f"give {', '.join(PARTS)}; x_valid, y_valid may miss"
        )
    return str(_kept({key: np.asarray(value) for key, value in zip(keys, dataset, strict=True)}))


def _users_file(act: object, module: str | None) -> Path | None:
    """The user's .py file that defines the object; None for what an installed package or the interpreter has."""
    top = (module or "").partition(".")[0]
    if top in sys.stdlib_module_names and top != "__main__":
        return None
    try:
        text = inspect.getsourcefile(act)  # pyright: ignore[reportArgumentType]
    except TypeError:
        return None
    file = Path(text) if text is not None else None
    if file is None or not file.is_file() or {"site-packages", "dist-packages"} & set(file.parts):
        return None
    return file.absolute()


def _imported(place: str) -> object:
    try:
        return importlib.import_module(place)
    except ImportError:
        return None


def _kept(arrays: Mapping[str, np.ndarray]) -> Path:
    """The .npz file in the cache folder that holds these arrays; it is written unless it is there."""
    digest = hashlib.sha256()
    for key, array in sorted(arrays.items()):
        if array.dtype.hasobject:
            raise UsageError(f"{key} holds Python objects, not numbers", "give arrays of numbers")
        digest.update(f"{key} {array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    path = cache_root() / "arrays" / f"arrays-{digest.hexdigest()[:16]}.npz"
    if path.exists():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{id(arrays):x}.tmp")
        with zipfile.ZipFile(unfinished, "w") as archive:
            for key, array in sorted(arrays.items()):
                with archive.open(zipfile.ZipInfo(f"{key}.npy", SAVED_AT), "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)  # pyright: ignore[reportArgumentType]
        unfinished.replace(path)
    except OSError as error:
        raise DataError(f"the arrays cannot be kept in {path.parent}: {error}", "set RELUBENCH_CACHE_DIR") from error
    return path


@contextlib.contextmanager
def outermost_computation() -> Iterator[None]:
    """Raises UsageError inside a computation: a script that is imported for its activation would start all anew."""
    if getattr(_STATE, "computing", False):
        raise UsageError(
            "a file that is imported for its activation or network computes something itself",
            'put its calls of relubench below `if __name__ == "__main__":`',
        )
    _STATE.computing = True
    try:
        yield
    finally:
        _STATE.computing = False
