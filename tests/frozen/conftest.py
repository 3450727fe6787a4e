"""What the tests of frozen files share: comparing with a file or writing it anew, and calling a command."""

from __future__ import annotations

import contextlib
import difflib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from relubench.__main__ import run
from tests.frozen.shapes import differences

HERE = Path(__file__).parent
HINT = "if this is meant: pytest --rewrite-frozen tests/frozen"
SETTINGS = ("RELUBENCH_DATA_DIR", "NO_COLOR", "FORCE_COLOR")
"""Of a developer's own, what changes what is printed."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """The files beside this one; each is compared with, or written anew where that was asked for."""

    rewriting: bool

    def record(self, file: str, value: Any, prepare: Callable[..., Any] | None = None) -> None:
        """Fail with a sentence for each difference from a JSON file; `prepare` may change both values first."""
        place = HERE / file
        if self.rewriting:
            _write(place, json.dumps(value, indent=1, ensure_ascii=False) + "\n")
        before = self.read(file)
        _fail_for(list(differences(*(prepare(before, value) if prepare else (before, value)))))

    def read(self, file: str) -> Any:
        """What a JSON file holds."""
        return json.loads((HERE / file).read_text("utf-8"))

    def text(self, file: str, text: str) -> None:
        """Fail with the lines that differ from a text file, byte by byte."""
        place = HERE / file
        if self.rewriting:
            _write(place, text)
        before = place.read_bytes().decode("utf-8")
        if before != text:
            lines = difflib.unified_diff(before.splitlines(), text.splitlines(), file, "now", lineterm="", n=1)
            _fail_for(list(lines) or [f"{file}: the line ends differ"])

    def only(self, folder: str, files: set[str]) -> None:
        """Fail for a file in `folder` that no test compares with any more; it is deleted where files are rewritten."""
        extra = [place for place in (HERE / folder).iterdir() if place.name not in files]
        if self.rewriting:
            for place in extra:
                place.unlink()
        else:
            _fail_for([f"{folder}/{place.name} belongs to nothing any more" for place in extra])


def _write(place: Path, text: str) -> None:
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(text.encode("utf-8"))


def _fail_for(lines: list[str]) -> None:
    if lines:
        pytest.fail("\n".join([*lines, HINT]), pytrace=False)


@pytest.fixture
def frozen(request: pytest.FixtureRequest) -> Frozen:
    """The frozen files."""
    return Frozen(rewriting=request.config.getoption("--rewrite-frozen"))


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A terminal of 80 columns without settings, in an empty folder, without the network and without data sets."""
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    for name, value in {"COLUMNS": "80", "RELUBENCH_OFFLINE": "1", "RELUBENCH_CACHE_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)


def printed(*argv: str) -> str:
    """What a command writes to stdout."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = run(list(argv))
    assert code == 0, argv
    return out.getvalue()
