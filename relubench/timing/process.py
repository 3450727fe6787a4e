"""One process of a measurement: `python -m relubench.timing.process`, which reads on stdin what `processes` requests.

On stdout it writes a line of JSON for every round, and a last one with all of its samples.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relubench.timing.schedule import Candidate, Cell, Session

# No other import comes before SIGINT is ignored: the parent handles it, and ends this process.


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What a user's own module prints must not mix with the lines.
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def send(line: dict[str, Any]) -> None:
        channel.write(json.dumps(line) + "\n")
        channel.flush()

    code = 0
    try:
        _measure(json.load(sys.stdin), send)
    except BrokenPipeError:
        # The parent is gone.
        code = 1
    except Exception as problem:
        if os.environ.get("RELUBENCH_DEBUG"):
            traceback.print_exc()
        from relubench.timing.schedule import reason

        send({"error": reason(problem), "hint": getattr(problem, "hint", "")})
    os._exit(code)


def _measure(request: dict[str, Any], send: Callable[[dict[str, Any]], None]) -> None:
    import torch

    from relubench.activations import select
    from relubench.timing.preparation import is_measurable, operators_session
    from relubench.timing.request import Request

    session = operators_session(Request.from_json(request["request"]), select(request["acts"]), "cpu")
    session.rounds_before = request["before"]
    if request["calls"] is not None:
        _calibrate(session, request["calls"])
    session.request = replace(session.request, budget_s=max(1e-3, request["until"] - time.monotonic()))
    send({"rounds": 0, "open": num_open_cells(session)})
    if is_measurable(session):
        with torch.no_grad():
            for _ in session.run():
                send({"rounds": session.rounds, "open": num_open_cells(session)})
    cells = [cell_to_json(cell) for cell in session.cells]
    send({"rounds": session.rounds, "open": num_open_cells(session), "cells": cells})


def num_open_cells(session: Session) -> int:
    return sum(not cell.done for cell in session.cells)


def _calibrate(session: Session, calls: list[tuple[list[Any], dict[str, int]]]) -> None:
    """Set how many calls a sample of each candidate takes, by the stamp of its cell."""
    num_calls = {tuple(stamp): numbers for stamp, numbers in calls}
    for cell in session.cells:
        for candidate in cell.candidates:
            candidate.number = num_calls.get(cell.stamp, {}).get(candidate.label, 1)
    session.calibrated = True


def cell_to_json(cell: Cell) -> dict[str, Any]:
    facts = {"size": asdict(cell.size), "dtype": cell.dtype, "mode": cell.mode, "name": cell.name, "cold": cell.cold}
    return {**facts, "contestants": [candidate_to_json(candidate) for candidate in cell.candidates]}


def candidate_to_json(candidate: Candidate) -> dict[str, Any]:
    timed_call = candidate.timed_call and {
        "traffic": [asdict(traffic) for traffic in candidate.timed_call.traffic],
        "storage": candidate.timed_call.storage,
        "kept_bytes": candidate.timed_call.kept_bytes,
        "calls": candidate.timed_call.calls,
    }
    names = ("label", "role", "number", "samples", "positions", "first", "failure", "skipped")
    return {**{name: getattr(candidate, name) for name in names}, "task": timed_call}


if __name__ == "__main__":
    main()
