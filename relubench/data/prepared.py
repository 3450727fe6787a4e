"""A prepared data set: plain arrays in one folder that workers map into memory. Torch-free."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from relubench.data.facts import Facts
from relubench.data.split_arrays import SPLITS, Split, SplitArrays
from relubench.data.stratified_order import stratified_order
from relubench.errors import DataError, UsageError
from relubench.system import integrity

PREPARATION_VERSION = 1
"""Part of every digest: raise it when the same source files would give other arrays."""

META = "meta.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class DataOptions:
    """The options of a data set; all of them are part of its digest."""

    image_size: int | None = None
    """Image folders only: the shorter side is scaled to this many pixels, then the centre square is cut out."""
    train_size: int | None = None
    """Use only this many training images, by a fixed draw, class by class; a smaller subset lies in a larger one."""

    split: Literal["standard", "paper"] = "standard"
    """The usual split, or that of Glorot et al. 2011 where the table has it."""
    labels: int | None = None
    """Train on the labels of only this many training images, by the same draw; pre-training has the others too."""
    target: str | None = None
    """Tables only: the column that is to be predicted."""
    ignore: tuple[str, ...] = ()
    """Tables only: columns that are left out."""
    task: Literal["auto", "classification", "regression"] = "auto"
    """A user's own data only: whether the targets are classes or numbers; auto: the values decide."""
    context: int | None = None
    """Texts only: the characters of a window, each of which predicts the next one; None: `text_windows.CONTEXT`."""

    def __post_init__(self) -> None:
        counts = {name: getattr(self, name) for name in ("image_size", "train_size", "labels", "context")}
        for name, value in counts.items():
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}", f"leave {name} out to keep everything")


@dataclass(frozen=True, kw_only=True, slots=True)
class DataReference:
    """What identifies a prepared data set on every machine, without a path; `reference.obtain` gives it there."""

    name: str
    """The name as the user wrote it."""
    options: DataOptions
    digest: str
    """The digest of the prepared copy, which holds every label; the options say how many of them count."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> DataReference:
        options = {**values["options"], "ignore": tuple(values["options"].get("ignore", ()))}
        return cls(**{**values, "options": DataOptions(**options)})


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedData:
    """A prepared data set on disk; the engine computes float32 x * scale + shift."""

    name: str
    digest: str
    """sha256, 64 hex digits, over the source files' contents, the split rule, the options and the version."""
    folder: Path
    input_shape: tuple[int, ...]
    """(C, H, W), or (F,); of a text () on disk, and (T,) once it is cut into windows of T characters."""
    classes: int
    n_train: int
    """Training images with a label: what `arrays` gives."""
    n_valid: int
    n_test: int
    scale: float
    shift: float
    source: str
    """Where the data come from, and which split they have, for a reader."""
    labels: int | None = None
    """Set where only some training images have a label; `training_images` gives all of them."""
    n_images: int | None = None
    """Set likewise: training images with a label or without."""
    images_digest: str | None = None
    """Set likewise: the digest of the same set with all of its labels."""
    context: int | None = None
    """The characters of a window of a text; None for all other data."""
    copy_digest: str | None = None
    """The digest of the prepared copy, where that is not `digest`: a text is cut into windows as it is read."""
    options: DataOptions = field(default_factory=DataOptions, compare=False)
    """The options that it was prepared with."""
    task: str = "classification"
    """The name of the task that the set poses, one of `relubench.runs.task`."""
    facts: Facts | None = field(default=None, compare=False)
    """The facts of the arrays; None for an outline, and for a copy that is older than this record."""

    @property
    def with_all_images(self) -> PreparedData:
        """The set as pre-training sees it: every training image, whether it has a label or not."""
        if self.n_images is None or self.images_digest is None:
            return self
        changes = {"n_train": self.n_images, "digest": self.images_digest}
        return replace(self, labels=None, n_images=None, images_digest=None, **changes)

    @property
    def reference(self) -> DataReference:
        """What identifies it on another machine."""
        return DataReference(name=self.name, options=self.options, digest=self.digest_on_disk)

    @property
    def digest_on_disk(self) -> str:
        """The digest of the prepared copy."""
        return self.copy_digest or self.images_digest or self.digest


def arrays(prepared: PreparedData, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """The images (mapped, copy-on-write: uint8 or float32 [N, ...]) and targets of one split: labels int64 [N], or
    numbers float32 [N, K].

    Copy-on-write, because torch.from_numpy warns about read-only memory; nothing written reaches the disk. Where only
    some training images have a label, 'train' is those, copied out of the mapped file.
    Raises DataError if the folder was removed or damaged after `prepare`.
    """
    if split not in SPLITS:
        raise ValueError(f"split is one of {', '.join(SPLITS)}, not {split!r}")
    x, y = _load(prepared, f"x_{split}", mapped=True), _load(prepared, f"y_{split}")
    if split == "train" and prepared.labels is not None:
        indices = _labelled_indices(y, prepared.labels)
        return np.asarray(x[indices]), y[indices]
    return x, y


LOOKED_AT = 256
"""Examples from whose numbers the share of zeros is taken."""


@lru_cache(maxsize=64)
def share_of_zeros(prepared: PreparedData) -> float:
    """The share of zeros that a network sees in the first training examples, in tenths; 0 where there are no arrays."""
    try:
        x = _load(prepared, "x_train", mapped=True)[:LOOKED_AT]
    except DataError:
        return 0.0
    return round(float(np.mean(x * prepared.scale + prepared.shift == 0.0)), 1)


def training_images(prepared: PreparedData) -> tuple[np.ndarray, np.ndarray]:
    """Every training image (mapped, copy-on-write), with a label or without, and the indices of those with one.

    The indices int64 [n_train] ascend: x[indices] is what `arrays` calls the training images. They hold the classes in
    proportion, and a smaller number of labels lies in a larger. Raises DataError like `arrays`.
    """
    x, y = _load(prepared, "x_train", mapped=True), _load(prepared, "y_train")
    return x, np.arange(len(y)) if prepared.labels is None else _labelled_indices(y, prepared.labels)


def _labelled_indices(y: np.ndarray, labels: int) -> np.ndarray:
    return np.sort(stratified_order(y)[:labels])


def _load(prepared: PreparedData, name: str, *, mapped: bool = False) -> np.ndarray:
    try:
        return np.load(prepared.folder / f"{name}.npy", mmap_mode="c" if mapped else None)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"the prepared copy of {prepared.name} in {prepared.folder} is damaged: {error}",
            "run the command again: it is made anew from the source files",
        ) from error


_INTACT: set[tuple[Path, str]] = set()
"""Folders, and the digests of their data, whose files this process has verified."""


def check_whole(prepared: PreparedData) -> None:
    """Raises DataError if a file of the prepared copy has changed; a process reads each copy once for this."""
    try:
        meta = _meta(prepared.folder, prepared.digest_on_disk)
        changed = "" if meta is None else _damage(prepared.folder, meta)
    except (OSError, ValueError) as error:
        meta, changed = None, str(error)
    if meta is None or changed:
        raise DataError(
            f"the prepared copy of {prepared.name} in {prepared.folder} is damaged{': ' * bool(changed)}{changed}",
            "run the command again: it is made anew from the source files",
        )


def is_whole(folder: Path, digest: str) -> bool:
    """Whether no file of the prepared copy has changed."""
    try:
        meta = _meta(folder, digest)
        return meta is not None and not _damage(folder, meta)
    except (OSError, ValueError):
        return False


def _damage(folder: Path, meta: dict[str, Any]) -> str:
    """A phrase that names a changed file; empty if there is none."""
    if (folder, meta["digest"]) in _INTACT:
        return ""
    for name, digest in meta["digests"].items():
        if file_digest(folder / name) != digest:
            return f"{name} does not match its SHA-256"
    _INTACT.add((folder, meta["digest"]))
    return ""


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, 64 hex digits; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _meta(folder: Path, digest: str) -> dict[str, Any] | None:
    """The values of meta.json, if they are of these data and all files have their sizes; else None. Raises OSError."""
    meta = integrity.read_json((folder / META).read_bytes(), digest)
    sizes: dict[str, int] = meta["files"]
    sized = len(sizes) == 2 * len(SPLITS) and sizes.keys() == meta["digests"].keys()
    return meta if sized and all((folder / name).stat().st_size == size for name, size in sizes.items()) else None


def image_range(prepared: PreparedData) -> tuple[float, float]:
    """The least and the largest value, as the engine sees them, of the first 10,000 training images.

    Images without a label count. For an outline, whose values are unknown, 0 and 1.
    """
    if not prepared.digest:
        return 0.0, 1.0
    x, _ = training_images(prepared)
    ends = [float(value) * prepared.scale + prepared.shift for value in (x[:10_000].min(), x[:10_000].max())]
    return min(ends), max(ends)


def describe(parts: SplitArrays, digest: str, facts: Facts) -> dict[str, Any]:
    """The contents of meta.json, without the files' sizes; the examples of a text are its bytes."""
    return {
        "version": PREPARATION_VERSION,
        "digest": digest,
        "input_shape": list(parts.x_train.shape[1:]),
        "classes": parts.classes,
        "n_train": len(parts.x_train),
        "n_valid": len(parts.x_valid),
        "n_test": len(parts.x_test),
        "scale": parts.scale,
        "shift": parts.shift,
        "note": parts.note,
        "facts": asdict(facts),
        **({"task": parts.task} if parts.task else {}),
    }


def read(folder: Path, *, name: str, digest: str, origin: str, task: str = "classification") -> PreparedData | None:
    """The prepared data set in `folder`, or None if there is none or it is damaged (sizes, headers, meta.json).

    The files' contents are not read: see `check_whole`.
    """
    try:
        meta = _meta(folder, digest)
        if meta is None or not _have_shapes(folder, meta):
            return None
        return PreparedData(
            name=name,
            digest=digest,
            folder=folder,
            input_shape=tuple(meta["input_shape"]),
            classes=meta["classes"],
            n_train=meta["n_train"],
            n_valid=meta["n_valid"],
            n_test=meta["n_test"],
            scale=meta["scale"],
            shift=meta["shift"],
            source=f"{origin}; {meta['note']}",
            task=meta.get("task", task),
            facts=Facts.from_json(meta.get("facts")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _have_shapes(folder: Path, meta: dict[str, Any]) -> bool:
    """Whether the header of every array can be read and tells its number of examples; a text has no targets."""
    kinds = ("x", "y") if meta["input_shape"] else ("x",)
    files = [(folder / f"{kind}_{split}.npy", meta[f"n_{split}"]) for split in SPLITS for kind in kinds]
    try:
        return all(len(np.load(file, mmap_mode="r")) == number for file, number in files)
    except Exception:
        return False  # NumPy has Python read a header: of a damaged one come errors of every kind.
