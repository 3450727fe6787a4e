"""One process's part of a measurement: `python -m relubench.timing.part`, told what to do on stdin by `processes`.

On stdout it gives a line of JSON for every round, and at last one with all of its samples.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from relubench.timing.request import Request
from relubench.timing.schedule import Cell, Contestant, Session, reason


def main() -> None:
    # What a user's own module prints must not end up between the lines.
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def tell(line: dict[str, Any]) -> None:
        channel.write(json.dumps(line) + "\n")

    try:
        _measure(json.load(sys.stdin), tell)
    except Exception as problem:
        tell({"error": reason(problem)})
    channel.flush()
    os._exit(0)


def _measure(asked: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> None:
    import torch

    from relubench.activations import select
    from relubench.timing.preparation import operators_session

    session = operators_session(Request.from_json(asked["request"]), select(asked["acts"]), "cpu")
    session.before = asked["before"]
    if asked["calls"] is not None:
        _calibrate(session, asked["calls"])
    session.request = replace(session.request, budget_s=max(1e-3, asked["until"] - time.time()))
    with torch.no_grad():
        for _ in session.run():
            tell({"rounds": session.rounds, "open": sum(not cell.done for cell in session.cells)})
    tell({"rounds": session.rounds, "cells": [_cell(one) for one in session.cells]})


def _calibrate(session: Session, calls: list[dict[str, int]]) -> None:
    """Take over how many calls a sample of each contestant takes."""
    for cell, known in zip(session.cells, calls, strict=True):
        for one in cell.contestants:
            one.number = known.get(one.label, 1)
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
