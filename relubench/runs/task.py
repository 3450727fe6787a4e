"""What a network is asked to do: a row of TASKS for each task, with its metric and how it is spoken of. Torch-free.

A new task is one file with its loss (`training.losses.Objective`) and one row here; a data set poses it by its name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from relubench.runs.task_names import CLASSIFICATION, LANGUAGE, PICTURE, RECONSTRUCTION, RECONSTRUCTION_MSE, REGRESSION
from relubench.system import lookup

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
    unit: str = ""
    """What follows a value: '%'; empty for a number without a unit."""
    difference_unit: str = ""
    """What follows a difference: 'points'; empty likewise."""
    lower_is_better: bool = True
    per_example: Literal["wrong", "loss"] = "loss"
    """What a run stores of each test example: a bit, or a float32."""
    chance: Callable[[NDArray[Any]], NDArray[Any]]
    """Gives for each target [N] the score of a network that has learned nothing: the best constant answer."""
    chance_answer: str
    """That answer in words: 'always naming the commonest class'."""
    of_numbers: bool = False
    """Whether its targets are numbers [N, K], and no labels [N]."""
    decimals: int = 2
    """How many are printed."""
    values: Callable[[NDArray[Any]], NDArray[Any]] | None = None
    """Makes of a network's scores [N] those that are stored, of which the metric is the mean; None: they are these."""
    beside: Mapping[str, Callable[[float, NDArray[Any]], float]] = field(default_factory=dict)
    """Other measures that a run keeps by their names, each of its test score and the targets [N, ...]."""
    meaning: str = ""
    """The line under a table that says what its score is; empty where the name says all."""
    applies: str = ""
    """The function that its loss takes of the outputs; empty: none, so that they may have their own."""
    examples: str = ""
    """What an example is called, in the plural; empty: images or rows, by its shape."""
    reconstructs: bool = False
    """Whether the targets are the examples themselves, not what the data set has for targets."""

    @property
    def best(self) -> str:
        """'lowest' or 'highest': which of several scores is the best."""
        return "lowest" if self.lower_is_better else "highest"

    def examples_of(self, input_shape: Sequence[int]) -> str:
        """What examples of this shape are called: 'images', 'rows', 'windows'."""
        return self.examples or ("images" if len(input_shape) == 3 else "rows")

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


def squared_errors_of_mean(targets: NDArray[Any]) -> NDArray[Any]:
    """The squared error of each target [N, K] where a network always gives their mean, averaged over K: [N]."""
    rows = targets.reshape(len(targets), -1).astype(np.float64)
    return np.square(rows - rows.mean(axis=0)).mean(axis=1)


def r_squared(mean_squared_error: float, targets: NDArray[Any]) -> float:
    """1 - MSE / the variance of the targets: 1 for a perfect network, 0 for one that always gives their mean."""
    return 1.0 - mean_squared_error / float(squared_errors_of_mean(targets).mean())


SMALLEST_ERROR = 1e-12
"""A mean squared error below this counts as this: 120 dB, where no picture of 8 or 16 bits can tell a difference."""


def decibels(squared_errors: NDArray[Any]) -> NDArray[Any]:
    """Values whose mean is the PSNR of a picture with these squared errors [N] of its pixels, of colours in [0, 1].

    PSNR = -10 log10(MSE) is no mean of pixels. Its first-order expansion in them is: PSNR - 10/ln 10 (e/MSE - 1) for a
    pixel with the squared error e. An interval of the mean of these is the delta method's interval of the PSNR.
    """
    errors = np.asarray(squared_errors, dtype=np.float64)
    mean = max(float(errors.mean()), SMALLEST_ERROR)
    # Of a network that diverged they are not finite, and stay so.
    with np.errstate(invalid="ignore"):
        relative = (errors - errors.mean()) / mean
    return (-10.0 * math.log10(mean) - 10.0 / math.log(10.0) * relative).astype(np.float32)


def mean_image_nats(pixels: NDArray[Any]) -> NDArray[Any]:
    """The cross-entropy in nats of each image [N, D] with values in [0, 1] against the mean of them all, [N].

    No constant Bernoulli probabilities have a lower mean; a pixel that has one value throughout costs nothing.
    """
    mean = pixels.mean(axis=0, dtype=np.float64)
    with np.errstate(divide="ignore"):
        lit, dark = np.log(mean), np.log1p(-mean)
    varies = np.isfinite(lit) & np.isfinite(dark)
    on = pixels[:, varies].astype(np.float64)
    return -(on @ lit[varies] + (1.0 - on) @ dark[varies])


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
        per_example="wrong",
        chance=commonest_class_errors,
        chance_answer="always naming the commonest class",
        applies="softmax",
    ),
    Task(
        name=RECONSTRUCTION,
        target="relubench.training.reconstruction:NegativeElbo",
        metric="nats",
        noun="negative ELBO",
        unit="nats",
        difference_unit="nats",
        chance=mean_image_nats,
        chance_answer="always giving the mean image",
        applies="sigmoid",
        reconstructs=True,
    ),
    Task(
        name=RECONSTRUCTION_MSE,
        target="relubench.training.squared_error:SquaredError",
        metric="mse",
        noun="squared error",
        chance=squared_errors_of_mean,
        chance_answer="always giving the mean image",
        decimals=4,
        reconstructs=True,
    ),
    Task(
        name=REGRESSION,
        target="relubench.training.squared_error:SquaredError",
        metric="mse",
        noun="squared error",
        chance=squared_errors_of_mean,
        chance_answer="always giving the mean",
        of_numbers=True,
        decimals=4,
        beside={"r2": r_squared},
        meaning="squared errors are of targets divided by their spread in training: always giving the mean has about 1",
    ),
    Task(
        name=PICTURE,
        target="relubench.training.squared_error:SquaredError",
        metric="psnr_db",
        noun="PSNR",
        unit="dB",
        difference_unit="dB",
        lower_is_better=False,
        chance=lambda colours: decibels(squared_errors_of_mean(colours)),
        chance_answer="always giving the mean colour",
        of_numbers=True,
        values=decibels,
        examples="pixels",
        meaning="PSNR: -10 log10 of the mean squared error, of colours from 0 to 1, on pixels that did not train; "
        "neighbouring pixels err alike, so intervals over pixels are too narrow for other pictures of the kind",
    ),
    Task(
        name=LANGUAGE,
        target="relubench.training.next_token:NextToken",
        metric="bits_per_character",
        noun="bits per character",
        difference_unit="bits",
        # 8 bits is what a uniform answer costs; no text is that hard, so a network has to beat the frequencies.
        chance=unigram_bits,
        chance_answer="always giving the frequencies of the characters",
        decimals=3,
        applies="softmax",
        examples="windows",
        meaning="a character is a byte; it is predicted from those before it in its window, never from another window; "
        "neighbouring windows are alike, so intervals over windows are too narrow for other texts of the kind",
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
