"""What a preset file may say. It embeds the configuration's own schema, in which every default lives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from relubench.errors import UsageError
from relubench.experiments.config import ExperimentConfig, key_path, known_keys
from relubench.experiments.presets.document import Document
from relubench.experiments.published_order import published_order
from relubench.experiments.reference_files import tables
from relubench.experiments.sections import DataSection, Method, ModelSection, PretrainSection, Section, TrainSection
from relubench.system.lookup import did_you_mean, find

SCALES = ("smoke", "quick", "paper")
"""smoke: offline, under a minute; quick: the real data, a little of it; paper: the whole experiment."""

FigureName = Literal[
    "scores",
    "curves",
    "differences",
    "depth",
    "noise",
    "dead-units",
    "zeros",
    "gain",
    "gradients",
    "distributions",
    "overlap",
    "experts",
    "exchange",
    "zeros-and-scores",
    "pareto",
    "speed",
    "products",
]
"""The names of the figures, which `reports` draws: those of `relubench list figures`."""

Text = Annotated[str, Field(min_length=1, max_length=2000)]


VARIED: dict[str, type[Section]] = {
    "data": DataSection,
    "model": ModelSection,
    "train": TrainSection,
    "pretrain": PretrainSection,
}
"""The sections whose keys a scale, a variant or a grid may set."""


class Reference(Section):
    """A table of published numbers that stands beside the rows; or of a wider source, what is compared in order alone.

    With `best` there is no number: what the source calls the best activation."""

    source: str
    table: str = ""
    metric: str = ""
    """Of a source whose numbers are of other networks: with it their order is compared, and not they themselves."""
    dataset: str = ""
    model: str = ""
    condition: str = ""
    best: str = ""


def is_beside_rows(reference: Mapping[str, str]) -> bool:
    """Whether the numbers of a reference stand beside the rows."""
    return "metric" not in reference and "best" not in reference


class Baseline(Section):
    """What rows are compared with: an activation (in the row's own variant), a variant (with the row's own activation),
    or with both one row.

    With `pretraining` the rows of all other ways of pre-training are compared with those of this one that have their
    own variant and activation; what else stands here then holds for the latter."""

    act: str | None = None
    variant: str | None = None
    pretraining: Method | None = None


class VariantEntry(Section):
    """What one variant sets otherwise than the preset."""

    label: Text | None = None
    act: tuple[str, ...] = ("relu",)
    data: DataSection = DataSection()
    model: ModelSection = ModelSection()
    train: TrainSection = TrainSection()
    pretrain: PretrainSection = PretrainSection()


Grid = dict[str, Annotated[list[Any], Field(min_length=1)]]


class ScaleEntry(Section):
    """What a scale sets otherwise than the preset; its variants and grid take the place of the preset's."""

    stand_in: Text | None = None
    """What replaces the experiment's own data or network here: it is said under the table."""
    baseline: Baseline = Baseline()
    variants: Annotated[tuple[VariantEntry, ...], Field(min_length=1)] | None = None
    grid: Grid = Field(default_factory=dict)
    act: tuple[str, ...] = ("relu",)
    data: DataSection = DataSection()
    model: ModelSection = ModelSection()
    train: TrainSection = TrainSection()
    pretrain: PretrainSection = PretrainSection()
    seeds: tuple[int, ...] = (0,)


class Lesson(Section):
    """What a preset that is a lesson says to whoever learns from it."""

    title: Text
    look: Text
    """What to look at."""
    expect: Text
    """What will be seen there."""


class PresetFile(ExperimentConfig):
    """A preset: a configuration, what varies in it, its scales, and what it is compared with."""

    description: Text
    source: Text | None = None
    """Where the experiment comes from, in a few words."""
    claim: Text | None = None
    """What the source says will come out where it has no table of it: a line under the rows."""
    question: Text | None = None
    """What the preset asks, in one sentence: a page begins with it."""
    figure: tuple[FigureName, ...] = ()
    """The figures that show what the preset asks, the first of them first: `relubench list figures`."""
    lesson: Lesson | None = None
    """What to look at and what to expect, where the preset is a lesson."""
    command: Literal["train"] = "train"
    reference: tuple[Reference, ...] = ()
    baseline: Baseline = Baseline()
    as_published: tuple[str, ...] = ()
    """Keys whose setting is the reference's own: no departure from it, whatever the protocol says."""
    variants: Annotated[tuple[VariantEntry, ...], Field(min_length=1)] | None = None
    grid: Grid = Field(default_factory=dict)
    scales: dict[str, ScaleEntry] = Field(default_factory=dict)


def check(document: Document) -> None:
    """Refuse what is not a preset: unknown keys, wrong types, references and scales that do not exist, by line."""
    values = document.values
    for name in values["scales"] if isinstance(values.get("scales"), dict) else ():
        if name not in SCALES:
            raise document.refuse(
                ("scales", name),
                f"there is no scale {name!r}",
                did_you_mean(name, SCALES, f"scales are {', '.join(SCALES)}"),
            )
    try:
        PresetFile.model_validate(values)
    except ValidationError as error:
        # Rules about two keys are checked once base, scale and variant are one.
        shape = [error_detail for error_detail in error.errors() if error_detail["type"] != "value_error"]
        if shape:
            raise _refusal(document, shape) from error
    for index, reference in enumerate(values.get("reference") or ()):
        _check_reference(document, ("reference", str(index)), reference)
    for index, key in enumerate(values.get("as_published") or ()):
        check_key(document, ("as_published", str(index)), key)
    grids = [(("grid",), values.get("grid") or {})]
    scales = (values.get("scales") or {}).items()
    grids += [(("scales", name, "grid"), (scale or {}).get("grid") or {}) for name, scale in scales]
    for path, grid in grids:
        for key in grid:
            check_key(document, (*path, key), key)
            if not key.startswith(tuple(f"{name}." for name in VARIED)):
                raise document.refuse(
                    (*path, key), f"a grid cannot vary {key}", "it varies keys of data, model, train and pretrain"
                )


def check_key(document: Document, path: Sequence[str], key: str) -> None:
    """Raises UsageError if the configuration has no such key."""
    if key not in known_keys():
        hint = did_you_mean(key, known_keys(), "keys are written like model.init")
        raise document.refuse(path, f"there is no configuration key {key}", hint)


def _check_reference(document: Document, path: tuple[str, ...], reference: Mapping[str, str]) -> None:
    if "best" in reference:
        return
    if "metric" in reference:
        try:
            published_order(**reference)
        except UsageError as error:
            raise document.refuse(path, error.message, error.hint) from error
        return
    tables_by_source = tables()
    for key, kind, names in (
        ("source", "source of references", list(tables_by_source)),
        ("table", f"table in {reference['source']}", tables_by_source.get(reference["source"], [])),
    ):
        value = reference.get(key, "")
        if value not in names:
            raise document.refuse(
                (*path, key) if key in reference else path,
                f"there is no {kind} called {value!r}",
                did_you_mean(value, names, f"there are {', '.join(names)}"),
            )


def _refusal(document: Document, details: Sequence[Any]) -> Exception:
    first = details[0]
    path = [part for part in key_path(first) if part != "[key]"]
    if first["type"] == "extra_forbidden":
        keys = _keys_at(path[:-1])
        hint = did_you_mean(path[-1], keys, f"the keys there are {', '.join(keys)}")
        return document.refuse(path, f"there is no key {'.'.join(path)}", hint)
    if first["type"] == "missing":
        return document.refuse(path, f"{'.'.join(path)} is missing", f"add {path[-1]}: ...")
    rules = [detail["msg"] for detail in details if detail["loc"][: len(path)] == first["loc"][: len(path)]]
    rules = [rule.removeprefix("Input ")[0].lower() + rule.removeprefix("Input ")[1:] for rule in rules]
    value = str(first["input"])
    shown = value if len(value) <= 60 else f"{value[:57]}..."
    rule = f"{'.'.join(path)} {' or '.join(dict.fromkeys(rules))}, got {shown!r}"
    return document.refuse(path, rule, "see `relubench run NAME --print` for a preset that is right")


def _keys_at(path: Sequence[str]) -> list[str]:
    """The keys that the mapping at `path` may have."""
    sections: dict[str, type[Section]] = dict(VARIED)
    sections |= {"reference": Reference, "baseline": Baseline, "variants": VariantEntry, "scales": ScaleEntry}
    named = [part for part in path if part in sections]
    return list((sections[named[-1]] if named else PresetFile).model_fields)


def scale_named(document: Document, requested: str | None) -> str | None:
    """The scale to run at: the one asked for, else quick, else the file's first; None where the file has none."""
    scales = document.values.get("scales") or {}
    if requested is not None:
        see = f"it has {', '.join(scales)}" if scales else "it has no scales: leave --scale out"
        find(requested, dict.fromkeys(scales), kind=f"scale of {document.name}", see=see)
        return requested
    return "quick" if "quick" in scales else next(iter(scales), None)
