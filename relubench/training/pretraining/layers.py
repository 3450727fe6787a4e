"""A run's pre-trained stack: taken from the store layer by layer, and trained where it is not there yet.

A layer that another process is training is waited for. Of a layer that is interrupted a checkpoint is kept.
"""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from relubench.activations import ActivationChoice
from relubench.data import PreparedData
from relubench.errors import ComputeError
from relubench.runs.layer_id import layer_id
from relubench.runs.pretrained_file import PretrainedFile, to_bytes
from relubench.runs.record_folders import Damaged
from relubench.runs.result import PretrainedLayer, Timing
from relubench.runs.spec import RunSpec
from relubench.runs.store import Store

if TYPE_CHECKING:
    from torch import Tensor

    from relubench.training.pretraining.greedy import LayerStep, LayerTraining

CHECKPOINT_SECONDS = 60.0
"""A checkpoint is written at most this often, and when a worker is interrupted."""

PROGRESS_SECONDS = 0.2

SHOWN = 10
"""Validation images whose reconstructions are kept with a first layer."""

Emit = Callable[[dict[str, Any]], None]


class Interrupted(Exception):
    """The worker was told to stop; the checkpoint is written."""


@dataclass(slots=True)
class Stack:
    """What a network starts from; without pre-training nothing."""

    layers: list[dict[str, Tensor]] = field(default_factory=list)
    """Bottom up, each layer's parameters by the names that the network has for them."""
    seconds: float = 0.0
    """What the layers took, whoever trained them."""
    diverged: str = ""
    """Why there is no whole stack."""

    @property
    def weights(self) -> dict[str, Tensor]:
        return {name: value for layer in self.layers for name, value in layer.items()}


def obtain(
    spec: RunSpec,
    choice: ActivationChoice,
    prepared: PreparedData,
    store: Store,
    *,
    fresh: bool,
    emit: Emit,
    stop: Callable[[], bool],
) -> Stack:
    """The run's stack, as far as it goes; raises Interrupted after `stop`, once a checkpoint is written.

    `fresh` trains every layer again, from its start.
    """
    from relubench.training.pretraining.greedy import shuffled

    assert spec.stack is not None
    stack = Stack()
    for layer in range(spec.stack.layers):
        with store.lock(layer_id(spec, layer), _unless(stop)):
            job = _LayerJob(spec, choice, prepared, store, layer, stack.layers, fresh)
            found = None if fresh and not spec.stack.source else _stored(store, job.id)
            found = found or job.train(emit, stop)
            timing = store.timing(job.id)
            stack.seconds += timing.seconds if timing else 0.0
            if found.outcome == "diverged":
                stack.diverged = found.message
                return stack
            stack.layers.append(read_layer(store, job.id))
    if spec.stack.shuffled:
        stack.layers = [shuffled(one, spec.seed, layer) for layer, one in enumerate(stack.layers)]
    return stack


def _stored(store: Store, layer: str) -> PretrainedLayer | None:
    """The record of a stored layer; None, and a line that says so, where it or its weights are damaged."""
    try:
        store.layer_weights(layer)
        return store.layer(layer)
    except Damaged as error:
        print(f"warning: {error.message}; it is trained again", file=sys.stderr)
        return None


def _unless(stop: Callable[[], bool]) -> Callable[[], bool]:
    """Wait for a layer that another process is training, until `stop`."""

    def go_on() -> bool:
        if stop():
            raise Interrupted
        return True

    return go_on


def read_layer(store: Store, layer: str) -> dict[str, Tensor]:
    """A finished layer's parameters by name; raises ComputeError where the file is gone or damaged."""
    from safetensors.torch import load

    content = store.layer_weights(layer)
    if content is None:
        raise ComputeError(f"the pre-trained layer {layer} has no weights", "repeat with --no-cache")
    return load(content)


@dataclass(slots=True)
class _LayerJob:
    """The training of one layer, for which the lock is held."""

    spec: RunSpec
    choice: ActivationChoice
    prepared: PreparedData
    store: Store
    layer: int
    below: list[dict[str, Tensor]]
    fresh: bool
    seconds: float = 0.0
    images: int = 0
    epoch_seconds: list[float] = field(default_factory=list)
    interruptions: int = 0

    @property
    def id(self) -> str:
        return layer_id(self.spec, self.layer)

    def train(self, emit: Emit, stop: Callable[[], bool]) -> PretrainedLayer:
        """Train the layer and store it."""
        from relubench.training.images import Images
        from relubench.training.pretraining.greedy import LayerTraining

        assert self.spec.stack is not None
        if self.spec.stack.source:
            raise ComputeError(
                f"the stack that was read from a file is gone from {self.store.root}", "give --from again"
            )
        mark = time.perf_counter()
        data = Images.open(self.prepared.with_all_images, device=self.spec.device, flat=True)
        training = LayerTraining(self.spec, self.choice, data, self.layer, self.below)
        if not self.fresh and not self._resume(training):
            training = LayerTraining(self.spec, self.choice, data, self.layer, self.below)
        saved = shown = mark
        for step in training.train():
            now = time.perf_counter()
            self.seconds, mark = self.seconds + now - mark, now
            self.images += step.images
            if step.epoch_ended:
                self.epoch_seconds.append(self.seconds)
            if step.epoch_ended or now - shown >= PROGRESS_SECONDS:
                shown = now
                self._tell(training, step, emit)
            if stop() or now - saved >= CHECKPOINT_SECONDS:
                saved = now
                self._save(training)
                if stop():
                    raise Interrupted
        return self._put(training)

    def _resume(self, training: LayerTraining) -> bool:
        """Load the checkpoint if there is one; returns whether the training can go on: not from half of one."""
        from relubench.runs.checkpoint import from_bytes

        try:
            tensors, values = from_bytes(self.store.checkpoint_of(self.id))
            training.load(tensors, values["layer"])
        except FileNotFoundError:
            return True
        except (ValueError, KeyError, RuntimeError) as error:
            print(
                f"the checkpoint {self.store.checkpoint(self.id)} cannot be used ({error}): starting anew",
                file=sys.stderr,
            )
            return False
        for name, value in values["clock"].items():
            setattr(self, name, value)
        self.interruptions += 1
        return True

    def _save(self, training: LayerTraining) -> None:
        from relubench.runs import checkpoint

        tensors, values = training.state()
        names = ("seconds", "images", "epoch_seconds", "interruptions")
        content = checkpoint.to_bytes(
            tensors, {"layer": values, "clock": {name: getattr(self, name) for name in names}}
        )
        try:
            self.store.put_checkpoint(self.id, content)
            self.store.put_unfinished(self.id, [self.spec.to_json()])
        except OSError as error:
            # Training goes on without: a full disk may be emptied before the layer ends.
            print(f"no checkpoint was written: {error}", file=sys.stderr)

    def _tell(self, training: LayerTraining, step: LayerStep, emit: Emit) -> None:
        stack = self.spec.stack
        assert stack is not None
        error = training.curve[-1].valid_error if training.curve else None
        told = f", reconstruction error {error:.4g}" if error is not None else ""
        emit(
            {
                "event": "epoch" if step.epoch_ended else "progress",
                "run": self.spec.id,
                "epochs_done": self.layer * stack.epochs + step.epochs_done,
                "images_per_second": self.images / max(self.seconds, 1e-9),
                "valid_error_pct": None,
                "stage": f"{stack.method} layer {self.layer + 1} of {stack.layers}{told}",
            }
        )

    def _put(self, training: LayerTraining) -> PretrainedLayer:
        from safetensors.torch import save

        assert self.spec.stack is not None
        layer = PretrainedLayer(
            id=self.id,
            layer=self.layer + 1,
            units=self.spec.hidden[self.layer],
            outcome="diverged" if training.diverged else "ok",
            message=training.diverged,
            facts={"activation": self.spec.activation, "seed": self.spec.seed, **self.spec.stack.facts(self.layer)},
            curve=training.curve,
        )
        timing = _timing(self.seconds, self.epoch_seconds, self.images, self.interruptions)
        weights = {name: one.cpu().contiguous() for name, one in training.model.network().items()}
        if training.diverged:
            self.store.put_layer(layer, timing, None)
        else:
            self.store.put_layer(layer, timing, save(weights), None if self.layer else save(_shown(training)))
        return layer


def _shown(training: LayerTraining) -> dict[str, Tensor]:
    """The first validation images and what the layer makes of them, for pictures."""
    images = next(iter(training.source.slices("valid", SHOWN)))
    again = training.model.reconstruction(images)
    return {"images": images.cpu().contiguous(), "reconstructions": again.cpu().contiguous()}


def import_file(file: PretrainedFile, spec: RunSpec, store: Store) -> None:
    """Put the layers of a stack's file into the store, where a run that starts from it looks for them."""
    from safetensors.numpy import save

    for layer, (tensors, seconds) in enumerate(zip(file.layers, file.seconds, strict=True)):
        name = layer_id(spec, layer)
        if store.has_layer(name):
            continue
        record = PretrainedLayer(
            id=name,
            layer=layer + 1,
            units=spec.hidden[layer],
            outcome="ok",
            facts={"source": file.digest, **file.facts},
        )
        store.put_layer(record, _timing(seconds, [], 0, 0), save(tensors))


def exported(spec: RunSpec, store: Store) -> bytes:
    """The run's pre-trained stack as the content of a file of its own; raises ComputeError if a layer is missing."""
    from safetensors.numpy import load

    assert spec.stack is not None
    names = [layer_id(spec, layer) for layer in range(spec.stack.layers)]
    contents = [content for name in names if (content := store.layer_weights(name)) is not None]
    if len(contents) < len(names):
        raise ComputeError("the stack was not exported: it is not whole", "see the messages above")
    clocks = [store.timing(name) for name in names]
    facts = {"method": spec.stack.method, "activation": spec.activation, "dataset": spec.dataset, "seed": spec.seed}
    facts |= {"hidden": spec.hidden, "seconds": [one.seconds if one else 0.0 for one in clocks]}
    return to_bytes([load(content) for content in contents], facts)


def _timing(seconds: float, epoch_seconds: list[float], images: int, interruptions: int) -> Timing:
    return Timing(
        seconds=seconds,
        epoch_seconds=epoch_seconds,
        images_per_second=images / max(seconds, 1e-9),
        host=platform.node(),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        interruptions=interruptions,
    )
