"""The loop that trains: networks and pre-trained layers alike, with a clock, progress and checkpoints. Torch-free.

A training is a `Training`: a generator of steps whose state can be saved and loaded. `Driver.run` carries it to its
end, or to where it is stopped; a later driver of the same name goes on from the checkpoint to the same bits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from relubench.runs.clock import Clock
from relubench.runs.job_store import JobStore
from relubench.runs.spec import RunSpec

if TYPE_CHECKING:
    from torch import Tensor

CHECKPOINT_SECONDS = 60.0
"""A checkpoint is written at most this often, and when a training is stopped."""

PROGRESS_SECONDS = 0.2
"""Progress is reported at most this often, and after every epoch."""

Stop = Callable[[], bool]
"""Whether to stop; asked after every chunk of steps."""


class Interrupted(Exception):
    """The training was asked to stop; its checkpoint is written."""


@dataclass(frozen=True, slots=True)
class Step:
    """A moment of a training: the end of a chunk of steps, or of the validation that ends an epoch."""

    images: int
    """Training images that each network has seen since the last Step."""
    epoch_ended: bool


class Training(Protocol):
    """Networks, or a layer, in training."""

    @property
    def epochs_done(self) -> float:
        """Epochs trained, the fraction of the current one included."""
        ...

    def train(self) -> Iterator[Step]:
        """Trains to the end, from wherever the training stands."""
        ...

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that the training goes on from: tensors, and plain values."""
        ...

    def load(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Goes on from `state()`; raises KeyError, ValueError or RuntimeError if it is another training's."""
        ...


AnyTraining = TypeVar("AnyTraining", bound=Training)


@dataclass(kw_only=True, slots=True)
class Driver(Generic[AnyTraining]):
    """One training with its clock and its checkpoint."""

    training: AnyTraining
    """The training, before its first step."""
    anew: Callable[[], AnyTraining]
    """Makes it again, where half of a checkpoint was loaded into it."""
    kind: Literal["population", "layer"]
    """The key of the training's values in a checkpoint."""
    name: str
    """The name of the checkpoint."""
    specs: Sequence[RunSpec]
    """The runs that are trained, or whose layer is."""
    store: JobStore
    fresh: bool
    """Whether it begins anew although there is a checkpoint."""
    clock: Clock = field(default_factory=Clock)

    def run(self, stop: Stop) -> Generator[Step | str, None, None]:
        """Trains to the end; yields steps now and then, the first one before training, and lines for the user.

        Raises Interrupted after `stop`, once a checkpoint is written; closing the generator writes one likewise.
        """
        if not self.fresh and (line := self._resume()):
            yield line
        yield Step(0, epoch_ended=False)
        last_checkpoint = last_report = time.perf_counter()
        for step in self.training.train():
            now = self.clock.count(step.images, epoch_ended=step.epoch_ended)
            if step.epoch_ended or now - last_report >= PROGRESS_SECONDS:
                last_report = now
                try:
                    yield step
                except GeneratorExit:
                    self._save()
                    raise
            if stop() or now - last_checkpoint >= CHECKPOINT_SECONDS:
                last_checkpoint = now
                if line := self._save():
                    yield line
                if stop():
                    raise Interrupted

    def _resume(self) -> str:
        """Load the checkpoint if there is one; returns a line for the user where it cannot be used."""
        from relubench.runs.checkpoint import from_bytes

        try:
            tensors, values = from_bytes(self.store.checkpoint_of(self.name))
            self.training.load(tensors, values[self.kind])
            self.clock.go_on(values["clock"])
        except FileNotFoundError:
            return ""
        except (ValueError, KeyError, RuntimeError) as error:
            # A part of it may have been loaded.
            self.training = self.anew()
            return f"the checkpoint {self.store.checkpoint(self.name)} cannot be used ({error}): starting anew"
        return ""

    def _save(self) -> str:
        """Write a checkpoint; returns a line for the user where that is not possible."""
        from relubench.runs.checkpoint import to_bytes

        tensors, values = self.training.state()
        content = to_bytes(tensors, {self.kind: values, "clock": self.clock.to_json()})
        try:
            self.store.put_checkpoint(self.name, content)
            self.store.put_unfinished(self.name, [spec.to_json() for spec in self.specs])
        except OSError as error:
            # Training goes on without: a full disk may be emptied before it ends.
            return f"no checkpoint was written: {error}"
        return ""
