"""The outputs' own activation (`--output-act`): which ones a task takes, and whether they can reach its targets.

Imports torch only where one is asked for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from relubench.activations import ActivationChoice, select
from relubench.activations.table import ACTIVATIONS
from relubench.data import PreparedData, arrays
from relubench.data.prepared import image_range
from relubench.errors import UsageError
from relubench.experiments.sections import ModelSection
from relubench.runs.task import RECONSTRUCTION, Task

SLACK = 1e-6
"""A range may miss the targets by this share of their spread: sigmoid comes to 0 and 1 only in the limit."""

EXTREME, NEAR = 1e4, 5.0
"""A range is looked for up to this size of z, an interval without slope up to that."""


def output_activation(model: ModelSection, task: Task, prepared: PreparedData) -> str:
    """The label of the activation that the outputs get beside what the loss applies; empty for none.

    Raises UsageError for one that the task does not take, or whose range does not hold the targets.
    """
    if model.output_act is None:
        return ""
    choice = _choice(model.output_act)
    if task.applies:
        if choice.label == task.applies:
            return ""
        raise UsageError(
            f"--output-act {choice.label} cannot be used here: the loss of the task {task.name} itself takes the "
            f"{task.applies} of the outputs",
            "leave it out; --output-act is for autoencoders and for regression, whose loss is the squared error",
        )
    if choice.label == "identity":
        return ""
    low, high = value_range(choice)
    least, largest = target_range(task, prepared)
    slack = SLACK * (largest - least)
    if low > least + slack or high < largest - slack:
        raise UsageError(
            f"--output-act {choice.label} gives values from {_end(low)} to {_end(high)}, but the targets of "
            f"{prepared.name}, as networks get them, lie between {least:.4g} and {largest:.4g}: it cannot reach them",
            "leave it out (the outputs are then linear), or take one whose range holds the targets",
        )
    return choice.label


def remark_on_outputs(model: ModelSection, task: Task) -> str:
    """A line where the outputs' activation has no slope on an interval; else empty."""
    if model.output_act is None or task.applies:
        return ""
    choice = _choice(model.output_act)
    z, values = _values(choice, NEAR)
    flat = z[1:][np.diff(values) == 0]
    if not len(flat):
        return ""
    return (
        f"--output-act {choice.label} has no slope at z = {flat[0]:.3g}: an output that comes to lie there for every "
        "image no longer learns; identity (the default), sigmoid and softplus have a slope everywhere"
    )


def check_targets(task: Task, prepared: PreparedData) -> None:
    """Raises UsageError for images that the likelihood of a VAE is not defined for."""
    if task.name != RECONSTRUCTION:
        return
    low, high = input_range(prepared)
    if low < 0 or high > 1:
        raise UsageError(
            f"a VAE's likelihood is for pixels from 0 to 1, but {prepared.name} has values from {low:.4g} to "
            f"{high:.4g}",
            "use an autoencoder (--model autoencoder-2x400), whose squared error takes any values",
        )


def input_range(prepared: PreparedData) -> tuple[float, float]:
    """The least and the largest value of all parts' images as networks get them."""
    if prepared.facts is None:
        return image_range(prepared)
    stored = [value for part in prepared.facts.parts.values() for value in (part.low, part.high)]
    ends = [value * prepared.scale + prepared.shift for value in (min(stored), max(stored))]
    return min(ends), max(ends)


def target_range(task: Task, prepared: PreparedData) -> tuple[float, float]:
    """The least and the largest target of the training part, or of all images where they are the targets."""
    if task.reconstructs:
        return input_range(prepared)
    _, targets = arrays(prepared, "train")
    return float(targets.min()), float(targets.max())


def value_range(choice: ActivationChoice) -> tuple[float, float]:
    """The least and the largest value of an activation; infinite where it still grows at the largest |z| looked at."""
    z, values = _values(choice, EXTREME)
    far = np.abs(z) > EXTREME / 10
    ends = []
    for extreme in (values.min(), values.max()):
        grows = far[values == extreme].all() and abs(extreme) > 10 * (1 + np.abs(values[np.abs(z) <= 1]).max())
        ends.append(float(np.copysign(np.inf, extreme)) if grows else float(extreme))
    return ends[0], ends[1]


def _values(choice: ActivationChoice, end: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values of z, ascending up to this end on both sides, and the activation of them."""
    import torch

    from relubench.activations.builder import as_function, build

    side = np.concatenate([np.geomspace(1e-3, end, 2000), np.linspace(0, min(end, 10.0), 2001)])
    z = np.unique(np.concatenate([-side, side]))
    return z, as_function(build(choice))(torch.from_numpy(z)).numpy()


def _choice(text: str) -> ActivationChoice:
    """The one activation that --output-act names; raises UsageError for one that outputs cannot have."""
    choices = select([text])
    choice = choices[0]
    row = ACTIVATIONS.get(choice.name) if choice.kind == "table" else None
    reasons = {
        f"{text} names {len(choices)} activations": len(choices) > 1,
        f"{choice.label} takes {choice.inputs_per_unit} values a unit, an output is one": choice.inputs_per_unit > 1,
        f"{choice.label} has learned parameters": choice.learned > 0,
        f"{choice.label} draws noise": row is not None and row.noisy,
        f"{choice.label} is your own code": choice.kind == "user",
    }
    for reason, holds in reasons.items():
        if holds:
            raise UsageError(
                f"--output-act takes one activation that is a fixed function of one value: {reason}",
                "for example --output-act sigmoid, tanh, softplus, or a formula in x",
            )
    return choice


def _end(value: float) -> str:
    return {np.inf: "infinity", -np.inf: "minus infinity"}.get(value, f"{value + 0.0:.4g}")
