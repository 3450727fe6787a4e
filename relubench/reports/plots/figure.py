"""What all figures have in common: formats, colours, and the writing of the file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from relubench.errors import ComputeError
from relubench.system.files import write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, told apart with any colour vision; its yellow is left out, too pale for a line on white."""


def save(figure: Figure, path: Path) -> None:
    """Writes a figure whole or not at all, in the format of the suffix; ComputeError if the file cannot be written."""
    try:
        # Without a date and random ids the same results give the same file.
        metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower())
        buffer = io.BytesIO()
        figure.savefig(buffer, format=path.suffix.lower()[1:], dpi=150, metadata=metadata)
        write_file(path, buffer.getvalue())
    except OSError as error:
        raise ComputeError(f"cannot write {path}: {error.strerror or error}", "choose another file") from error
