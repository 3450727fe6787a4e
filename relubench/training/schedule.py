"""The learning rate's factor over the steps of a training: a warm-up, then a constant or half a cosine."""

from __future__ import annotations

import math

from relubench.runs.spec import RunSpec


def lr_factor(spec: RunSpec, step: int, steps_per_epoch: int) -> float:
    """The factor of the learning rate at a step, counted from 0 over all epochs."""
    warmup, total = spec.warmup_epochs * steps_per_epoch, spec.epochs * steps_per_epoch
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if spec.schedule == "constant":
        return 1.0
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1.0, total - warmup)))
