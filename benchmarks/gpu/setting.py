"""What every part of the measurement is told: the device, the size of the work, its time and its folders."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]
"""One measured fact as JSON has it; `error` or `skipped` says why there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """Device, size, time and folders of a part."""

    device: str
    small: bool
    """Whether networks and data are tiny: a rehearsal, whose times say nothing."""
    seconds: float
    """The time that the part has; what is not measured by then is lost."""
    folder: Path
    """Scratch space of this measurement."""
    data_dir: str | None = None
    """Where MNIST is; None: wherever relubench finds it, else images of its shape are drawn."""

    def to_json(self) -> Row:
        return {**asdict(self), "folder": None, "data_dir": None}
