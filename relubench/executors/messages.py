"""Messages about jobs, as records; `to_json` and `from_json` are for the pipe between a worker process and its parent.

The messages about one run: Started, (Waiting | Progress | Note)*, then Done, Pretrained, NoiseTested or Failed. A run
that another process is training is Postponed after it was Started, and is Started again later. Torch-free.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from relubench.runs.result import RunResult, Timing
from relubench.statistics.example_scores import Scores, from_bytes, to_bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """A job of this run has been handed out."""

    run: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Postponed:
    """Another process is training the run, and its job comes last; or its job is tried again."""

    run: str
    is_retry: bool = False
    """Whether the process that trained it has ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """Another process is training the run, and this job waits for it."""

    run: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Alive:
    """The executor has heard nothing of its runs for a while; this one is among them.

    Who watches a clock has to look at it even where a network is so slow that it reports nothing.
    """

    run: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a run has come."""

    run: str
    epochs_done: float
    """Epochs of pre-training and training, the fraction of the current one included."""
    images_per_second: float | None = None
    """None before the first step."""
    valid_score: float | None = None
    """In the unit of the task's metric, after the last finished epoch."""
    stage: str = ""
    """The layer that is being pre-trained; empty while the network itself is trained."""
    epoch_ended: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """A line for the user, from the job that trains the run."""

    run: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Pretrained:
    """The layers below a run are stored, or have diverged; its job asked for no more."""

    run: str


@dataclass(frozen=True, kw_only=True, slots=True)
class NoiseTested:
    """The test results of a stored run under noise are stored."""

    run: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """A run has ended: all that came of it but its weights.

    Where weights are kept, they are in the job's store before this message is sent: they may be a hundred times as
    large as all else, and who shows the result does not need them.
    """

    run: str
    result: RunResult
    timing: Timing | None
    """None for a stored run whose timing is lost."""
    wrong: Scores | None
    """What became of each test example [N]; None where the run has no test result."""
    cached: bool = False
    """Whether another process had stored the run when this job's turn came."""
    not_stored: str = ""
    """Why the run could not be stored; empty where it was."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """An error ended the run."""

    run: str
    message: str
    hint: str


@dataclass(frozen=True, kw_only=True, slots=True)
class HandedBack:
    """From a worker to its executor: the job has a run that another process is training, and nothing was done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Idle:
    """From a worker to its executor: the job has ended, and the worker takes the next."""


RunMessage = Started | Postponed | Waiting | Alive | Progress | Pretrained | NoiseTested | Done | Failed
"""What becomes of a run."""

Message = RunMessage | Note
"""What an executor reports."""

WorkerMessage = Message | HandedBack | Idle
"""What a worker process writes."""

_KINDS: dict[str, type[WorkerMessage]] = {
    "started": Started,
    "postponed": Postponed,
    "waiting": Waiting,
    "alive": Alive,
    "progress": Progress,
    "note": Note,
    "pretrained": Pretrained,
    "noise_tested": NoiseTested,
    "done": Done,
    "failed": Failed,
    "handed_back": HandedBack,
    "idle": Idle,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def to_json(message: WorkerMessage) -> dict[str, Any]:
    """The message as JSON values; `event` is its kind."""
    values = {field.name: getattr(message, field.name) for field in fields(message)}
    if isinstance(message, Done):
        values["result"] = message.result.to_json()
        values["timing"] = message.timing.to_json() if message.timing is not None else None
        values["wrong"] = to_bytes(message.wrong).hex() if message.wrong is not None else None
    return {"event": _NAMES[type(message)], **values}


def from_json(values: Any) -> WorkerMessage:
    """The message of `to_json`; raises ValueError where the values are none."""
    event = values.get("event") if isinstance(values, Mapping) else None
    kind = _KINDS.get(event) if isinstance(event, str) else None
    if kind is None:
        raise ValueError(f"{values!r:.80} is no message")
    content = {name: value for name, value in values.items() if name != "event"}
    try:
        if kind is Done:
            content |= _contents_of_done(content)
        return kind(**content)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"a message of kind {event} cannot be read: {error}") from error


def _contents_of_done(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of Done that are records or arrays, from their JSON values."""
    result, timing, mask = RunResult.from_json(values["result"]), values["timing"], values["wrong"]
    wrong = None if mask is None else from_bytes(bytes.fromhex(mask), result.test_examples)
    return {"result": result, "timing": None if timing is None else Timing.from_json(timing), "wrong": wrong}
