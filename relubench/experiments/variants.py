"""The variants of a study made ready: activations selected, data prepared, runs laid out over all. Torch-free."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from relubench.activations import ActivationChoice, select
from relubench.activations.selection import repeated
from relubench.data import DataOptions, PreparedData, arrays, prepare
from relubench.errors import UsageError
from relubench.experiments.config import ExperimentConfig
from relubench.experiments.deviations import deviations
from relubench.experiments.plan import Variant, data_options, expand, rows, strengths_and_seeds
from relubench.runs.spec import FROM_FILE, RunSpec
from relubench.system.device import Device


@dataclass(frozen=True, slots=True)
class Part:
    """One variant with its activations and its data."""

    variant: Variant
    choices: list[ActivationChoice]
    prepared: PreparedData

    @property
    def config(self) -> ExperimentConfig:
        return self.variant.config

    @property
    def rows(self) -> list[tuple[ActivationChoice, str]]:
        """What is compared: activations and methods of pre-training."""
        return rows(self.config, self.choices)

    @property
    def searches_stacks(self) -> bool:
        """Whether rates of pre-training have to be found first."""
        pretrain = self.config.pretrain
        return pretrain.lr == "auto" and not set(pretrain.methods) <= {"none", FROM_FILE}

    @property
    def runs(self) -> int:
        """Networks to train."""
        return len(self.rows) * len(strengths_and_seeds(self.config))

    def fixed_rates(self) -> list[float]:
        """The learning rate of each row; where it is still to be found, 1.0 stands in its place."""
        lr = self.config.train.lr
        return [1.0 if lr == "auto" else lr] * len(self.rows)

    def specs(self, device: Device, rates: Sequence[float], *, lone: bool) -> list[RunSpec]:
        """The runs of this variant, marked with its label and with what it departs from."""
        variant = self.variant
        marks = {"variant": variant.label, "departures": deviations(self.config, variant.as_published)}
        runs = expand(self.config, self.choices, self.prepared, device, rates, lone=lone)
        return [replace(spec, **marks) for spec in runs]


def make_ready(variants: Sequence[Variant], data_dir: Path | None, note: Callable[[str], None]) -> list[Part]:
    """Select the activations and prepare the data of every variant; data may be downloaded.

    Raises UsageError for what cannot be, also where the variants do not share one device or one way to keep weights.
    """
    for key in ("device", "keep"):
        values = {getattr(entry.config, key) for entry in variants}
        if len(values) > 1:
            raise UsageError(
                f"all variants of a study need one {key}, not {', '.join(sorted(values))}", f"set {key} for all of them"
            )
    selections = [select(entry.config.act) for entry in variants]
    for label in dict.fromkeys(label for entry in variants for label in repeated(entry.config.act)):
        note(f"{label} is named more than once: it is trained once and has one row")
    prepared: dict[tuple[str, DataOptions], PreparedData] = {}
    parts: list[Part] = []
    for variant, choices in zip(variants, selections, strict=True):
        data = variant.config.data
        options = data_options(data)
        if (data.name, options) not in prepared:
            prepared[data.name, options] = prepare(data.name, data_dir=data_dir, options=options, progress=note)
            _check_classes(prepared[data.name, options])
        parts.append(Part(variant, choices, prepared[data.name, options]))
    return parts


def check_data(parts: Sequence[Part], data_dir: Path | None, note: Callable[[str], None]) -> None:
    """Read the prepared data of every variant before training on them, and make anew what is damaged.

    Raises DataError where the source files are gone meanwhile.
    """
    requested = {(part.config.data.name, data_options(part.config.data)) for part in parts}
    for name, options in sorted(requested, key=str):
        prepare(name, data_dir=data_dir, options=options, progress=note, check=True)


def _check_classes(prepared: PreparedData) -> None:
    """Raises UsageError where there is nothing to tell apart; of a text, its reader has."""
    if prepared.context is not None:
        return
    _, labels = arrays(prepared, "train")
    if len(np.unique(labels)) < 2:
        raise UsageError(
            f"a data set needs at least two classes, {prepared.name} has one class only", "use another --dataset"
        )


def lay_out(
    parts: Sequence[Part], device: Device, rates: Sequence[Sequence[float]] | None = None
) -> list[tuple[Part, RunSpec]]:
    """Every run of every variant in order; `rates` holds a learning rate for each activation of each variant.

    Whether the study is one lone run, which takes all threads, is decided over all variants together.
    """
    lone = sum(part.runs for part in parts) == 1
    rates = [part.fixed_rates() for part in parts] if rates is None else rates
    return [
        (part, spec)
        for part, own_rates in zip(parts, rates, strict=True)
        for spec in part.specs(device, own_rates, lone=lone)
    ]
