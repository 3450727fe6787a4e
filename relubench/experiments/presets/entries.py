"""The variants of a preset file, and what is left of them where only some activations or methods are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from relubench.activations import select
from relubench.errors import UsageError
from relubench.experiments.config import ExperimentConfig
from relubench.experiments.sections import Method
from relubench.system.lookup import did_you_mean


@dataclass(frozen=True, slots=True)
class Entry:
    """One variant of the file: its label, what it sets, and where that stands."""

    label: str
    values: dict[str, Any]
    places: list[tuple[str, ...]]
    """Prefixes of the lines that its keys have."""


def only_acts(
    name: str, acts: Sequence[str], entries: Sequence[Entry], configs: Sequence[ExperimentConfig]
) -> tuple[list[Entry], list[ExperimentConfig]]:
    """The variants with only those of their activations that `acts` names; one without any of them goes."""
    labels_of_preset = {choice.label for config in configs for choice in select(config.act)}
    chosen: set[str] = set()
    for text in acts:
        labels = {choice.label for choice in select([text])}
        matching = labels & labels_of_preset
        # A pattern may reach beyond the preset; what is spelled out may not.
        if not matching or any(label in text for label in labels - labels_of_preset):
            hint = did_you_mean(
                text, labels_of_preset, f"it has {', '.join(sorted(labels_of_preset))}; --set act=[...] replaces them"
            )
            raise UsageError(f"--act {text}: {name} has no such activation", hint)
        chosen |= matching
    remaining: list[tuple[Entry, ExperimentConfig]] = []
    for entry, config in zip(entries, configs, strict=True):
        if own_acts := tuple(choice.label for choice in select(config.act) if choice.label in chosen):
            remaining.append((entry, config.model_copy(update={"act": own_acts})))
    return [entry for entry, _ in remaining], [config for _, config in remaining]


def only_methods(
    name: str, methods: Sequence[Method], entries: Sequence[Entry], configs: Sequence[ExperimentConfig]
) -> tuple[list[Entry], list[ExperimentConfig]]:
    """The variants with only these ways of pre-training; one without any of them goes."""
    methods_of_preset = list(dict.fromkeys(method for config in configs for method in config.pretrain.methods))
    for method in methods:
        if method not in methods_of_preset:
            raise UsageError(
                f"--method {method}: {name} does not pre-train so", f"it has {', '.join(methods_of_preset)}"
            )
    remaining = [
        (entry, config.model_copy(update={"pretrain": config.pretrain.only(methods)}))
        for entry, config in zip(entries, configs, strict=True)
        if set(methods) & set(config.pretrain.methods)
    ]
    return [entry for entry, _ in remaining], [config for _, config in remaining]
