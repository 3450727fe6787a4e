"""The request for a data set: its identity, and a function that loads it. Torch-free."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from relubench.data.notes import Remarks
from relubench.data.split_arrays import SplitArrays


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A data set that is identified but not yet parsed."""

    name: str
    """As the user wrote it."""
    slug: str
    """The name in a form that can be part of a folder's name."""
    digest: str
    origin: str
    """Where the data come from, for a reader."""
    load: Callable[[Path], SplitArrays]
    """Parses and verifies the source files, with an empty folder to work in."""
    sized: bool = False
    """Whether `load` itself applies train_size."""
    task: str = "classification"
    """The name of the task that the set poses."""
    remarks: Remarks = field(default_factory=Remarks)
    """Remarks about the folder, such as skipped files, which are not part of the contents."""

    @property
    def key(self) -> str:
        """The name of the prepared copy's folder."""
        return f"{self.slug}-{self.digest[:16]}"


def slug(stem: str) -> str:
    """`stem` with nothing but a-z, 0-9 and single dashes, so that it can be part of a folder's name."""
    return re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:40] or "data"
