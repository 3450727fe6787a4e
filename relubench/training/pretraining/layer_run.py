"""The training of one layer from its start, or its checkpoint, to its place in the store."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relubench.activations import ActivationChoice
from relubench.data import PreparedData
from relubench.errors import ComputeError
from relubench.runs.clock import Clock
from relubench.runs.job_store import JobStore
from relubench.runs.layer_id import layer_id
from relubench.runs.result import PretrainedLayer
from relubench.runs.spec import PretrainingSpec, RunSpec
from relubench.training.driver import Driver, Step, Stop

if TYPE_CHECKING:
    from torch import Tensor

    from relubench.training.pretraining.greedy import LayerTraining

NUM_RECONSTRUCTIONS = 10
"""Validation images whose reconstructions are stored with a first layer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerProgress:
    """How far the pre-training of a run's layers has come."""

    epochs_done: float
    """Epochs of all of the run's layers."""
    images_per_second: float | None
    """None before the first step."""
    stage: str
    """Which layer is trained, and its reconstruction error, in words."""
    epoch_ended: bool


@dataclass(frozen=True, slots=True)
class LayerRun:
    """The training of one layer, for which the lock is held."""

    spec: RunSpec
    choice: ActivationChoice
    prepared: PreparedData
    store: JobStore
    layer: int
    """Its number, from 0."""
    below: list[dict[str, Tensor]]
    """The parameters of the finished layers below it."""
    fresh: bool
    """Whether it begins anew although there is a checkpoint."""

    @property
    def id(self) -> str:
        return layer_id(self.spec, self.layer)

    @property
    def pretraining(self) -> PretrainingSpec:
        """The settings of the pre-training."""
        assert self.spec.stack is not None
        return self.spec.stack

    def train(self, stop: Stop) -> Generator[LayerProgress | str, None, PretrainedLayer]:
        """Train the layer and store it; yields progress and lines for the user, and returns the layer's record.

        Raises Interrupted as `Driver.run` does.
        """
        if self.pretraining.source:
            raise ComputeError(
                f"the stack that was read from a file is gone from {self.store.root}", "give --from again"
            )
        # Before the layers below are applied to the images: that is a part of the layer's time.
        clock = Clock()
        driver = Driver(
            training=self._open(),
            anew=self._open,
            kind="layer",
            name=self.id,
            specs=[self.spec],
            store=self.store,
            fresh=self.fresh,
            clock=clock,
        )
        with closing(driver.run(stop)) as moments:
            for moment in moments:
                yield self._progress(driver, moment) if isinstance(moment, Step) else moment
        return self._store(driver.training, clock)

    def _open(self) -> LayerTraining:
        """The layer before its first step."""
        from relubench.training.images import Images
        from relubench.training.pretraining.greedy import LayerTraining

        data = Images.open(self.prepared.with_all_images, device=self.spec.device, flat=True)
        return LayerTraining(self.spec, self.choice, data, self.layer, self.below)

    def _progress(self, driver: Driver[LayerTraining], step: Step) -> LayerProgress:
        settings, training = self.pretraining, driver.training
        error = training.curve[-1].valid_error if training.curve else None
        behind = f", reconstruction error {error:.4g}" if error is not None else ""
        return LayerProgress(
            epochs_done=self.layer * settings.epochs + training.epochs_done,
            images_per_second=driver.clock.rate,
            stage=f"{settings.method} layer {self.layer + 1} of {settings.layers}{behind}",
            epoch_ended=step.epoch_ended,
        )

    def _store(self, training: LayerTraining, clock: Clock) -> PretrainedLayer:
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
        if training.diverged:
            self.store.put_layer(layer, clock.timing(1), None)
        else:
            weights = {name: value.cpu().contiguous() for name, value in training.model.network().items()}
            pictures = None if self.layer else save(_reconstructions(training))
            self.store.put_layer(layer, clock.timing(1), save(weights), pictures)
        return layer


def _reconstructions(training: LayerTraining) -> dict[str, Tensor]:
    """The first validation images and what the layer makes of them, for pictures."""
    images = next(iter(training.source.slices("valid", NUM_RECONSTRUCTIONS)))
    reconstructions = training.model.reconstruction(images)
    return {"images": images.cpu().contiguous(), "reconstructions": reconstructions.cpu().contiguous()}
