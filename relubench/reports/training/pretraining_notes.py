"""Notes on the pre-trained layers behind a table's rows: how they were trained, and how long that took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from relubench.reports.formatting import count
from relubench.runs.result import RunResult, Timing


def pretraining_notes(results: Sequence[RunResult]) -> list[str]:
    """How each row was pre-trained; rows that were alike share a line.

    A row goes by its activation and method, and by its variant where one such pair was pre-trained in several ways.
    """
    pretrained_runs = [result for result in results if (stack := result.spec.get("stack")) and not stack["shuffled"]]
    descriptions: dict[str, set[str]] = {}
    for run in pretrained_runs:
        descriptions.setdefault(_name(run), set()).add(_describe(run.spec["stack"]))
    rows: dict[str, list[str]] = {}
    for run in pretrained_runs:
        name = _name(run)
        name = f"{name} ({run.spec['variant']})" if len(descriptions[name]) > 1 and run.spec.get("variant") else name
        names = rows.setdefault(_describe(run.spec["stack"]), [])
        if name not in names:
            names.append(name)
    notes = [f"{', '.join(names)}: {description}" for description, names in rows.items()]
    if any((result.spec.get("stack") or {}).get("shuffled") for result in results):
        notes.append("-shuffled: from the same pre-trained weights, in random order within each layer")
    if any(run.spec.get("labels") is not None for run in pretrained_runs):
        notes.append("pre-training sees all training images, with a label or without")
    return notes


def pretraining_seconds(runs: Sequence[RunResult], timings: Mapping[str, Timing | None]) -> float | None:
    """The part of the runs' seconds that was pre-training; None where a run has no clock."""
    clocks = [timings.get(run.id) for run in runs]
    return None if None in clocks else round(sum(clock.pretraining_seconds for clock in clocks if clock), 3)


def _name(run: RunResult) -> str:
    return f"{run.spec['activation']} {run.spec['pretraining']}"


def _describe(stack: Mapping[str, Any]) -> str:
    if stack["source"]:
        return f"{count(len(stack['rates']), 'layer')} read from a file ({stack['origin']})"
    rates = [f"{rate:g}" for rate in stack["rates"]]
    common = f"{count(stack['epochs'], 'epoch')} a layer at lr {_per_layer(rates)}"
    if stack["method"] == "rbm":
        kinds = f"visible units {_per_layer(stack['visible'])}, hidden {stack['hidden']}, CD-{stack['k']}"
        return f"{kinds}, {common}"
    weights = "tied" if stack["tied"] else "free"
    noise = f"{stack['noise']} noise {stack['corruption']:g}"
    penalty = f", L1 {stack['l1']:g}" if stack["l1"] else ""
    return f"{noise}, reconstruction {_per_layer(stack['reconstruction'])}, {weights} weights{penalty}, {common}"


def _per_layer(values: Sequence[str]) -> str:
    """The value if all layers have the same, else those of all layers."""
    return values[0] if len(set(values)) == 1 else ", ".join(values)
