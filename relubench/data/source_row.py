"""One data set of the table: what it is, how it is split, where its files are, and who reads them. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from relubench.data.files.download import Remote
from relubench.errors import UsageError

Role = tuple[str, ...]
"""One source file: the names it may have, the preferred (verifiable) one first."""


PERTURBED = "+nistp"
"""Behind the name of a grey set: its perturbed version."""
PERTURBED_SIDE = 32
NISTP_VALID, NISTP_TEST = 80_000, 20_000
"""NISTP's sizes (Glorot et al. 2011); a smaller source gives what it has."""


LANGUAGE = "language"
"""The task that a text poses, by its name in `relubench.runs.task`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Division:
    """One way to split a set: how many images each part gets, from where, and the rule in words."""

    n_train: int
    n_valid: int
    n_test: int
    rule: str
    valid_from: Literal["train", "test"] = "train"


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceRow:
    """One data set of the table; `input_shape` is (C, H, W), (F,), or of a text (), whose sizes are bytes.

    Where numbers are predicted, `classes` counts those of an example.
    """

    name: str
    description: str
    classes: int
    input_shape: tuple[int, ...]
    n_train: int
    n_valid: int
    n_test: int
    split: str
    """The rule, in words: it is part of the digest, so changing it changes every run's identity."""
    citation: str
    url: str
    """Where a person gets the files that `place` names."""
    target: str
    """'module:function' that reads the files: (row, found, work) -> SplitArrays."""
    download: str = ""
    """'module:function' that downloads into a folder: (row, folder) -> None; empty: `remote`, or nothing."""
    remote: tuple[Remote, ...] = ()
    """Plain files to download, one for each role of the first file set."""
    names: str = ""
    """The source files in short, where they are many."""
    torchvision: str = ""
    """The class in torchvision.datasets."""
    variant: str = ""
    """EMNIST's split."""
    package: str = ""
    """The installed package that embeds the files, instead of a data folder."""
    folders: tuple[str, ...]
    """Where under a data folder the files may lie, in order."""
    file_sets: tuple[tuple[Role, ...], ...]
    """Alternatives: the first set that is complete in a folder is used."""
    valid_from: Literal["train", "test"] = "train"
    """The official part whose images validate."""
    paper: Division | None = None
    """The split of Glorot et al. 2011, where they used this set."""
    task: str = "classification"
    """The name of the task that it poses, one of `relubench.runs.task`."""
    base: str = ""
    """The set whose images are perturbed to make this one."""
    side: int = 0
    """Pixels a side of a picture to fit; 0 for all other sets."""

    @property
    def perturbable(self) -> bool:
        """Whether the set's images are grey, small enough, and not perturbed already."""
        return (
            not self.base
            and len(self.input_shape) == 3
            and self.input_shape[0] == 1
            and max(self.input_shape[1:]) <= PERTURBED_SIDE
        )

    @property
    def place(self) -> str:
        """How to place the files by hand: the folder and the preferred names of the smallest file set."""
        smallest = min(self.file_sets, key=len)
        return f"{self.names or ', '.join(role[0] for role in smallest)} into {self.folders[0]}/"


def perturbed_row(base: SourceRow, name: str = "", description: str = "", note: str = "") -> SourceRow:
    """The row of `base`'s perturbed version, `base`+nistp unless named; raises UsageError for an unfit set."""
    if not base.perturbable:
        shape = "x".join(str(side) for side in base.input_shape)
        why = "it is perturbed already" if base.base else f"they are for one grey channel, and {base.name} has {shape}"
        raise UsageError(
            f"there is no {base.name}{PERTURBED}: NISTP's perturbations do not fit {base.name}, {why}",
            f"{PERTURBED} goes with grey sets of at most {PERTURBED_SIDE}x{PERTURBED_SIDE} pixels, such as mnist",
        )
    n_valid, n_test = min(base.n_valid, NISTP_VALID), min(base.n_test, NISTP_TEST)
    sizes = f"{n_valid:,} validation and {n_test:,} test images from {base.name}'s ({base.split})"
    rule = f"perturbed in all three parts; {sizes}"
    return replace(
        base,
        name=name or base.name + PERTURBED,
        base=base.name,
        description=description or f"{base.name} with the perturbations of NISTP, 32x32 grey",
        input_shape=(1, PERTURBED_SIDE, PERTURBED_SIDE),
        n_valid=n_valid,
        n_test=n_test,
        split="; ".join(filter(None, (rule, note))),
        citation=f"Bastien et al. 2010, arXiv:1009.3589; {base.citation}",
        paper=None,
    )
