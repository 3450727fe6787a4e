"""The layout of a user's folder of images: which folders are its parts, which are classes, what is skipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from relubench.data.formats.npz_archive import check_regular
from relubench.data.notes import Remarks, format_count, format_counts, format_names, printable
from relubench.data.part_names import part_of
from relubench.errors import DataError

EXTENSIONS = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".bmp", ".dib"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".tif", ".tiff", ".webp", ".jp2"),
)
COMPANIONS = frozenset({".txt", ".md", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml", ".html", ".pdf", ""})
"""Suffixes of files that often lie beside images: they are skipped, and counted, without a warning."""
IGNORED = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
"""Names that operating systems leave in folders; names that begin with a dot are ignored as well."""
LAYOUT_RULE = (
    "a folder of images holds train/CLASS/*.png and test/CLASS/*.png (and valid/CLASS/*.png), or only CLASS/*.png"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The images of each part by class: `parts` has 'train', 'test' and perhaps 'valid', or 'all'."""

    parts: dict[str, dict[str, list[Path]]]
    classes: tuple[str, ...]
    """The classes of the training part, in order: a class's index is its number."""

    @property
    def files(self) -> list[Path]:
        """Every image of every part."""
        return [file for classes in self.parts.values() for files in classes.values() for file in files]


def find_layout(path: Path, remarks: Remarks) -> Layout:
    """The layout of the images under `path`; raises DataError if they are not laid out as STATED."""
    folders = _find_parts(path, remarks)
    skipped: list[Path] = []
    parts = {part: _find_classes(folder, part, skipped) for part, folder in folders.items()}
    if path not in folders.values():
        skipped += [file for file in _files_in(path) if _is_image(file)]
    training_classes = tuple(parts.get("train", parts.get("all", {})))
    for part, classes in parts.items():
        parts[part] = _match_classes(folders[part], classes, training_classes, remarks)
    _remark_skipped(skipped, remarks)
    return Layout(parts=parts, classes=training_classes)


def _find_parts(path: Path, remarks: Remarks) -> dict[str, Path]:
    """The folder that holds the classes' folders for 'train', 'test' and perhaps 'valid', or for 'all'."""
    names = {folder.name: folder for folder in _folders_in(path)}
    spellings: dict[str, list[str]] = {}
    for name in names:
        if part := part_of(name):
            spellings.setdefault(part, []).append(name)
    # A class may be called "train" as well: it holds images, and a part holds folders.
    if len(spellings) < 2 and not any(
        _folders_in(names[name]) for names_of_part in spellings.values() for name in names_of_part
    ):
        return {"all": path}
    for names_of_part in spellings.values():
        if len(names_of_part) > 1:
            raise DataError(f"{path} holds {format_names([*names])}: both {' and '.join(names_of_part)}", LAYOUT_RULE)
    if "test" not in spellings and {"train", "valid"} <= spellings.keys():
        (name,) = spellings["test"] = spellings.pop("valid")
        remarks.warn(
            f"there is no test part: {name}/ is the test set, and validation images come from the training part"
        )
    for part in ("train", "test"):
        if part not in spellings:
            raise DataError(f"{path} holds {format_names([*names])}: no {part}/", LAYOUT_RULE)
    part_folders = [name for names_of_part in spellings.values() for name in names_of_part]
    if other_folders := [name for name in names if name not in part_folders]:
        remarks.warn(f"beside {', '.join(part_folders)} these folders are not read: {format_names(other_folders)}")
    return {part: names[spellings[part][0]] for part in ("train", "test", "valid") if part in spellings}


def _find_classes(folder: Path, part: str, skipped: list[Path]) -> dict[str, list[Path]]:
    """The images of each class in the part's `folder`; raises DataError for too few classes, or an empty one."""
    folders = _folders_in(folder)
    if len(folders) < (2 if part in ("train", "all") else 1):
        contents = format_names([path.name for path in folders]) or "no folder"
        problem = f"{folder} holds {contents} where a folder for each of two or more classes is expected"
        inner = [path for path in folders if len(_folders_in(path)) > 1]
        raise DataError(problem, f"--dataset {inner[0]} may be meant; {LAYOUT_RULE}" if inner else LAYOUT_RULE)
    classes: dict[str, list[Path]] = {}
    for path in folders:
        files = _walk(path, set())
        classes[path.name] = [file for file in files if _is_image(file)]
        skipped += [file for file in files if not _is_image(file)]
        if not classes[path.name]:
            kinds = format_counts(_suffix(file) for file in files)
            hint = f"every folder in a set of images is a class: put images there ({', '.join(EXTENSIONS)})"
            raise DataError(f"{path} holds no image{f', but {kinds}' if kinds else ''}", hint)
        for file in classes[path.name]:
            check_regular(file)
    skipped += [file for file in _files_in(folder) if _is_image(file)]
    return classes


def _match_classes(
    folder: Path, classes: dict[str, list[Path]], training_classes: Sequence[str], remarks: Remarks
) -> dict[str, list[Path]]:
    """`classes` under the names that the training part gives them; raises DataError for one that it lacks."""
    by_folded_name: dict[str, list[str]] = {}
    for name in training_classes:
        by_folded_name.setdefault(name.casefold(), []).append(name)
    matched: dict[str, list[Path]] = {}
    unknown: list[str] = []
    for name, files in classes.items():
        near = [name] if name in training_classes else by_folded_name.get(name.casefold(), [])
        if len(near) != 1 or near[0] in matched:
            unknown.append(name)
            continue
        if near[0] != name:
            remarks.note(f"{folder.name}/{name} is read as the class {near[0]}")
        matched[near[0]] = files
    if unknown:
        raise DataError(
            f"{folder} holds {format_names(unknown)}, never seen in training",
            f"the classes are {format_names(training_classes)}",
        )
    return matched


def _remark_skipped(skipped: Sequence[Path], remarks: Remarks) -> None:
    """Adds a warning about skipped files that may be images, or a note about files that often lie beside images."""
    if not skipped:
        remarks.note("no file skipped")
        return
    text = f"{format_count(len(skipped), 'file')} skipped: {format_counts(_suffix(file) for file in skipped)}"
    suspect = [file for file in skipped if file.suffix.lower() not in COMPANIONS]
    if suspect:
        outside = sum(_is_image(file) for file in suspect)
        why = f"{outside} of them in no class's folder; " if outside else ""
        remarks.warn(f"{text} ({why}what is read: {', '.join(EXTENSIONS)})")
    else:
        remarks.note(text)


def _suffix(file: Path) -> str:
    return printable(file.suffix.lower()) or "without a suffix"


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in EXTENSIONS


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in IGNORED


def _folders_in(path: Path) -> list[Path]:
    """The folders in `path`, sorted, without hidden ones (.git, .ipynb_checkpoints)."""
    return sorted(inner for inner in path.iterdir() if inner.is_dir() and not _is_ignored(inner.name))


def _files_in(path: Path) -> list[Path]:
    return sorted(file for file in path.iterdir() if not file.is_dir() and not _is_ignored(file.name))


def _walk(folder: Path, above: set[tuple[int, int]]) -> list[Path]:
    """Every file under `folder`, sorted; links to folders are followed, but not back to one that is being walked."""
    status = folder.stat()
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        return []
    files = _files_in(folder)
    for inner in _folders_in(folder):
        files += _walk(inner, above | {identity})
    return files
