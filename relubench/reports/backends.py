"""Backends of dense layers in words, as `doctor` prints them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KINDS = {"sgd": "plain SGD", "dense": "other updates", "rbm": "RBMs"}


def known_text(row: Mapping[str, Any]) -> str:
    """What the package knows: 'plain SGD, at least 100,000 weights, batches to 1024: kernels+onednn'."""
    conditions = [" and ".join(KINDS[kind] for kind in row["kinds"])] if "kinds" in row else []
    texts = {"least_weights": "at least {:,} weights", "most_weights": "at most {:,} weights"}
    texts |= {"largest_batch": "batches to {:,}", "threads": "{:,} thread"}
    conditions += [text.format(row[key]) for key, text in texts.items() if key in row]
    return f"{', '.join(conditions) or 'all else'}: {row['backend']}"


def measured_text(record: Mapping[str, Any]) -> str:
    """What was measured here: '784-1000-10, plain SGD, batch 10, 2 threads: kernels (ms a step: torch 9, ...'."""
    question = record["question"]
    widths = "-".join(str(width) for width in [question["layers"][0][0], *(units for _, units in question["layers"])])
    threads = f"{question['threads']} thread{'s' if question['threads'] != 1 else ''}"
    steps = ", ".join(f"{name} {1e3 * seconds:.3g}" for name, seconds in record["training"].items())
    text = f"{widths}, {KINDS[question['kind']]}, batch {question['batch']:,}, {threads}: {record['backend']}"
    return f"{text} (ms a step: {steps}; {record['processor']}, {str(record['date'])[:10]})"
