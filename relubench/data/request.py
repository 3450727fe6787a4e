"""What every kind of source turns a name into: an identity, and a way to load it. Torch-free."""

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
    """Fit for a folder's name."""
    digest: str
    origin: str
    """For people: where it comes from."""
    load: Callable[[Path], SplitArrays]
    """Parses and verifies the source files, with an empty folder to work in."""
    sized: bool = False
    """Whether `load` itself keeps to train_size."""
    remarks: Remarks = field(default_factory=Remarks)
    """What was seen on the way to the source files, and is no property of their contents: what was skipped."""

    @property
    def key(self) -> str:
        """The name of the prepared copy's folder."""
        return f"{self.slug}-{self.digest[:16]}"


def slug(stem: str) -> str:
    """`stem` with nothing but a-z, 0-9 and single dashes, so that it can be part of a folder's name."""
    return re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:40] or "data"
