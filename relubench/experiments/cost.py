"""What a study would cost on this machine: runs, hours, disk. Nothing of it is trained, and no data is downloaded.

Times come from stored runs of the same network on this machine where there are some. Else the network with the largest
part of the work is trained for a moment on random images, and others like it are scaled by their multiplications.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from relubench.activations import ActivationChoice, select
from relubench.data import PreparedData, outline, prepare, prepared_already, status
from relubench.executors.local import num_workers
from relubench.experiments.external_networks import Networks, with_network
from relubench.experiments.plan import Variant, data_options
from relubench.experiments.pretraining_cost import StackPrices
from relubench.experiments.training_speeds import TrainingSpeeds, training_speeds
from relubench.experiments.tuning import trials, tuning_specs
from relubench.experiments.variants import Part, lay_out
from relubench.runs.spec import RunSpec
from relubench.runs.store import Store
from relubench.system.device import Device, resolve
from relubench.system.paths import runs_root

RECORD_BYTES = 20_000
"""A stored run without its weights, about."""

EVALUATION_SPEED = 4.0
"""How many validation images take the time of one training image: forward only, in large batches."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PriceRow:
    """What one variant costs; hours are those of one worker."""

    variant: str
    dataset: str
    data: str
    """Whether the data set's files are here: yes or no."""
    model: str
    runs: int
    stored: int
    """Runs of these that need no training."""
    tuning_runs: int
    layers: int
    """Trainings of single layers, those of a search for their rates included."""
    hours: float
    disk_bytes: int
    basis: str
    """What the hours rest on."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Price:
    """A study's price, variant by variant; of the data sets those that are not here are only outlined."""

    rows: list[PriceRow]
    pending: int
    """Runs that have to be trained."""
    workers: int
    threads: int | None
    """Threads of a processor that each worker takes on other machines; None where this machine or a GPU trains."""
    device: str
    """The name of the device that trains them."""
    sets: list[PreparedData]


def price(
    variants: Sequence[Variant], *, data_dir: Path | None = None, runs_dir: Path | None = None, fresh: bool = False
) -> Price:
    """The price of these variants; raises UsageError for whatever `Study.open` would refuse."""
    device, store = resolve(variants[0].config.device), Store(runs_root(runs_dir))
    parts = [_part(variant, data_dir) for variant in variants]
    is_here = [status(variant.config.data.name, data_dir).startswith("present") for variant in variants]
    runs = _with_networks(lay_out(parts, device), store)
    reported = [[spec for owner, spec in runs if owner is part] for part in parts]
    tuning = [[spec for specs in trials(part, device).values() for spec in specs] for part in parts]
    pending = [
        _unstored(part, [*specs, *trial_specs], store, fresh)
        for part, specs, trial_specs in zip(parts, reported, tuning, strict=True)
    ]
    speeds = training_speeds(parts, pending, store, device)
    rows = [
        _row(part, specs, len(trial_specs), unstored, present, speeds)
        for part, specs, trial_specs, unstored, present in zip(parts, reported, tuning, pending, is_here, strict=True)
    ]
    rows = _with_stacks(rows, parts, pending, StackPrices(store, fresh), device)
    return Price(
        rows,
        pending=len({spec.id for specs in pending for spec in specs}),
        workers=_num_workers(parts, pending, device),
        threads=_num_threads(parts, pending),
        device=device.name,
        sets=[part.prepared for part in parts],
    )


def _with_stacks(
    rows: Sequence[PriceRow],
    parts: Sequence[Part],
    pending: Sequence[Sequence[RunSpec]],
    prices: StackPrices,
    device: Device,
) -> list[PriceRow]:
    """The rows with what pre-training adds; a stack that several variants share is the first one's."""
    rows_with_layers: list[PriceRow] = []
    for row, part, unstored in zip(rows, parts, pending, strict=True):
        seeds = set(part.config.seeds)
        own_specs = [spec for spec in unstored if spec.seed in seeds]
        tuning = (
            tuning_specs(part, device)
            if part.searches_stacks
            else [spec for spec in unstored if spec.seed not in seeds]
        )
        layers = prices.layers(own_specs, tuning if own_specs else [], searched=part.searches_stacks)
        choices = {choice.label: choice for choice in part.choices}
        hours = prices.seconds(layers, choices, part.prepared.with_all_images.n_train) / 3600
        rows_with_layers.append(
            replace(row, layers=sum(layer.trainings for layer in layers), hours=round(row.hours + hours, 5))
        )
    return rows_with_layers


def _part(variant: Variant, data_dir: Path | None) -> Part:
    """The variant with its data set if that is prepared, else with an outline of it from the table."""
    config = variant.config
    name, options = config.data.name, data_options(config.data)
    prepared = prepared_already(name, data_dir=data_dir, options=options) or outline(name, options)
    if prepared is None:
        # Data of the user's own, which lie here.
        prepared = prepare(name, data_dir=data_dir, options=options)
    return Part(variant, select(config.act), prepared)


def _with_networks(runs: Sequence[tuple[Part, RunSpec]], store: Store) -> list[tuple[Part, RunSpec]]:
    """The runs with what is known of networks that somebody else wrote: their size and their memory."""
    networks: Networks = {}
    return [
        (
            part,
            with_network(
                spec,
                part,
                [other_spec for owner, other_spec in runs if owner is part],
                networks,
                lambda run: store.result(run) if store.has(run) else None,
                silent,
            ),
        )
        for part, spec in runs
    ]


def silent(_: str) -> None:
    """A price says nothing else."""


def _unstored(part: Part, specs: Sequence[RunSpec], store: Store, fresh: bool) -> list[RunSpec]:
    if fresh or not part.prepared.digest:
        return list(specs)
    return [spec for spec in specs if not store.has(spec.id)]


def _row(
    part: Part,
    own_specs: Sequence[RunSpec],
    tuning: int,
    unstored: Sequence[RunSpec],
    is_here: bool,
    speeds: TrainingSpeeds,
) -> PriceRow:
    choices = {choice.label: choice for choice in part.choices}
    seconds, bases = 0.0, set[str]()
    for spec in unstored:
        speed, basis = speeds.of(spec, choices[spec.activation])
        bases.add(basis)
        seconds += spec.epochs * (part.prepared.n_train + part.prepared.n_valid / EVALUATION_SPEED) / speed
    to_store = {spec.id for spec in unstored} & {spec.id for spec in own_specs}
    weights = 0 if part.config.keep == "none" else 4
    disk = sum(RECORD_BYTES + weights * spec.parameters for spec in own_specs if spec.id in to_store)
    return PriceRow(
        variant=part.variant.label,
        dataset=part.prepared.name,
        data="yes" if is_here else "no",
        model=own_specs[0].model,
        runs=len(own_specs),
        stored=len(own_specs) - len(to_store),
        tuning_runs=tuning,
        layers=0,
        hours=round(seconds / 3600, 5),
        disk_bytes=disk,
        basis=", ".join(sorted(bases)) or "all stored",
    )


def _num_workers(parts: Sequence[Part], pending: Sequence[Sequence[RunSpec]], device: Device) -> int:
    """How many workers would train the runs that are not stored; on other machines as many as the user has named."""
    networks: dict[str, tuple[RunSpec, ActivationChoice]] = {}
    for part, specs in zip(parts, pending, strict=True):
        choices = {choice.label: choice for choice in part.choices}
        networks |= {spec.id: (spec, choices[spec.activation]) for spec in specs}
    section = parts[0].config.executor
    if section.is_elsewhere and section.workers is not None:
        return max(1, min(len(networks), section.workers))
    return num_workers(list(networks.values()), device)


def _num_threads(parts: Sequence[Part], pending: Sequence[Sequence[RunSpec]]) -> int | None:
    """How many threads the largest run takes of a processor of another machine."""
    threads = [spec.threads for specs in pending for spec in specs if spec.on_processor]
    return max(threads, default=None) if parts[0].config.executor.is_elsewhere else None
