"""Carries out a job in forked processes that are killed, over and over, then once more to the end.

Run as a program: `python -m killing JOBS.json STORE SEED KILLS`, with the number of kills for each job. Half of the
attempts are killed at a random moment, half inside a chosen call of a write, if they get that far: while the file is
half written, before it is flushed, before or after a rename. Prints how many were killed, and how many inside a write.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.fx.experimental.symbolic_shapes  # autograd imports it at first use: here once, not in every child

import relubench.system.files
import relubench.training.driver
import relubench.training.population
from relubench.executors.job import Job
from specs import StoredJob, finish, stored

CALLS = ("half written", "before fsync", "before replace", "after replace", "before rename", "after rename")

INSIDE = os.pipe()
"""One byte for each death inside a write, from the process that died."""


def die() -> None:
    os.write(INSIDE[1], b".")
    os.kill(os.getpid(), signal.SIGKILL)


def inject(call: str, countdown: int) -> None:
    """Die inside the `countdown`-th call of that kind."""
    left = countdown

    def due() -> bool:
        nonlocal left
        left -= 1
        return left == 0

    if call == "half written":

        def write(path: Path, content: bytes) -> None:
            with path.open("wb") as file:
                file.write(content[: len(content) // 2] if due() else content)
                file.flush()
            if left == 0:
                die()

        relubench.system.files.write_durably = write
        return
    when, name = call.split()
    owner: Any = os if name == "fsync" else Path
    real = getattr(owner, name)

    def around(*args: Any) -> Any:
        dying = due()
        if dying and when == "before":
            die()
        found = real(*args)
        if dying:
            die()
        return found

    setattr(owner, name, around)


def attempt(job: StoredJob, chance: random.Random | None) -> int:
    """One process that works on the job; killed by chance, or with None allowed to end. Returns its wait status."""
    call = chance.choice(CALLS) if chance is not None and chance.random() < 0.5 else ""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            torch.set_num_threads(1)
            if chance is not None:
                # Checkpoints of every chunk, so that a short run has many moments to die in.
                relubench.training.driver.CHECKPOINT_SECONDS = 0.0
                if call:
                    # Renames move the finished run only: an old one aside, which is not there, and the new one in.
                    inject(call, chance.randint(1, 2 if "rename" in call else 12))
            finish(job)
            code = 0
        finally:
            os._exit(code)
    if chance is not None and not call:
        time.sleep(chance.uniform(0.02, 0.5))
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def main(jobs: str, store: str, seed: str, kills: str) -> None:
    chance = random.Random(int(seed))
    died = 0
    for text in json.loads(Path(jobs).read_text()):
        job = stored(Job.from_json(text), Path(store))
        due = died + int(kills)
        while died < due:
            killed = os.WIFSIGNALED(attempt(job, chance))
            died += killed
            for spec in () if killed else job.specs:
                # A fast machine finishes before it was killed often enough: then the run begins anew.
                relubench.runs.store.Store(job.store).delete(spec.id)
        status = attempt(job, None)
        assert status == 0, f"the last attempt ended with status {status}"
    os.close(INSIDE[1])
    print(died, len(os.read(INSIDE[0], 10_000)))


if __name__ == "__main__":
    main(*sys.argv[1:])
