"""A run's pre-trained layers: taken from the store one by one, and trained where they are not stored yet.

A layer that another process is training is waited for. A layer that is interrupted leaves a checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from relubench.activations import ActivationChoice
from relubench.data import PreparedData
from relubench.errors import WARNING, ComputeError
from relubench.runs.clock import Clock
from relubench.runs.job_store import JobStore
from relubench.runs.layer_id import layer_id
from relubench.runs.pretrained_file import PretrainedFile, to_bytes
from relubench.runs.record_folders import Damaged
from relubench.runs.result import PretrainedLayer
from relubench.runs.spec import RunSpec
from relubench.runs.store import Store
from relubench.training.driver import Interrupted, Stop
from relubench.training.pretraining.layer_run import LayerProgress, LayerRun

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(slots=True)
class PretrainedLayers:
    """What a network starts from; without pre-training nothing."""

    layers: list[dict[str, Tensor]] = field(default_factory=list)
    """Bottom up, each layer's parameters by the names that the network has for them."""
    seconds: float = 0.0
    """The time of their training, in whatever process and at whatever time."""
    diverged: str = ""
    """Why a layer is missing; empty where all of them are there."""

    @property
    def weights(self) -> dict[str, Tensor]:
        """The parameters of all layers by name."""
        return {name: value for layer in self.layers for name, value in layer.items()}

    def obtain(
        self,
        spec: RunSpec,
        choice: ActivationChoice,
        prepared: PreparedData,
        store: JobStore,
        *,
        fresh: bool,
        stop: Stop,
    ) -> Generator[LayerProgress | str, None, None]:
        """Fill this with the run's layers, as far as they go; yields progress of the training, and lines for the user.

        Raises Interrupted after `stop`, once a checkpoint is written; closing the generator writes one likewise.
        `fresh` trains every layer again, from its start.
        """
        from relubench.training.pretraining.greedy import shuffled

        assert spec.stack is not None
        for layer in range(spec.stack.layers):
            with store.lock(layer_id(spec, layer), _unless(stop)):
                run = LayerRun(spec, choice, prepared, store, layer, self.layers, fresh)
                record = None if fresh and not spec.stack.source else (yield from _stored(store, run.id))
                record = record or (yield from run.train(stop))
                timing = store.timing(run.id)
                self.seconds += timing.seconds if timing else 0.0
                if record.outcome == "diverged":
                    self.diverged = record.message
                    return
                self.layers.append(read_layer(store, run.id))
        if spec.stack.shuffled:
            self.layers = [shuffled(weights, spec.seed, layer) for layer, weights in enumerate(self.layers)]


def _stored(store: JobStore, layer: str) -> Generator[str, None, PretrainedLayer | None]:
    """The record of a stored layer; None, and a line that says so, where it or its weights are damaged."""
    try:
        store.layer_weights(layer)
        return store.layer(layer)
    except Damaged as error:
        yield f"{WARNING}{error.message}; it is trained again"
        return None


def _unless(stop: Stop) -> Callable[[], bool]:
    """Whether to go on waiting for a layer that another process is training; raises Interrupted after `stop`."""

    def go_on() -> bool:
        if stop():
            raise Interrupted
        return True

    return go_on


def read_layer(store: JobStore, layer: str) -> dict[str, Tensor]:
    """A finished layer's parameters by name; raises ComputeError where the file is gone or damaged."""
    from safetensors.torch import load

    content = store.layer_weights(layer)
    if content is None:
        raise ComputeError(f"the pre-trained layer {layer} has no weights", "repeat with --no-cache")
    return load(content)


def import_layers(file: PretrainedFile, spec: RunSpec, store: Store) -> None:
    """Put the layers of a file into the store, where a run that starts from it looks for them."""
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
        store.put_layer(record, Clock(seconds=seconds).timing(1), save(tensors))


def export_layers(spec: RunSpec, store: Store) -> bytes:
    """The run's pre-trained layers as the content of a file of its own; raises ComputeError if one is missing."""
    from safetensors.numpy import load

    assert spec.stack is not None
    names = [layer_id(spec, layer) for layer in range(spec.stack.layers)]
    contents = [content for name in names if (content := store.layer_weights(name)) is not None]
    if len(contents) < len(names):
        raise ComputeError("the stack was not exported: it is not whole", "see the messages above")
    timings = [store.timing(name) for name in names]
    facts = {"method": spec.stack.method, "activation": spec.activation, "dataset": spec.dataset, "seed": spec.seed}
    facts |= {"hidden": spec.hidden, "seconds": [timing.seconds if timing else 0.0 for timing in timings]}
    return to_bytes([load(content) for content in contents], facts)
