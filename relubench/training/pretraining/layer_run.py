"""The training of one layer from its start, or its checkpoint, to its place in the store."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from relubench.activations import ActivationChoice
from relubench.data import PreparedData
from relubench.errors import ComputeError
from relubench.runs.layer_id import layer_id
from relubench.runs.result import PretrainedLayer, Timing
from relubench.runs.spec import PretrainingSpec, RunSpec
from relubench.runs.store import Store

if TYPE_CHECKING:
    from torch import Tensor

    from relubench.training.pretraining.greedy import LayerStep, LayerTraining

CHECKPOINT_SECONDS = 60.0
"""A checkpoint is written at most this often, and when a worker is interrupted."""

PROGRESS_SECONDS = 0.2
"""Progress is reported at most this often, and after every epoch."""

NUM_RECONSTRUCTIONS = 10
"""Validation images whose reconstructions are stored with a first layer."""


class Interrupted(Exception):
    """The training was asked to stop; its checkpoint is written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerProgress:
    """How far the pre-training of a run's layers has come."""

    epochs_done: float
    """Epochs of all of the run's layers."""
    images_per_second: float
    stage: str
    """Which layer is trained, and its reconstruction error, in words."""
    epoch_ended: bool


@dataclass(slots=True)
class LayerRun:
    """The training of one layer, for which the lock is held."""

    spec: RunSpec
    choice: ActivationChoice
    prepared: PreparedData
    store: Store
    layer: int
    """Its number, from 0."""
    below: list[dict[str, Tensor]]
    """The parameters of the finished layers below it."""
    fresh: bool
    """Whether it begins anew although there is a checkpoint."""
    seconds: float = 0.0
    images: int = 0
    epoch_seconds: list[float] = field(default_factory=list)
    interruptions: int = 0

    @property
    def id(self) -> str:
        return layer_id(self.spec, self.layer)

    @property
    def pretraining(self) -> PretrainingSpec:
        """The settings of the pre-training."""
        assert self.spec.stack is not None
        return self.spec.stack

    def train(self, stop: Callable[[], bool]) -> Generator[LayerProgress, None, PretrainedLayer]:
        """Train the layer and store it; returns its record. Raises Interrupted after `stop`."""
        if self.pretraining.source:
            raise ComputeError(
                f"the stack that was read from a file is gone from {self.store.root}", "give --from again"
            )
        mark = time.perf_counter()
        training = self._start()
        last_checkpoint = last_report = mark
        for step in training.train():
            now = time.perf_counter()
            self.seconds, mark = self.seconds + now - mark, now
            self.images += step.images
            if step.epoch_ended:
                self.epoch_seconds.append(self.seconds)
            if step.epoch_ended or now - last_report >= PROGRESS_SECONDS:
                last_report = now
                try:
                    yield self._progress(training, step)
                except GeneratorExit:
                    self._save(training)
                    raise
            if stop() or now - last_checkpoint >= CHECKPOINT_SECONDS:
                last_checkpoint = now
                self._save(training)
                if stop():
                    raise Interrupted
        return self._store(training)

    def _start(self) -> LayerTraining:
        """The layer before its first step, or as its checkpoint has it."""
        from relubench.training.images import Images
        from relubench.training.pretraining.greedy import LayerTraining

        data = Images.open(self.prepared.with_all_images, device=self.spec.device, flat=True)
        training = LayerTraining(self.spec, self.choice, data, self.layer, self.below)
        if self.fresh or self._resume(training):
            return training
        return LayerTraining(self.spec, self.choice, data, self.layer, self.below)

    def _resume(self, training: LayerTraining) -> bool:
        """Load the checkpoint if there is one; returns whether the training can go on: not from half of one."""
        from relubench.runs.checkpoint import from_bytes

        try:
            tensors, values = from_bytes(self.store.checkpoint_of(self.id))
            training.load(tensors, values["layer"])
        except FileNotFoundError:
            return True
        except (ValueError, KeyError, RuntimeError) as error:
            path = self.store.checkpoint(self.id)
            print(f"the checkpoint {path} cannot be used ({error}): starting anew", file=sys.stderr)
            return False
        for name, value in values["clock"].items():
            setattr(self, name, value)
        self.interruptions += 1
        return True

    def _save(self, training: LayerTraining) -> None:
        """Write a checkpoint."""
        from relubench.runs import checkpoint

        tensors, values = training.state()
        names = ("seconds", "images", "epoch_seconds", "interruptions")
        clock = {name: getattr(self, name) for name in names}
        content = checkpoint.to_bytes(tensors, {"layer": values, "clock": clock})
        try:
            self.store.put_checkpoint(self.id, content)
            self.store.put_unfinished(self.id, [self.spec.to_json()])
        except OSError as error:
            # Training goes on without: a full disk may be emptied before the layer ends.
            print(f"no checkpoint was written: {error}", file=sys.stderr)

    def _progress(self, training: LayerTraining, step: LayerStep) -> LayerProgress:
        settings = self.pretraining
        error = training.curve[-1].valid_error if training.curve else None
        behind = f", reconstruction error {error:.4g}" if error is not None else ""
        return LayerProgress(
            epochs_done=self.layer * settings.epochs + step.epochs_done,
            images_per_second=self.images / max(self.seconds, 1e-9),
            stage=f"{settings.method} layer {self.layer + 1} of {settings.layers}{behind}",
            epoch_ended=step.epoch_ended,
        )

    def _store(self, training: LayerTraining) -> PretrainedLayer:
        """Store the layer, of a first one also some reconstructions; returns its record."""
        from safetensors.torch import save

        layer = PretrainedLayer(
            id=self.id,
            layer=self.layer + 1,
            units=self.spec.hidden[self.layer],
            outcome="diverged" if training.diverged else "ok",
            message=training.diverged,
            facts={"activation": self.spec.activation, "seed": self.spec.seed, **self.pretraining.facts(self.layer)},
            curve=training.curve,
        )
        timing = layer_timing(self.seconds, self.epoch_seconds, self.images, self.interruptions)
        weights = {name: value.cpu().contiguous() for name, value in training.model.network().items()}
        if training.diverged:
            self.store.put_layer(layer, timing, None)
        else:
            pictures = None if self.layer else save(_reconstructions(training))
            self.store.put_layer(layer, timing, save(weights), pictures)
        return layer


def layer_timing(seconds: float, epoch_seconds: list[float], images: int, interruptions: int) -> Timing:
    """The timing record of a layer that ends now, on this machine."""
    return Timing(
        seconds=seconds,
        epoch_seconds=epoch_seconds,
        images_per_second=images / max(seconds, 1e-9),
        host=platform.node(),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        interruptions=interruptions,
    )


def _reconstructions(training: LayerTraining) -> dict[str, Tensor]:
    """The first validation images and what the layer makes of them, for pictures."""
    images = next(iter(training.source.slices("valid", NUM_RECONSTRUCTIONS)))
    reconstructions = training.model.reconstruction(images)
    return {"images": images.cpu().contiguous(), "reconstructions": reconstructions.cpu().contiguous()}
