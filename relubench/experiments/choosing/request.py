"""What a choice is asked for, checked: data sets, networks, budget, wish and margin. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

from relubench.errors import UsageError, shown
from relubench.experiments.choosing.answer import WANTS, Want
from relubench.experiments.choosing.budget import Budget
from relubench.experiments.choosing.choice import ChoiceRequest
from relubench.experiments.choosing.seeds import seeds_range
from relubench.experiments.config import ExperimentConfig
from relubench.system.lookup import did_you_mean


def choice_request(
    config: ExperimentConfig,
    *,
    datasets: Sequence[str],
    models: Sequence[str],
    budget: Budget,
    want: str,
    within: str | float | None,
    seeds: object,
) -> ChoiceRequest:
    """The request of one configuration for each data set and network; raises UsageError for what cannot be."""
    if want not in WANTS:
        raise UsageError(
            f"--want must be one of {', '.join(WANTS)}, got {shown(want)}", did_you_mean(want, WANTS, "--want error")
        )
    pairs = [(dataset, model) for dataset in datasets or [""] for model in models or [""]]
    return ChoiceRequest(
        configs=[_with_names(config, dataset, model) for dataset, model in pairs],
        budget=budget,
        want=cast("Want", want),
        within=_margin(within),
        seeds=_range(seeds),
    )


def _with_names(config: ExperimentConfig, dataset: str, model: str) -> ExperimentConfig:
    data = config.data.model_copy(update={"name": dataset}) if dataset else config.data
    network = config.model.model_copy(update={"name": model}) if model else config.model
    return config.model_copy(update={"data": data, "model": network})


def _margin(within: str | float | None) -> float:
    """The margin of --within; raises UsageError unless it is a number from 0 on."""
    if within is None:
        return 0.0
    try:
        value = float(within)
    except (TypeError, ValueError):
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise UsageError(f"--within must be a number of at least 0, got {shown(within)}", "for example --within 0.3")
    return value


def _range(seeds: object) -> tuple[int, int]:
    """The seeds of the first look and of the last; raises UsageError for anything but LEAST..MOST from 2 on."""
    if isinstance(seeds, str):
        return seeds_range(seeds)
    if not isinstance(seeds, Sequence) or len(seeds) != 2:
        raise UsageError(
            f"seeds are those of the first look and of the last, got {shown(seeds)}", "for example seeds=(3, 20)"
        )
    return seeds_range(f"{seeds[0]}..{seeds[1]}")
