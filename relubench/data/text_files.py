"""Which files of a user's own are text: by their suffix, and a folder by the files in it. Torch-free and cheap."""

from __future__ import annotations

from pathlib import Path

from relubench.data.sources.folder_layout import EXTENSIONS
from relubench.data.user_files import TEXTS


def is_text_path(path: Path) -> bool:
    """Whether a file or folder of a user's own is a text: a folder is one if it holds text files and no images."""
    if not path.is_dir():
        return path.suffix.lower() in TEXTS
    is_text = False
    for file in path.rglob("*"):
        if file.suffix.lower() in EXTENSIONS:
            return False
        is_text = is_text or file.suffix.lower() in TEXTS
    return is_text


def text_files(path: Path) -> list[Path]:
    """The file itself, or the text files below a folder in the order of their names; hidden ones are left out."""
    if not path.is_dir():
        return [path]
    files = (file for file in path.rglob("*") if file.suffix.lower() in TEXTS and file.is_file())
    visible = (file for file in files if not any(part.startswith(".") for part in file.relative_to(path).parts))
    return sorted(visible, key=lambda file: file.relative_to(path).as_posix())
