"""How many images a second networks train: from stored runs of this machine, or from a moment of training."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from relubench.activations import ActivationChoice
from relubench.experiments.variants import Part
from relubench.models.architecture import multiplications
from relubench.models.families import family_of
from relubench.runs.spec import RunSpec
from relubench.runs.store import Store
from relubench.system.device import Device
from relubench.training.memory import members_that_fit

CALIBRATION_S = 2.0
"""Seconds of trial training in all, shared by the kinds of networks."""

RECENT_RUNS = 500
"""Stored runs whose timings are looked at, the newest first."""


@dataclass(slots=True)
class TrainingSpeeds:
    """Training images a second of each network, from the store or from a moment's training."""

    device: Device
    stored: dict[tuple[Any, ...], float]
    measured: dict[tuple[Any, ...], tuple[float, float]]
    """Kind of network -> images a second, and the multiplications of one image, of the one that was timed."""

    def of(self, spec: RunSpec, choice: ActivationChoice) -> tuple[float, str]:
        """Images a second, and what that rests on."""
        for key in (_key(spec), _key(spec)[1:]):
            if key in self.stored:
                return self.stored[key], "stored runs"
        speed, work = self.measured.get(_kind(spec)) or next(iter(self.measured.values()))
        own_work = _multiplications(spec, choice)
        return (
            speed * work / own_work,
            "two seconds of training" if own_work == work else "two seconds of training, scaled",
        )


def training_speeds(
    parts: Sequence[Part], pending: Sequence[Sequence[RunSpec]], store: Store, device: Device
) -> TrainingSpeeds:
    speeds = TrainingSpeeds(device, _stored_speeds(store), {})
    unknown: dict[tuple[Any, ...], list[tuple[float, RunSpec, ActivationChoice]]] = {}
    for part, specs in zip(parts, pending, strict=True):
        choices = {choice.label: choice for choice in part.choices}
        for spec in specs:
            if not {_key(spec), _key(spec)[1:]} & speeds.stored.keys():
                choice = choices[spec.activation]
                amount = _multiplications(spec, choice) * spec.epochs * part.prepared.n_train
                unknown.setdefault(_kind(spec), []).append((amount, spec, choice))
    ranked = sorted(unknown.items(), key=lambda item: -sum(amount for amount, _, _ in item[1]))
    start = time.monotonic()
    for kind, runs in ranked:
        # From one network of the package to another times can be scaled, from an external one to nothing.
        external = family_of(runs[0][1].model).can("external")
        if time.monotonic() - start > CALIBRATION_S and not external:
            continue
        _, spec, choice = max(runs, key=lambda run: run[0])
        speeds.measured[kind] = (_timed(spec, choice, device, len(ranked)), _multiplications(spec, choice))
    return speeds


def _timed(spec: RunSpec, choice: ActivationChoice, device: Device, kinds: int) -> float:
    """Images a second of one network of the kind; on a GPU, of a stack."""
    from relubench.training.calibration import images_per_second

    # A small rate: random labels must not make it diverge, which would end it early.
    trial = replace(spec, epochs=1000, lr=1e-4, patience=None, warmup_epochs=0.0)
    size = 1 if device.is_processor else min(16, members_that_fit(spec, choice.inputs_per_unit, device.memory))
    return images_per_second([replace(trial, seed=seed) for seed in range(size)], choice, CALIBRATION_S / (kinds + 1))


def _stored_speeds(store: Store) -> dict[tuple[Any, ...], float]:
    """The median speed of stored runs on this host, by network, and by network and activation."""
    files = sorted(store.root.glob("timings/[0-9a-f]*.json"), key=lambda path: -path.stat().st_mtime)[:RECENT_RUNS]
    speeds_by_key: dict[tuple[Any, ...], list[float]] = {}
    for path in files:
        timing, result = store.timing(path.stem), store.believed(path.stem)
        if timing is None or result is None or timing.host != platform.node() or timing.images_per_second <= 0:
            continue
        try:
            key = _key(RunSpec.from_json(result.spec))
        except (KeyError, TypeError):
            continue  # Of another version: its speed is another's too.
        for network in (key, key[1:]):
            speeds_by_key.setdefault(network, []).append(timing.images_per_second)
    return {key: median(speeds) for key, speeds in speeds_by_key.items()}


def _key(spec: RunSpec) -> tuple[Any, ...]:
    """The activation, and then all else that a network's speed depends on."""
    shape = (spec.model, spec.hidden, spec.channels, spec.input_shape, spec.classes)
    steps = (spec.batch_size, spec.optimizer, spec.norm, bool(spec.dropout), spec.precision)
    return spec.activation, *shape, *steps, spec.device_name, spec.threads, spec.backend


def _kind(spec: RunSpec) -> tuple[Any, ...]:
    """Networks of one kind take times in proportion to their multiplications."""
    family = family_of(spec.model)
    network = spec.model if family.can("images") else family.name if family.can("attention") else "rows"
    return (network, spec.batch_size, spec.optimizer, spec.norm)


def _multiplications(spec: RunSpec, choice: ActivationChoice) -> float:
    """The multiplications of one image's forward pass; 1 for a network whose layers are not known."""
    return float(multiplications(spec, choice.inputs_per_unit) or 1)
