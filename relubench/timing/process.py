"""One process's part of a measurement: `python -m relubench.timing.process`, told what to do on stdin by `processes`.

On stdout it gives a line of JSON for every round, and at last one with all of its samples.
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
    from relubench.timing.schedule import Cell, Contestant, Session

# Nothing else is imported before SIGINT is left to the parent, which ends this process.


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What a user's own module prints must not end up between the lines.
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def tell(line: dict[str, Any]) -> None:
        channel.write(json.dumps(line) + "\n")
        channel.flush()

    code = 0
    try:
        _measure(json.load(sys.stdin), tell)
    except BrokenPipeError:
        # The parent is gone.
        code = 1
    except Exception as problem:
        if os.environ.get("RELUBENCH_DEBUG"):
            traceback.print_exc()
        from relubench.timing.schedule import reason

        tell({"error": reason(problem), "hint": getattr(problem, "hint", "")})
    os._exit(code)


def _measure(asked: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> None:
    import torch

    from relubench.activations import select
    from relubench.timing.preparation import is_measurable, operators_session
    from relubench.timing.request import Request

    session = operators_session(Request.from_json(asked["request"]), select(asked["acts"]), "cpu")
    session.before = asked["before"]
    if asked["calls"] is not None:
        _calibrate(session, asked["calls"])
    session.request = replace(session.request, budget_s=max(1e-3, asked["until"] - time.monotonic()))
    tell({"rounds": 0, "open": _open(session)})
    if is_measurable(session):
        with torch.no_grad():
            for _ in session.run():
                tell({"rounds": session.rounds, "open": _open(session)})
    cells = [_cell(one) for one in session.cells]
    tell({"rounds": session.rounds, "open": _open(session), "cells": cells})


def _open(session: Session) -> int:
    return sum(not cell.done for cell in session.cells)


def _calibrate(session: Session, calls: list[tuple[list[Any], dict[str, int]]]) -> None:
    """Take over how many calls a sample of each contestant takes, by the stamp of its cell."""
    known = {tuple(stamp): numbers for stamp, numbers in calls}
    for cell in session.cells:
        for one in cell.contestants:
            one.number = known.get(cell.stamp, {}).get(one.label, 1)
    session.calibrated = True


def _cell(cell: Cell) -> dict[str, Any]:
    facts = {"size": asdict(cell.size), "dtype": cell.dtype, "mode": cell.mode, "name": cell.name, "cold": cell.cold}
    return {**facts, "contestants": [_contestant(one) for one in cell.contestants]}


def _contestant(one: Contestant) -> dict[str, Any]:
    task = one.task and {
        "traffic": [asdict(traffic) for traffic in one.task.traffic],
        "storage": one.task.storage,
        "kept_bytes": one.task.kept_bytes,
        "calls": one.task.calls,
    }
    kept = ("label", "role", "number", "samples", "positions", "first", "failure", "skipped")
    return {**{name: getattr(one, name) for name in kept}, "task": task}


if __name__ == "__main__":
    main()
