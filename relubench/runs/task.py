"""What a network is asked to do: a row of TASKS for each task, with its metric and how it is spoken of. Torch-free.

A new task is one file with its loss (`training.losses.Objective`) and one row here; a data set poses it by its name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from relubench.system import lookup

CLASSIFICATION = "classification"
"""The name of the task that a data set poses unless it says otherwise."""

LANGUAGE = "language"
"""The task of a text: the next character, which is a byte, from those before it in a context window."""

SIGMAS = 2.0
"""A network is at chance if it does not beat chance by more than this many standard errors of the validation set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A task: how its networks are scored, and the words for that score."""

    name: str
    target: str
    """'module:class' of its `training.losses.Objective`, which is imported when a network is trained."""
    metric: str
    """The name of its metric in rows: the mean over test examples, in percent where each is a bit."""
    noun: str
    """What the metric is called in a sentence: 'error' makes 'test error' and 'validation error'."""
    unit: str
    """What follows a value: '%'; empty for a number without a unit."""
    difference_unit: str
    """What follows a difference: 'points'; empty likewise."""
    lower_is_better: bool
    per_example: Literal["wrong", "loss"]
    """What a run stores of each test example: a bit, or a float32."""
    chance: Callable[[NDArray[Any]], NDArray[Any]]
    """Gives for each target [N] the score of a network that has learned nothing: the best constant answer."""
    chance_answer: str
    """That answer in words: 'always naming the commonest class'."""
    decimals: int = 2
    """How many are printed."""

    @property
    def best(self) -> str:
        """'lowest' or 'highest': which of several scores is the best."""
        return "lowest" if self.lower_is_better else "highest"

    def is_better(self, score: float, other_score: float) -> bool:
        """Whether the first score is better than the second."""
        return score < other_score if self.lower_is_better else score > other_score

    def score(self, per_example: NDArray[Any]) -> float:
        """The metric of a network, from what is stored of each example [N]."""
        scale = 100.0 if self.per_example == "wrong" else 1.0
        return scale * float(per_example.mean(dtype=np.float64))

    def is_at_chance(self, score: float, targets: NDArray[Any]) -> bool:
        """Whether a score on these targets [N] is no better than chance."""
        chance = self.chance(targets).astype(np.float64)
        scale = 100.0 if self.per_example == "wrong" else 1.0
        margin = scale * SIGMAS * math.sqrt(max(float(chance.var()), 1e-12) / len(targets))
        best_of_chance = self.score(chance) + (-margin if self.lower_is_better else margin)
        return not self.is_better(score, best_of_chance)

    def text(self, score: float) -> str:
        """A score as it is printed, with its unit: '1.43 %'."""
        return f"{score:.{self.decimals}f} {self.unit}".rstrip()

    def rounded(self, score: float) -> float:
        """A score as rows have it: a percentage with six decimals, a number with nine digits."""
        return round(score, 6) if self.per_example == "wrong" else float(f"{score:.9g}")


def commonest_class_errors(labels: NDArray[Any]) -> NDArray[Any]:
    """Which of these labels [N] are wrong for a network that always names the commonest class, bool [N]."""
    return labels != np.bincount(labels).argmax()


def unigram_bits(targets: NDArray[Any]) -> NDArray[Any]:
    """The bits per byte of each window [N, T] of bytes for an answer that is their frequencies."""
    counts = np.bincount(targets.reshape(-1))
    bits = -np.log2(np.maximum(counts, 1) / targets.size)
    return bits[targets].mean(axis=1)


_ROWS = (
    Task(
        name=CLASSIFICATION,
        target="relubench.training.losses:CrossEntropy",
        metric="error_pct",
        noun="error",
        unit="%",
        difference_unit="points",
        lower_is_better=True,
        per_example="wrong",
        chance=commonest_class_errors,
        chance_answer="always naming the commonest class",
    ),
    Task(
        name=LANGUAGE,
        target="relubench.training.next_token:NextToken",
        metric="bits_per_character",
        noun="bits per character",
        unit="",
        difference_unit="bits",
        lower_is_better=True,
        per_example="loss",
        # 8 bits is what a uniform answer costs; no text is that hard, so a network has to beat the frequencies.
        chance=unigram_bits,
        chance_answer="always giving the frequencies of the characters",
        decimals=3,
    ),
)

TASKS: dict[str, Task] = {task.name: task for task in _ROWS}


def task_of(values: Mapping[str, Any]) -> Task:
    """The task of a run, from its specification as JSON values, or from any row with the key `task`.

    Raises UsageError where the table has no task of that name.
    """
    return task_called(values.get("task", CLASSIFICATION))


def task_called(name: str) -> Task:
    """The task of that name; raises UsageError if there is none."""
    return lookup.find(name, TASKS, kind="task", see=f"the tasks are {', '.join(TASKS)}")
