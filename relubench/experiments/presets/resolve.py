"""From a preset file to the variants of a study: base < scale < variant < --set and flags."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from relubench.activations import select
from relubench.errors import UsageError
from relubench.experiments.comparison import Comparison
from relubench.experiments.config import ExperimentConfig, experiment, key_path, merge
from relubench.experiments.deviations import spoken
from relubench.experiments.plan import Variant, rows, strengths_and_seeds
from relubench.experiments.presets.document import Document
from relubench.experiments.presets.entries import Entry, only_acts, only_methods
from relubench.experiments.presets.schema import PresetFile, ScaleEntry, check, is_beside_rows, scale_named
from relubench.experiments.sections import Method
from relubench.system.lookup import did_you_mean

MOST_RUNS = 10_000
"""Runs that one preset may ask for: at a minute each that is a week."""

OWN_KEYS = frozenset(PresetFile.model_fields) - frozenset(ExperimentConfig.model_fields)
"""Keys of a preset that are not the configuration's."""
SCALE_KEYS = frozenset(ScaleEntry.model_fields) - frozenset(ExperimentConfig.model_fields)


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """A preset at one scale: what is trained, and what its table shows."""

    name: str
    scale: str | None
    description: str
    source: str | None
    stand_in: str | None
    variants: list[Variant]
    comparison: Comparison
    references: list[dict[str, str]] = field(default_factory=list)
    claim: str | None = None
    """What the source says will come out, in words."""
    question: str = ""
    """What it asks, in one sentence; empty where the file does not say."""
    figure: tuple[str, ...] = ()
    """Names of the figures that show it."""
    lesson: Mapping[str, str] | None = None
    """Title, what to look at and what to expect, where it is a lesson."""

    @property
    def runs(self) -> int:
        return sum(_runs(variant.config) for variant in self.variants)


def resolve(
    document: Document,
    name: str,
    scale: str | None = None,
    *,
    overrides: Sequence[Mapping[str, Any]] = (),
    acts: Sequence[str] = (),
    methods: Sequence[Method] = (),
) -> Preset:
    """The preset at that scale (None: quick, or what the file has), with `overrides` of --set and flags on top.

    `acts`, `methods`: keep only these. Raises UsageError, by line where the file is to blame.
    """
    _check_every_scale(document)
    chosen = scale_named(document, scale)
    entries = _entries(document, chosen)
    configs = _configs(document, chosen, entries)
    if overridden := merge(*overrides):
        _refuse_varied(name, overridden, entries)
        configs = [experiment(*_layers(document, chosen), entry.values, overridden) for entry in entries]
    if acts:
        entries, configs = only_acts(name, acts, entries, configs)
    if methods:
        entries, configs = only_methods(name, methods, entries, configs)
    narrowed = bool(acts or methods or overridden)
    preset = Preset(
        name=name,
        scale=chosen,
        description=document.values["description"],
        source=document.values.get("source"),
        stand_in=_of_scale(document, chosen).get("stand_in"),
        variants=_variants(document, entries, configs),
        comparison=_comparison(document, chosen, [entry.label for entry in entries], configs, narrowed=narrowed),
        references=list(document.values.get("reference") or ()),
        claim=document.values.get("claim"),
        question=document.values.get("question") or "",
        figure=tuple(document.values.get("figure") or ()),
        lesson=document.values.get("lesson"),
    )
    return _few_enough(preset)


def _check_every_scale(document: Document) -> None:
    """Raises UsageError where the file, at any of its scales, is no preset."""
    check(document)
    for scale in document.values.get("scales") or {None: None}:
        _configs(document, scale, _entries(document, scale))


def _variants(document: Document, entries: Sequence[Entry], configs: Sequence[ExperimentConfig]) -> list[Variant]:
    """The variants of a study, one for each entry and its configuration."""
    published = frozenset(document.values.get("as_published") or ())
    return [
        Variant(config=config, label=entry.label, as_published=published)
        for entry, config in zip(entries, configs, strict=True)
    ]


def _of_scale(document: Document, scale: str | None) -> Mapping[str, Any]:
    return (document.values.get("scales") or {}).get(scale) or {}


def _layers(document: Document, scale: str | None) -> list[dict[str, Any]]:
    """The configuration of the preset, and what its scale changes."""
    base = {key: value for key, value in document.values.items() if key not in OWN_KEYS}
    over = {key: value for key, value in _of_scale(document, scale).items() if key not in SCALE_KEYS}
    return [base, over]


def _entries(document: Document, scale: str | None) -> list[Entry]:
    """The variants: those listed, times the grid; a scale's own take the place of the preset's."""
    over = _of_scale(document, scale)
    of_the_scale = bool(over.get("variants") or over.get("grid"))
    source, root = (over, ("scales", str(scale))) if of_the_scale else (document.values, ())
    variants = source.get("variants") or [{}]
    grid: dict[str, list[Any]] = source.get("grid") or {}
    size = len(variants) * math.prod(len(variant) for variant in grid.values())
    if size > MOST_RUNS:
        raise document.refuse((*root, "grid"), f"the grid has {size:,} points; {MOST_RUNS:,} runs are the most", _SPLIT)
    entries = [
        _entry(root, index, variant, dict(zip(grid, point, strict=True)))
        for index, variant in enumerate(variants)
        for point in itertools.product(*grid.values())
    ]
    for index, entry in enumerate(entries):
        if any(entry.label == earlier.label for earlier in entries[:index]):
            fault = f"are both called {entry.label!r}" if entry.label else "have no label"
            raise document.refuse(entry.places[0], f"two variants {fault}", "give each a label of its own")
    return entries


_SPLIT = "split it into several presets, or leave values out"


def _entry(root: tuple[str, ...], index: int, listed: Mapping[str, Any], point: Mapping[str, Any]) -> Entry:
    label = listed.get("label")
    words = [label] if label else []
    values = {key: value for key, value in listed.items() if key != "label"}
    words += _words(values) if not label else []
    for key, value in point.items():
        section, _, inner = key.partition(".")
        values = merge(values, {section: {inner: value}})
        words.append(_word(section, inner, value))
    return Entry(", ".join(words), values, [(*root, "variants", str(index)), (*root, "grid")])


def _words(values: Mapping[str, Any]) -> list[str]:
    """A variant without a label is called by what it sets."""
    words = []
    for section, inner in values.items():
        pairs = inner.items() if isinstance(inner, Mapping) else [(section, inner)]
        words += [_word(section, key, value) for key, value in pairs]
    return words


def _word(section: str, key: str, value: Any) -> str:
    if key == "name":
        return str(value)
    if isinstance(value, list):
        values = " ".join(str(item) for item in value)
        return values if key == "methods" else f"{key} {values}"
    text = spoken(key, value)
    return f"pre-training {text}" if section == "pretrain" else text


def _configs(document: Document, scale: str | None, entries: Sequence[Entry]) -> list[ExperimentConfig]:
    """The checked configuration of each variant; an error carries the line of the key that is wrong."""
    configs: list[ExperimentConfig] = []
    for entry in entries:
        try:
            config = experiment(*_layers(document, scale), entry.values)
            select(config.act)
        except UsageError as error:
            cause = error.__cause__
            path = tuple(key_path(cause.errors()[0])) if isinstance(cause, ValidationError) else ("act",)
            raise document.refuse(_place(document, scale, entry, path), error.message, error.hint) from error
        configs.append(config)
    return configs


def _place(document: Document, scale: str | None, entry: Entry, path: tuple[str, ...]) -> tuple[str, ...]:
    """Where the strongest layer that sets the key stands."""
    listed, grid = entry.places
    places = [(*grid, ".".join(path)), (*listed, *path), ("scales", str(scale), *path), path]
    return next((place for place in places if place in document.lines), path[:1])


def _refuse_varied(name: str, overrides: Mapping[str, Any], entries: Sequence[Entry]) -> None:
    """Raises UsageError where --set or a flag names a key that tells the variants apart."""
    for path in _paths(overrides):
        if any(path in _paths(entry.values) for entry in entries):
            raise UsageError(
                f"{name} varies {'.'.join(path)}: it cannot be set for all of its variants",
                f"`relubench run {name} --print > mine.yaml`, then edit that",
            )


def _paths(values: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from ((key, *inner_path) for inner_path in _paths(value))
        else:
            yield (key,)


def _comparison(
    document: Document, scale: str | None, labels: Sequence[str], configs: Sequence[ExperimentConfig], *, narrowed: bool
) -> Comparison:
    """The baseline and the references; a baseline that --act or --set left out gives way to the first row."""
    over = _of_scale(document, scale).get("baseline")
    path = ("scales", str(scale), "baseline") if over else ("baseline",)
    baseline: Mapping[str, str] = over or document.values.get("baseline") or {}
    acts = [choice.label for config in configs for choice in select(config.act)]
    methods = [method for config in configs for method in config.pretrain.methods]
    baselines: dict[str, str | None] = {}
    for key, names in (("act", acts), ("variant", labels), ("pretraining", methods)):
        value = baseline.get(key)
        baselines[key] = value if value in names else None
        if value is not None and value not in names and not narrowed:
            hint = did_you_mean(value, names, f"there are {', '.join(dict.fromkeys(names))}")
            raise document.refuse((*path, key), f"the baseline {value!r} is none of its rows", hint)
    tables = {row["source"]: row["table"] for row in document.values.get("reference") or () if is_beside_rows(row)}
    return Comparison(
        activation=baselines["act"],
        variant=baselines["variant"],
        pretraining=baselines["pretraining"],
        references=tables,
        smoke=scale == "smoke",
    )


def _runs(config: ExperimentConfig) -> int:
    return len(rows(config, select(config.act))) * len(strengths_and_seeds(config))


def _few_enough(preset: Preset) -> Preset:
    if preset.runs > MOST_RUNS:
        raise UsageError(f"{preset.name} asks for {preset.runs:,} runs; {MOST_RUNS:,} are the most", _SPLIT)
    return preset
