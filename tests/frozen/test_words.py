"""What the program prints of itself, byte by byte: every help, every list, a data set, a preset."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import pytest
import sklearn

from tests.frozen.conftest import Frozen, printed
from tests.frozen.test_flags import commands

LAID_OUT_BY = ("typer", "rich")
"""The packages that lay out a help: other versions of them lay it out differently."""
HELPS = {"-".join(name.split()): [*name.split()] for name, _ in commands()} | {"relubench": []}
"""File -> the words of the command."""

LISTS = ("activations", "functions", "datasets", "models", "presets", "references", "formats", "columns")
WORDS = {
    **{f"list-{kind}.txt": ["list", kind, "--format", "table"] for kind in LISTS},
    **{f"list-{kind}.tsv": ["list", kind, "--format", "tsv"] for kind in LISTS},
    "show-data.md": ["show", "data", "digits", "--format", "markdown"],
    "show-data.tsv": ["show", "data", "digits", "--format", "tsv"],
    "run-print.yaml": ["run", "pretraining-three-ways", "--scale", "smoke", "--print"],
}
"""File -> what is typed."""


@pytest.mark.parametrize("name", HELPS)
def test_help_is_what_it_was(frozen: Frozen, name: str) -> None:
    # A continuous integration service may make rich colour what it prints.
    text = re.sub(r"\x1b\[[0-9;]*m", "", printed(*HELPS[name], "--help"))
    here = {package: version(package) for package in LAID_OUT_BY}
    if not frozen.rewriting and frozen.read("help/versions.json") != here:
        pytest.skip(f"other versions lay out the help: {here}; test_flags.py holds its words")
    frozen.record("help/versions.json", here)
    frozen.text(f"help/{name}.txt", text)


@pytest.mark.parametrize("file", WORDS)
def test_words_are_what_they_were(frozen: Frozen, file: str) -> None:
    installed = str(Path(sklearn.__file__).parent / "datasets" / "data")
    frozen.text(f"words/{file}", printed(*WORDS[file]).replace(installed, "FOLDER"))


def test_no_file_is_kept_of_what_is_no_longer_printed(frozen: Frozen) -> None:
    frozen.only("help", {*(f"{name}.txt" for name in HELPS), "versions.json"})
    frozen.only("words", set(WORDS))
