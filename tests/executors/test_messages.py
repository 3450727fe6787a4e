"""Every message comes through the pipe's JSON as it was, and what is no message is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from relubench.executors import messages
from relubench.executors.messages import (
    Done,
    Failed,
    HandedBack,
    Idle,
    Note,
    Progress,
    WorkerMessage,
    from_json,
    to_json,
)
from relubench.runs.result import EpochPoint, RunResult, Timing

RESULT = RunResult(
    id="abc",
    spec={"hidden": [16, 16], "lr": 0.1},
    outcome="ok",
    parameters=3,
    path="cpu",
    epochs=1,
    best_epoch=1,
    valid_error_pct=1 / 3,
    test_error_pct=30.0,
    test_examples=10,
    sparsity_pct=None,
    curve=[EpochPoint(epoch=1, train_loss=0.1 + 0.2, valid_loss=None, valid_error_pct=1 / 3, lr=0.1)],
)
TIMING = Timing(seconds=1.5, epoch_seconds=[1.0], images_per_second=1e3, host="here", finished="2026-01-01T00:00:00")
WRONG = np.arange(10) % 3 == 0


def simple(kind: Any) -> WorkerMessage:
    """A message of a kind that has no field but the run."""
    return kind() if kind in (HandedBack, Idle) else kind(run="abc")


SIMPLE = [kind for kind in messages._KINDS.values() if kind not in (Done, Failed, Note, Progress)]


@pytest.mark.parametrize(
    "message",
    [
        *map(simple, SIMPLE),
        Progress(run="abc", epochs_done=0.1, images_per_second=1e-9, valid_score=None, stage="x", epoch_ended=True),
        Failed(run="abc", message="é", hint=""),
        Note(run="abc", text="the checkpoint é cannot be used"),
    ],
)
def test_a_message_comes_through_json_as_it_was(message: WorkerMessage):
    assert from_json(json.loads(json.dumps(to_json(message)))) == message


@pytest.mark.parametrize(("timing", "wrong"), [(TIMING, WRONG), (None, None)])
def test_a_result_comes_through_json_as_it_was(timing: Timing | None, wrong: np.ndarray | None):
    before = Done(run="abc", result=RESULT, timing=timing, wrong=wrong, not_stored="full")
    after = from_json(json.loads(json.dumps(to_json(before))))
    assert isinstance(after, Done)
    assert (after.run, after.result, after.timing, after.cached) == ("abc", RESULT, timing, False)
    assert after.not_stored == "full"
    assert after.wrong is None if wrong is None else np.array_equal(after.wrong, wrong)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    "values",
    [
        None,
        3,
        [],
        {},
        {"event": 3},
        {"event": ["idle"]},
        {"event": "unknown"},
        {"event": "started"},
        {"event": "idle", "run": "abc"},
        {"event": "done", "run": "abc", "result": None, "timing": None, "wrong": None},
        {"event": "done", "run": "abc", "result": RESULT.to_json(), "timing": None, "wrong": "no hex"},
    ],
)
def test_what_is_no_message_is_refused(values: Any):
    with pytest.raises(ValueError):
        from_json(values)
