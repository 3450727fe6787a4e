"""A resolved preset as a YAML file that gives the same runs: every key with its meaning, nothing left to defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from relubench.experiments.config import ExperimentConfig
from relubench.experiments.docstrings import docstring_of
from relubench.experiments.plan import Variant
from relubench.experiments.presets.resolve import Preset
from relubench.experiments.sections import Section

OF_A_PLACE = ("executor", "slurm")
"""Sections that say where jobs are carried out, which is no part of an experiment."""


def as_yaml(preset: Preset) -> str:
    """The preset's text: the first variant's whole configuration, then what each variant sets otherwise."""
    first = preset.variants[0]
    scale = f" at the scale {preset.scale}" if preset.scale else ""
    lines = [f"# {preset.name}{scale}: {preset.runs} runs. Run it with: relubench run FILE.yaml"]
    about: dict[str, Any] = {"description": preset.description, "source": preset.source, "claim": preset.claim}
    about |= {"command": "train", "reference": preset.references, "baseline": _baseline(preset)}
    about |= {"question": preset.question, "figure": list(preset.figure)}
    about |= {"lesson": dict(preset.lesson or {})}
    about |= {"as_published": sorted(first.as_published)}
    lines += _dump({key: value for key, value in about.items() if value})
    lines += ["", *_configuration(first.config)]
    if len(preset.variants) > 1 or first.label:
        lines += ["", "# What each row's variant sets otherwise.", "variants:"]
        lines += ["  " + line for variant in preset.variants for line in _variant(variant, first)]
    if preset.scale:
        lines += ["", "# Everything above is the preset at this scale.", "scales:"]
        scale_values = {"stand_in": preset.stand_in} if preset.stand_in else {}
        lines += [f"  {line}" for line in _dump({preset.scale: scale_values})]
    return "\n".join(lines) + "\n"


def _baseline(preset: Preset) -> dict[str, str]:
    baseline = {"act": preset.comparison.activation, "variant": preset.comparison.variant}
    baseline |= {"pretraining": preset.comparison.pretraining}
    return {key: value for key, value in baseline.items() if value is not None}


def _configuration(config: ExperimentConfig) -> list[str]:
    lines: list[str] = []
    for key, value in config:
        if key in OF_A_PLACE:
            continue
        if isinstance(value, Section):
            lines.append(f"{key}:")
            for inner, setting in value:
                lines += _described(docstring_of(type(value), inner), 2)
                lines += [f"  {line}" for line in _dump({inner: _plain(setting)})]
        else:
            lines += _described(docstring_of(ExperimentConfig, key), 0)
            lines += _dump({key: _plain(value)})
    return lines


def _described(text: str | None, indent: int) -> list[str]:
    return [f"{' ' * indent}# {' '.join(text.split())}"] if text else []


def _variant(variant: Variant, first: Variant) -> list[str]:
    """The variant as an item of a list."""
    values = {"label": variant.label, **_differences(variant.config.model_dump(), first.config.model_dump())}
    lines = _dump({key: value for key, value in values.items() if value not in ("", {})} or {"label": "all"})
    return [("- " if place == 0 else "  ") + line for place, line in enumerate(lines)]


def _differences(values: Mapping[str, Any], first_values: Mapping[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            inner = _differences(value, first_values[key])
            changes |= {key: inner} if inner else {}
        elif value != first_values[key]:
            changes[key] = _plain(value)
    return changes


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _dump(values: Mapping[str, Any]) -> list[str]:
    """Lines of block mappings, in which lists are written in one line."""
    lines: list[str] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            lines += [f"{key}:", *(f"  {line}" for line in _dump(value))]
        else:
            lines.append(f"{key}: {_inline(value)}")
    return lines


def _inline(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=100_000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")
