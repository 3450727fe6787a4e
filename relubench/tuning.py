"""The learning-rate search of `--lr auto`: every activation at every rate of the grid, on a seed not reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from relubench.device import Device
from relubench.errors import ComputeError
from relubench.plan import LR_GRIDS, TUNING_SEED, RunSpec, expand
from relubench.results import RunResult
from relubench.variants import Part

Trials = dict[float, list[RunSpec]]
"""Learning rate -> one run for each activation of a variant."""


def trials(part: Part, device: Device) -> Trials:
    """The tuning runs of a variant, each on one thread; none where its learning rate is given."""
    if part.config.train.lr != "auto":
        return {}
    alone = part.config.model_copy(update={"seeds": (TUNING_SEED,)})
    found: Trials = {}
    for rate in LR_GRIDS[part.config.train.optimizer]:
        runs = expand(alone, part.choices, part.prepared, device, [rate] * len(part.choices))
        found[rate] = [replace(spec, threads=min(spec.threads, 1), variant=part.variant.label) for spec in runs]
    return found


def best_rate(part: Part, place: int, tried: Trials, found: Mapping[str, RunResult]) -> tuple[float, str]:
    """The rate with the lowest validation error, the larger where two are equal, and what is to be said of it.

    Raises ComputeError if the activation at `place` trained at no rate.
    """
    label = part.choices[place].label + (f" ({part.variant.label})" if part.variant.label else "")
    errors = {
        rate: result.valid_error_pct
        for rate, specs in tried.items()
        if (result := found.get(specs[place].id)) is not None and result.valid_error_pct is not None
    }
    if not errors:
        raise ComputeError(
            f"--lr auto: {label} trained at no learning rate of {', '.join(f'{one:g}' for one in tried)}",
            "name one with --lr, or see the messages above",
        )
    best = min(errors, key=lambda rate: (errors[rate], -rate))
    table = ", ".join(f"{rate:g}: {errors[rate]:.2f} %" if rate in errors else f"{rate:g}: -" for rate in tried)
    return best, f"{label}: learning rate {best:g} (validation error at {table})"
