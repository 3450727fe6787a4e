"""What a job needs of the store, sent along with it: checkpoints, pre-trained layers, stored weights. Torch-free."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from relubench.executors.job import Job
from relubench.runs.layer_id import layer_id
from relubench.runs.record_folders import Damaged
from relubench.runs.result import PretrainedLayer, Timing
from relubench.runs.store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class SentLayer:
    """A pre-trained layer of the store."""

    layer: PretrainedLayer
    timing: Timing | None
    weights: bytes | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Supplies:
    """Values of the store, by the names that the job asks for them with."""

    root: str
    """The place of the store, as messages name it."""
    checkpoints: dict[str, bytes] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    """Why a checkpoint cannot be read."""
    layers: dict[str, SentLayer] = field(default_factory=dict)
    weights: dict[str, bytes] = field(default_factory=dict)
    """Of the stored run that is tested under noise."""


def layer_ids_of(job: Job) -> list[str]:
    """The ids of the job's pre-trained layers."""
    specs = [spec for spec in job.specs if spec.stack is not None]
    return sorted({layer_id(spec, layer) for spec in specs for layer in range(spec.stack.layers)})  # type: ignore[union-attr]


def supplies_of(job: Job, store: Store, *, fresh: bool) -> Supplies:
    """What the store has of what the job needs; no checkpoints and no layers for one that begins anew.

    A damaged layer is left out: it is trained again.
    """
    supplies = Supplies(root=str(store.root))
    if job.noise:
        weights = store.weights_of(job.specs[0].id)
        supplies.weights.update({job.specs[0].id: weights} if weights is not None else {})
        return supplies
    layers = layer_ids_of(job)
    for name in () if fresh else (job.name, *layers):
        try:
            supplies.checkpoints[name] = store.checkpoint_of(name)
        except ValueError as error:
            supplies.damaged[name] = str(error)
        except FileNotFoundError:
            continue
    if not (fresh and job.pretrain_only):
        supplies.layers.update(_layers(layers, store))
    return supplies


def _layers(names: list[str], store: Store) -> Iterator[tuple[str, SentLayer]]:
    for name in names:
        with contextlib.suppress(Damaged):
            record = store.layer(name)
            if record is not None:
                weights = store.layer_weights(name)
                yield name, SentLayer(layer=record, timing=store.timing(name), weights=weights)
