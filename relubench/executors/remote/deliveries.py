"""What a job sends home beside its messages: what is to be stored. Records, which pickle as they are. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from relubench.executors.messages import Message
from relubench.runs.result import PretrainedLayer, RunResult, Timing
from relubench.runs.store import Store
from relubench.statistics.example_scores import Scores


@dataclass(frozen=True, kw_only=True, slots=True)
class PutRun:
    """A finished run."""

    result: RunResult
    timing: Timing
    wrong: Scores | None
    weights: bytes | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PutLayer:
    """A pre-trained layer."""

    layer: PretrainedLayer
    timing: Timing
    weights: bytes | None
    reconstructions: bytes | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PutNoise:
    """What a stored run made of the test examples under noise."""

    run: str
    strength: float
    wrong: Scores


@dataclass(frozen=True, kw_only=True, slots=True)
class PutCheckpoint:
    """The state of a training."""

    name: str
    content: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class PutSpecs:
    """The specifications of a checkpoint's runs."""

    name: str
    specs: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Discard:
    """A checkpoint that is no longer needed."""

    name: str


Stored = PutRun | PutLayer | PutNoise | PutCheckpoint | PutSpecs | Discard
"""What changes the store."""

Delivery = Message | Stored
"""What comes home of a job, in order: what a message is about is stored before it is passed on."""


def store_delivery(delivery: Stored, store: Store) -> None:
    """Carry out at home what the job asked of its store; raises OSError where the disk does not take it."""
    match delivery:
        case PutRun():
            store.put(delivery.result, _by_now(delivery.timing), delivery.wrong, delivery.weights)
        case PutLayer():
            store.put_layer(delivery.layer, _by_now(delivery.timing), delivery.weights, delivery.reconstructions)
        case PutNoise():
            store.put_noise(delivery.run, delivery.strength, delivery.wrong)
        case PutCheckpoint():
            store.put_checkpoint(delivery.name, delivery.content)
        case PutSpecs():
            store.put_unfinished(delivery.name, delivery.specs)
        case Discard():
            store.discard(delivery.name)


def _by_now(timing: Timing) -> Timing:
    """The timing with an end that is not in the future: another machine's clock may be ahead."""
    return replace(timing, finished=min(timing.finished, datetime.now(UTC).isoformat(timespec="seconds")))
