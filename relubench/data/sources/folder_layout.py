"""Where the images of a user's folder lie: which folders are its parts, which are classes, and what is passed over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from relubench.data.formats.npz_archive import check_regular
from relubench.data.notes import Remarks, by_count, counted, few, printable
from relubench.data.part_names import part_of
from relubench.errors import DataError

EXTENSIONS = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".bmp", ".dib"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".tif", ".tiff", ".webp", ".jp2"),
)
COMPANIONS = frozenset({".txt", ".md", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml", ".html", ".pdf", ""})
"""What lies beside images without being one: passed over, and counted, without a warning."""
IGNORED = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
"""What systems leave in folders, beside what begins with a dot."""
STATED = "a folder of images holds train/CLASS/*.png and test/CLASS/*.png (and valid/CLASS/*.png), or only CLASS/*.png"


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The images of each part by class: `parts` has 'train', 'test' and perhaps 'valid', or 'all'."""

    parts: dict[str, dict[str, list[Path]]]
    classes: tuple[str, ...]
    """Those of the training part, in order: a class's place is its number."""

    @property
    def files(self) -> list[Path]:
        """Every image of every part."""
        return [file for classes in self.parts.values() for files in classes.values() for file in files]


def look_at(path: Path, remarks: Remarks) -> Layout:
    """The layout of the images under `path`; raises DataError if they are not laid out as STATED."""
    folders = _parts(path, remarks)
    skipped: list[Path] = []
    parts = {part: _classes(folder, part, skipped) for part, folder in folders.items()}
    if path not in folders.values():
        skipped += [file for file in _files_in(path) if _is_image(file)]
    known = tuple(parts.get("train", parts.get("all", {})))
    for part, classes in parts.items():
        parts[part] = _known_classes(folders[part], classes, known, remarks)
    _say_skipped(skipped, remarks)
    return Layout(parts=parts, classes=known)


def _parts(path: Path, remarks: Remarks) -> dict[str, Path]:
    """From 'train', 'test' and perhaps 'valid', or from 'all', to the folder that holds the classes' folders."""
    names = {folder.name: folder for folder in _folders_in(path)}
    spelled: dict[str, list[str]] = {}
    for name in names:
        if part := part_of(name):
            spelled.setdefault(part, []).append(name)
    # A class may be called "train" as well: it holds images, and a part holds folders.
    if len(spelled) < 2 and not any(_folders_in(names[name]) for listed in spelled.values() for name in listed):
        return {"all": path}
    for listed in spelled.values():
        if len(listed) > 1:
            raise DataError(f"{path} holds {few([*names])}: both {' and '.join(listed)}", STATED)
    if "test" not in spelled and {"train", "valid"} <= spelled.keys():
        (name,) = spelled["test"] = spelled.pop("valid")
        remarks.warn(
            f"there is no test part: {name}/ is the test set, and validation images come from the training part"
        )
    for part in ("train", "test"):
        if part not in spelled:
            raise DataError(f"{path} holds {few([*names])}: no {part}/", STATED)
    taken = [name for listed in spelled.values() for name in listed]
    if others := [name for name in names if name not in taken]:
        remarks.warn(f"beside {', '.join(taken)} these folders are not read: {few(others)}")
    return {part: names[spelled[part][0]] for part in ("train", "test", "valid") if part in spelled}


def _classes(folder: Path, part: str, skipped: list[Path]) -> dict[str, list[Path]]:
    """The images of each class in the part's `folder`; raises DataError for too few classes, or an empty one."""
    folders = _folders_in(folder)
    if len(folders) < (2 if part in ("train", "all") else 1):
        held = few([path.name for path in folders]) or "no folder"
        what = f"{folder} holds {held} where a folder for each of two or more classes is expected"
        inner = [path for path in folders if len(_folders_in(path)) > 1]
        raise DataError(what, f"--dataset {inner[0]} may be meant; {STATED}" if inner else STATED)
    classes: dict[str, list[Path]] = {}
    for path in folders:
        files = _walk(path, set())
        classes[path.name] = [file for file in files if _is_image(file)]
        skipped += [file for file in files if not _is_image(file)]
        if not classes[path.name]:
            kinds = by_count(_kind(file) for file in files)
            hint = f"every folder in a set of images is a class: put images there ({', '.join(EXTENSIONS)})"
            raise DataError(f"{path} holds no image{f', but {kinds}' if kinds else ''}", hint)
        for file in classes[path.name]:
            check_regular(file)
    skipped += [file for file in _files_in(folder) if _is_image(file)]
    return classes


def _known_classes(
    folder: Path, classes: dict[str, list[Path]], known: Sequence[str], remarks: Remarks
) -> dict[str, list[Path]]:
    """`classes` under the names that the training part gives them; raises DataError for one that it lacks."""
    folded: dict[str, list[str]] = {}
    for name in known:
        folded.setdefault(name.casefold(), []).append(name)
    named: dict[str, list[Path]] = {}
    unknown: list[str] = []
    for name, files in classes.items():
        near = [name] if name in known else folded.get(name.casefold(), [])
        if len(near) != 1 or near[0] in named:
            unknown.append(name)
            continue
        if near[0] != name:
            remarks.note(f"{folder.name}/{name} is read as the class {near[0]}")
        named[near[0]] = files
    if unknown:
        raise DataError(f"{folder} holds {few(unknown)}, never seen in training", f"the classes are {few(known)}")
    return named


def _say_skipped(skipped: Sequence[Path], remarks: Remarks) -> None:
    """A warning for files that may be images as well, a note for what lies beside images everywhere."""
    if not skipped:
        remarks.note("no file skipped")
        return
    text = f"{counted(len(skipped), 'file')} skipped: {by_count(_kind(file) for file in skipped)}"
    suspect = [file for file in skipped if file.suffix.lower() not in COMPANIONS]
    if suspect:
        outside = sum(_is_image(file) for file in suspect)
        why = f"{outside} of them in no class's folder; " if outside else ""
        remarks.warn(f"{text} ({why}what is read: {', '.join(EXTENSIONS)})")
    else:
        remarks.note(text)


def _kind(file: Path) -> str:
    return printable(file.suffix.lower()) or "without a suffix"


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in EXTENSIONS


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in IGNORED


def _folders_in(path: Path) -> list[Path]:
    """The folders in `path`, sorted; hidden ones (.git, .ipynb_checkpoints) are nobody's classes."""
    return sorted(inner for inner in path.iterdir() if inner.is_dir() and not _is_ignored(inner.name))


def _files_in(path: Path) -> list[Path]:
    return sorted(file for file in path.iterdir() if not file.is_dir() and not _is_ignored(file.name))


def _walk(folder: Path, above: set[tuple[int, int]]) -> list[Path]:
    """Every file under `folder`, sorted; links to folders are followed, but not back to one that is being walked."""
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return []
    files = _files_in(folder)
    for inner in _folders_in(folder):
        files += _walk(inner, above | {here})
    return files
