"""Backends that need not be measured: of processors that the package knows, and of small networks. Torch-free."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

from relubench.models.backends.question import LARGE, Question

FILE = Path(__file__).with_name("known.json")


@lru_cache(maxsize=1)
def rows() -> Sequence[dict[str, Any]]:
    """What was measured on other machines: conditions and the backend; the first row whose conditions hold decides."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def rows_of(device_name: str) -> list[dict[str, Any]]:
    """The rows about a processor."""
    return [row for row in rows() if fnmatchcase(device_name, row["processor"])]


def known_backend(question: Question, device_name: str) -> str | None:
    """The backend that is taken without measuring; None where it has to be measured.

    Below `LARGE` weights that is torch, unless a row says otherwise: other backends have nothing to win there.
    """
    backends = (row["backend"] for row in rows_of(device_name) if _holds(row, question))
    return next(backends, "torch" if question.weights < LARGE else None)


def _holds(row: dict[str, Any], question: Question) -> bool:
    """Whether the question is one that the row answers."""
    return (
        question.kind in row.get("kinds", (question.kind,))
        and question.threads == row.get("threads", question.threads)
        and question.batch <= row.get("largest_batch", question.batch)
        and row.get("least_weights", 0) <= question.weights <= row.get("most_weights", question.weights)
    )
