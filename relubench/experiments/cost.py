"""What a study would cost on this machine: runs, hours, disk. Nothing of it is trained, and no data is downloaded.

Times come from stored runs of the same network on this machine where there are some. Else the network with the largest
part of the work is trained for a moment on random images, and others like it are scaled by their multiplications.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from relubench.activations import Choice, select
from relubench.data import PreparedData, outline, prepare, prepared_already, status
from relubench.experiments.plan import Variant, data_options
from relubench.experiments.preflight import Networks, with_network
from relubench.experiments.pretraining_cost import StackPrices
from relubench.experiments.tuning import trials, tuning_specs
from relubench.experiments.variants import Part, lay_out
from relubench.models.architecture import KERNEL, architecture_of, head_inputs, layer_shapes
from relubench.runs.spec import RunSpec
from relubench.runs.store import Store
from relubench.system.device import Device, resolve
from relubench.system.paths import runs_root
from relubench.training.memory import fitting_workers, member_bytes, members_that_fit

CALIBRATION_S = 2.0
"""Seconds of trial training in all, shared by the kinds of networks."""

RECENT_RUNS = 500
"""Stored runs whose timings are looked at, the newest first."""

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
    device: str
    """The name of the device that trains them."""
    sets: list[PreparedData]


@dataclass(slots=True)
class Speeds:
    """Training images a second of each network, from the store or from a moment's training."""

    device: Device
    known: dict[tuple[Any, ...], float]
    measured: dict[tuple[Any, ...], tuple[float, float]]
    """Kind of network -> images a second, and the multiplications of one image, of the one that was timed."""

    def of(self, spec: RunSpec, choice: Choice) -> tuple[float, str]:
        """Images a second, and what that rests on."""
        for key in (_key(spec), _key(spec)[1:]):
            if key in self.known:
                return self.known[key], "stored runs"
        speed, work = self.measured.get(_kind(spec)) or next(iter(self.measured.values()))
        mine = _multiplications(spec, choice)
        return speed * work / mine, "two seconds of training" if mine == work else "two seconds of training, scaled"


def price(
    variants: Sequence[Variant], *, data_dir: Path | None = None, runs_dir: Path | None = None, fresh: bool = False
) -> Price:
    """The price of these variants; raises UsageError for whatever `Study.open` would refuse."""
    device, store = resolve(variants[0].config.device), Store(runs_root(runs_dir))
    parts = [_part(one, data_dir) for one in variants]
    here = [_is_here(one, data_dir) for one in variants]
    asked = _looked_at(lay_out(parts, device), store)
    tuning = [[spec for specs in trials(part, device).values() for spec in specs] for part in parts]
    work = [([spec for owner, spec in asked if owner is part], runs) for part, runs in zip(parts, tuning, strict=True)]
    pending = [_unstored(part, [*own, *trial], store, fresh) for part, (own, trial) in zip(parts, work, strict=True)]
    speeds = _speeds(parts, pending, store, device)
    rows = [
        _row(part, own, len(trial), left, there, speeds)
        for part, (own, trial), left, there in zip(parts, work, pending, here, strict=True)
    ]
    rows = _with_stacks(rows, parts, pending, StackPrices(store, fresh), device)
    return Price(
        rows,
        pending=len({spec.id for specs in pending for spec in specs}),
        workers=_workers(parts, pending, device),
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
    found: list[PriceRow] = []
    for row, part, left in zip(rows, parts, pending, strict=True):
        seeds = set(part.config.seeds)
        own = [spec for spec in left if spec.seed in seeds]
        tuning = tuning_specs(part, device) if part.searches_stacks else [one for one in left if one.seed not in seeds]
        layers = prices.layers(own, tuning if own else [], searched=part.searches_stacks)
        choices = {choice.label: choice for choice in part.choices}
        hours = prices.seconds(layers, choices, part.prepared.with_all_images.n_train) / 3600
        found.append(replace(row, layers=sum(one.trainings for one in layers), hours=round(row.hours + hours, 5)))
    return found


def _part(variant: Variant, data_dir: Path | None) -> Part:
    """The variant with its data set if that is prepared, else with an outline of it from the table."""
    config = variant.config
    name, options = config.data.name, data_options(config.data)
    prepared = prepared_already(name, data_dir=data_dir, options=options) or outline(name, options)
    if prepared is None:
        # Data of the user's own, which lie here.
        prepared = prepare(name, data_dir=data_dir, options=options)
    return Part(variant, select(config.act), prepared)


def _looked_at(asked: Sequence[tuple[Part, RunSpec]], store: Store) -> list[tuple[Part, RunSpec]]:
    """The runs with what is known of networks that somebody else wrote: their size and their memory."""
    networks: Networks = {}
    return [
        (
            part,
            with_network(
                spec,
                part,
                [one for owner, one in asked if owner is part],
                networks,
                lambda run: store.result(run) if store.has(run) else None,
                silent,
            ),
        )
        for part, spec in asked
    ]


def silent(_: str) -> None:
    """A price says nothing else."""


def _is_here(variant: Variant, data_dir: Path | None) -> bool:
    return status(variant.config.data.name, data_dir).startswith("present")


def _unstored(part: Part, specs: Sequence[RunSpec], store: Store, fresh: bool) -> list[RunSpec]:
    if fresh or not part.prepared.digest:
        return list(specs)
    return [spec for spec in specs if not store.has(spec.id)]


def _row(
    part: Part, own: Sequence[RunSpec], tuning: int, left: Sequence[RunSpec], here: bool, speeds: Speeds
) -> PriceRow:
    choices = {choice.label: choice for choice in part.choices}
    seconds, bases = 0.0, set[str]()
    for spec in left:
        speed, basis = speeds.of(spec, choices[spec.activation])
        bases.add(basis)
        seconds += spec.epochs * (part.prepared.n_train + part.prepared.n_valid / EVALUATION_SPEED) / speed
    kept = {spec.id for spec in left} & {spec.id for spec in own}
    weights = 0 if part.config.keep == "none" else 4
    disk = sum(RECORD_BYTES + weights * spec.parameters for spec in own if spec.id in kept)
    return PriceRow(
        variant=part.variant.label,
        dataset=part.prepared.name,
        data="yes" if here else "no",
        model=own[0].model,
        runs=len(own),
        stored=len(own) - len(kept),
        tuning_runs=tuning,
        layers=0,
        hours=round(seconds / 3600, 5),
        disk_bytes=disk,
        basis=", ".join(sorted(bases)) or "all stored",
    )


def _workers(parts: Sequence[Part], pending: Sequence[Sequence[RunSpec]], device: Device) -> int:
    """How many workers would train what is left."""
    left = {spec.id: (spec, part) for part, specs in zip(parts, pending, strict=True) for spec in specs}
    if device.kind != "cpu" or not left:
        return 1
    heaviest = max(
        member_bytes(spec, choice.columns, choice.learned)
        for spec, part in left.values()
        for choice in part.choices
        if choice.label == spec.activation
    )
    threads = next(iter(left.values()))[0].threads
    return max(1, min(len(left), fitting_workers(heaviest, device.memory), device.threads // max(threads, 1)))


def _speeds(parts: Sequence[Part], pending: Sequence[Sequence[RunSpec]], store: Store, device: Device) -> Speeds:
    speeds = Speeds(device, _stored_speeds(store), {})
    unknown: dict[tuple[Any, ...], list[tuple[float, RunSpec, Choice]]] = {}
    for part, specs in zip(parts, pending, strict=True):
        choices = {choice.label: choice for choice in part.choices}
        for spec in specs:
            if not {_key(spec), _key(spec)[1:]} & speeds.known.keys():
                choice = choices[spec.activation]
                amount = _multiplications(spec, choice) * spec.epochs * part.prepared.n_train
                unknown.setdefault(_kind(spec), []).append((amount, spec, choice))
    ranked = sorted(unknown.items(), key=lambda item: -sum(amount for amount, _, _ in item[1]))
    begun = time.monotonic()
    for kind, runs in ranked:
        # From one mlp to another times can be scaled, from a network of somebody else's to nothing.
        foreign = architecture_of(runs[0][1]).foreign
        if time.monotonic() - begun > CALIBRATION_S and not foreign:
            continue
        _, spec, choice = max(runs, key=lambda one: one[0])
        speeds.measured[kind] = (_timed(spec, choice, device, len(ranked)), _multiplications(spec, choice))
    return speeds


def _timed(spec: RunSpec, choice: Choice, device: Device, kinds: int) -> float:
    """Images a second of one network of the kind; on a GPU, of a stack."""
    from relubench.training.calibration import images_per_second

    # A small rate: random labels must not make it diverge, which would end it early.
    trial = replace(spec, epochs=1000, lr=1e-4, patience=None, warmup_epochs=0.0)
    size = 1 if device.kind == "cpu" else min(16, members_that_fit(spec, choice.columns, choice.learned, device.memory))
    return images_per_second([replace(trial, seed=seed) for seed in range(size)], choice, CALIBRATION_S / (kinds + 1))


def _stored_speeds(store: Store) -> dict[tuple[Any, ...], float]:
    """The median speed of stored runs on this host, by network, and by network and activation."""
    files = sorted(store.root.glob("timings/[0-9a-f]*.json"), key=lambda path: -path.stat().st_mtime)[:RECENT_RUNS]
    found: dict[tuple[Any, ...], list[float]] = {}
    for path in files:
        timing, result = store.timing(path.stem), store.believed(path.stem)
        if timing is None or result is None or timing.host != platform.node() or timing.images_per_second <= 0:
            continue
        try:
            key = _key(RunSpec.from_json(result.spec))
        except (KeyError, TypeError):
            continue  # Of another version: its speed is another's too.
        for one in (key, key[1:]):
            found.setdefault(one, []).append(timing.images_per_second)
    return {key: median(speeds) for key, speeds in found.items()}


def _key(spec: RunSpec) -> tuple[Any, ...]:
    """The activation, and then all else that a network's speed depends on."""
    shape = (spec.model, spec.hidden, spec.channels, spec.input_shape, spec.classes)
    steps = (spec.batch_size, spec.optimizer, spec.norm, bool(spec.dropout), spec.precision)
    return spec.activation, *shape, *steps, spec.device_name, spec.threads


def _kind(spec: RunSpec) -> tuple[Any, ...]:
    """Networks of one kind take times in proportion to their multiplications."""
    return (spec.model if architecture_of(spec).takes_images else "mlp", spec.batch_size, spec.optimizer, spec.norm)


def _multiplications(spec: RunSpec, choice: Choice) -> float:
    """Of one image's forward pass; 1 for a network that somebody else wrote, which is a kind of its own."""
    if architecture_of(spec).foreign:
        return 1.0
    total = float(head_inputs(architecture_of(spec), spec.input_shape) * spec.classes)
    side = spec.input_shape[-2:] if spec.channels else (1, 1)
    for shape in layer_shapes(architecture_of(spec), spec.input_shape):
        pixels = side[0] * side[1] * KERNEL**2 if shape.convolution else 1
        total += pixels * shape.inputs * shape.units * choice.columns
        side = (side[0] // 2, side[1] // 2) if shape.convolution else side
    return total
