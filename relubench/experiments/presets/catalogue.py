"""The presets that come with the program, and a user's own files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from relubench.errors import UsageError
from relubench.experiments.presets.document import Document, read_document
from relubench.experiments.presets.resolve import Preset, resolve
from relubench.experiments.presets.schema import SCALES
from relubench.experiments.sections import Method
from relubench.system.lookup import did_you_mean, find, near_names
from relubench.system.paths import presets_folder, user_path

SUFFIXES = (".yaml", ".yml")


def names() -> list[str]:
    """The presets that come with the program."""
    return sorted(path.stem for path in presets_folder().glob("*.yaml"))


FOLDER = "lessons/"
"""What the name of a lesson's preset begins with: `relubench run lessons/depth` is `relubench learn depth`."""
LESSONS = ("depth", "zeros", "dying", "pretraining", "difference")
"""The lessons, in the order in which they are taken."""


def load_lesson(name: str, overrides: Sequence[Mapping[str, Any]] = ()) -> Preset:
    """The lesson's preset; raises UsageError for a name that no lesson has."""
    find(name, dict.fromkeys(LESSONS), kind="lesson", see="`relubench learn` lists them")
    return open_preset(FOLDER + name, None, overrides)


def lessons() -> list[dict[str, Any]]:
    """A row for each lesson: its name, its title, what it asks and how many networks it trains."""
    rows = []
    for name in LESSONS:
        preset = load_lesson(name)
        title = (preset.lesson or {}).get("title", name)
        rows.append({"name": name, "lesson": title, "question": preset.question, "runs": preset.runs})
    return rows


def load(text: str) -> tuple[str, Document]:
    """The preset called `text`, or the file at that path: its name and its document. Raises UsageError."""
    path = user_path(text)
    if text.startswith(FOLDER) and text.removeprefix(FOLDER) in LESSONS:
        return text, read_document(presets_folder() / f"{text}.yaml", f"presets/{text}.yaml")
    if "/" in text or "\\" in text or path.suffix.lower() in SUFFIXES:
        if not path.exists():
            siblings = [yaml_file.name for yaml_file in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
            close = near_names(path.name, siblings) or near_names(path.stem, names())
            hint = f"did you mean {' or '.join(close)}? " if close else ""
            raise UsageError(f"there is no file {text}", f"{hint}`relubench list presets` shows those that come along")
        return path.stem, read_document(path, text)
    shipped = names()
    if text not in shipped:
        hint = did_you_mean(text, shipped, "see `relubench list presets`; a file of your own ends in .yaml")
        raise UsageError(f"there is no preset called {text!r}", hint)
    return text, read_document(presets_folder() / f"{text}.yaml", f"presets/{text}.yaml")


def open_preset(
    text: str,
    scale: str | None,
    overrides: Sequence[Mapping[str, Any]] = (),
    acts: Sequence[str] = (),
    methods: Sequence[Method] = (),
) -> Preset:
    """The preset called `text`, or the file at that path, at a scale."""
    name, document = load(text)
    return resolve(document, name, scale, overrides=overrides, acts=acts, methods=methods)


def listing() -> list[dict[str, Any]]:
    """A row for each preset that comes along: its name, what it is, and its runs at each scale."""
    rows: list[dict[str, Any]] = []
    for name in names():
        _, document = load(name)
        scales = document.values.get("scales") or {}
        runs = {scale: resolve(document, name, scale).runs if scale in scales else None for scale in SCALES}
        about = {"description": document.values["description"], "source": document.values.get("source")}
        rows.append({"name": name, **about, **{f"{scale}_runs": number for scale, number in runs.items()}})
    return rows
