"""What the nodes of a SLURM cluster are: a job looks, once for each kind of request. Torch-free."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from relubench.errors import ComputeError
from relubench.executors.remote.facts import SOURCE, NodeFacts, pinned, usable
from relubench.executors.slurm_queue import SlurmOptions, ending, last_state, states, submit
from relubench.system.device import Device
from relubench.system.files import write_atomically
from relubench.system.paths import cache_root
from relubench.version import ENGINE_VERSION, __version__

LOOK_MINUTES = 10
GOOD_SECONDS = 86_400.0
"""How long the answer of a node holds."""
POLL_SECONDS = 1.0


def slurm_device(
    choice: str, options: SlurmOptions, root: Path, processor: str | None, note: Callable[[str], None]
) -> Device:
    """The device of the nodes that such a request gets, with as many threads as a job has processors.

    A node that a day ago answered the same request speaks for the others; a job on another kind of node fails.
    """
    path = cache_root() / f"slurm-{_digest(choice, options)}.json"
    facts = _known(path)
    if facts is None:
        note("a SLURM job looks at what the nodes are: it waits for its turn in the queue")
        values = _look(root / "submitit", options)
        facts = NodeFacts.from_json(values)
        usable([facts])
        with contextlib.suppress(OSError):
            write_atomically(path, json.dumps(values).encode())
    device, _ = pinned(choice, usable([facts]), processor)
    return replace(device, threads=options.processors) if device.is_processor else device


def _digest(choice: str, options: SlurmOptions) -> str:
    facts = [choice, asdict(replace(options, gigabytes=1, workers=None)), __version__, ENGINE_VERSION]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _known(path: Path) -> NodeFacts | None:
    """What a node said within the last day; None if none did."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        if time.time() - path.stat().st_mtime < GOOD_SECONDS:
            return NodeFacts.from_json(json.loads(path.read_bytes()))
    return None


def _look(folder: Path, options: SlurmOptions) -> dict[str, Any]:
    """What a node says of itself; raises ComputeError where the job that asks it ends without an answer."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(SOURCE, names)
    options = replace(options, minutes=LOOK_MINUTES, gigabytes=2)
    (job,) = submit(folder, [names["look"]], options)
    missing = 0
    while not job.paths.result_pickle.exists():
        time.sleep(POLL_SECONDS)
        queue = states()
        missing = missing + 1 if queue is not None and str(job.job_id) not in queue else 0
        if missing > 5 and not job.paths.result_pickle.exists():
            lost, hint, _ = ending(last_state(str(job.job_id)))
            raise ComputeError(f"the job that looks at the nodes {lost}", hint or f"see {job.paths.stderr}")
    try:
        return dict(job.result())
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise ComputeError(f"the job that looks at the nodes failed: {reason}", f"see {job.paths.stderr}") from error
