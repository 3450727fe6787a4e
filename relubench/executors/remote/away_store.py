"""The store as a job on another machine has it: what came with the job is read, what is put goes home. Torch-free."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from relubench.executors.remote.deliveries import (
    Discard,
    PutCheckpoint,
    PutLayer,
    PutNoise,
    PutRun,
    PutSpecs,
    Stored,
)
from relubench.executors.remote.supplies import SentLayer, Supplies
from relubench.runs.result import PretrainedLayer, RunResult, Timing
from relubench.statistics.example_scores import Scores


class AwayStore:
    """A `JobStore`; the process that sent the job holds the locks of its runs."""

    def __init__(self, supplies: Supplies, send: Callable[[Stored], None]) -> None:
        self.supplies, self.send = supplies, send
        self.layers = dict(supplies.layers)

    @property
    def root(self) -> str:
        """The place of the store at home, as messages name it."""
        return self.supplies.root

    @contextlib.contextmanager
    def lock(self, run: str, go_on: Callable[[], bool]) -> Iterator[None]:
        """Nothing: home holds the lock."""
        yield

    def has(self, run: str) -> bool:
        """False: home sends no job of a stored run."""
        return False

    def result(self, run: str) -> RunResult | None:
        return None

    def timing(self, run: str) -> Timing | None:
        """The timing of a pre-trained layer."""
        return self.layers[run].timing if run in self.layers else None

    def wrong(self, run: str) -> Scores | None:
        return None

    def weights_of(self, run: str) -> bytes | None:
        return self.supplies.weights.get(run)

    def put(self, result: RunResult, timing: Timing, wrong: Scores | None, weights: bytes | None) -> None:
        self.send(PutRun(result=result, timing=timing, wrong=wrong, weights=weights))

    def put_noise(self, run: str, strength: float, wrong: Scores) -> None:
        self.send(PutNoise(run=run, strength=strength, wrong=wrong))

    def layer(self, layer: str) -> PretrainedLayer | None:
        return self.layers[layer].layer if layer in self.layers else None

    def layer_weights(self, layer: str) -> bytes | None:
        return self.layers[layer].weights if layer in self.layers else None

    def put_layer(
        self, layer: PretrainedLayer, timing: Timing, weights: bytes | None, reconstructions: bytes | None = None
    ) -> None:
        self.layers[layer.id] = SentLayer(layer=layer, timing=timing, weights=weights)
        self.send(PutLayer(layer=layer, timing=timing, weights=weights, reconstructions=reconstructions))

    def checkpoint(self, run: str) -> str:
        """The place of the run's checkpoint at home, as messages name it."""
        return f"{self.root}/partial/{run}/checkpoint.safetensors"

    def checkpoint_of(self, run: str) -> bytes:
        """The state that came with the job; raises FileNotFoundError, and ValueError for a damaged one."""
        if run in self.supplies.damaged:
            raise ValueError(self.supplies.damaged[run])
        if run not in self.supplies.checkpoints:
            raise FileNotFoundError(run)
        return self.supplies.checkpoints[run]

    def put_checkpoint(self, run: str, content: bytes) -> None:
        self.send(PutCheckpoint(name=run, content=content))

    def put_unfinished(self, run: str, specs: list[dict[str, Any]]) -> None:
        self.send(PutSpecs(name=run, specs=specs))

    def discard(self, run: str) -> None:
        self.send(Discard(name=run))
