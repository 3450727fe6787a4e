"""What a table says of the pre-trained stacks behind its rows: how they were trained, and how long that took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from relubench.reports.formatting import count
from relubench.runs.result import RunResult, Timing


def stack_notes(results: Sequence[RunResult]) -> list[str]:
    """How each row was pre-trained; rows that were alike share a line.

    A row goes by its activation and method, and by its variant where one such pair was pre-trained in several ways.
    """
    pretrained = [one for one in results if (stack := one.spec.get("stack")) and not stack["shuffled"]]
    ways: dict[str, set[str]] = {}
    for one in pretrained:
        ways.setdefault(_name(one), set()).add(_spoken(one.spec["stack"]))
    rows: dict[str, list[str]] = {}
    for one in pretrained:
        name = _name(one)
        name = f"{name} ({one.spec['variant']})" if len(ways[name]) > 1 and one.spec.get("variant") else name
        names = rows.setdefault(_spoken(one.spec["stack"]), [])
        if name not in names:
            names.append(name)
    notes = [f"{', '.join(names)}: {told}" for told, names in rows.items()]
    if any((one.spec.get("stack") or {}).get("shuffled") for one in results):
        notes.append("-shuffled: from the same pre-trained weights, in random order within each layer")
    if any(one.spec.get("labels") is not None for one in pretrained):
        notes.append("pre-training sees all training images, with a label or without")
    return notes


def stack_seconds(runs: Sequence[RunResult], timings: Mapping[str, Timing | None]) -> float | None:
    """What of the runs' seconds was pre-training; None where a clock was lost."""
    clocks = [timings.get(one.id) for one in runs]
    return None if None in clocks else round(sum(one.pretraining_seconds for one in clocks if one), 3)


def _name(one: RunResult) -> str:
    return f"{one.spec['activation']} {one.spec['pretraining']}"


def _spoken(stack: Mapping[str, Any]) -> str:
    if stack["source"]:
        return f"{count(len(stack['rates']), 'layer')} read from a file ({stack['origin']})"
    rates = [f"{one:g}" for one in stack["rates"]]
    common = f"{count(stack['epochs'], 'epoch')} a layer at lr {_each(rates)}"
    if stack["method"] == "rbm":
        kinds = f"visible units {_each(stack['visible'])}, hidden {stack['hidden']}, CD-{stack['k']}"
        return f"{kinds}, {common}"
    weights = "tied" if stack["tied"] else "free"
    noise = f"{stack['noise']} noise {stack['corruption']:g}"
    penalty = f", L1 {stack['l1']:g}" if stack["l1"] else ""
    return f"{noise}, reconstruction {_each(stack['reconstruction'])}, {weights} weights{penalty}, {common}"


def _each(values: Sequence[str]) -> str:
    """One value if all layers have it, else one a layer."""
    return values[0] if len(set(values)) == 1 else ", ".join(values)
