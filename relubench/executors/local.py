"""Worker processes and the jobs that they share: start, feed, listen, replace one that dies, stop them all."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from relubench.executors.job import Job
from relubench.system.interrupts import Held
from relubench.system.processes import Stderr, command, ending, environment, folder, lacks_of_memory

STOP_SECONDS = 30.0
"""How long interrupted workers have for their checkpoints."""


class Crew:
    """Worker processes and the jobs that they share; leaving the context ends them."""

    def __init__(self, size: int, jobs: Sequence[Job]) -> None:
        self.waiting = list(jobs)
        self.inbox: queue.SimpleQueue[tuple[_Worker, dict[str, Any] | None]] = queue.SimpleQueue()
        self.workers = [_Worker(self.inbox, jobs[0].specs[0].threads) for _ in range(size)]

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *raised: object) -> None:
        try:
            for worker in self.workers:
                worker.stop()
            for worker in self.workers:
                worker.wait()
        except BaseException:
            # A second request to stop: nobody waits for checkpoints any longer.
            for worker in self.workers:
                worker.kill()
            raise

    def messages(self) -> Iterator[dict[str, Any]]:
        """What the workers report, one message for each run it concerns, until every job is done."""
        for worker in self.workers:
            yield from self._give(worker)
        while any(worker.job is not None for worker in self.workers):
            worker, message = self.inbox.get()
            if message is None:
                yield from self._lost(worker)
            elif message["event"] == "busy":
                yield from self._postpone(worker)
            elif message["event"] == "idle":
                worker.job = None
                yield from self._give(worker)
            else:
                yield message

    def _give(self, worker: _Worker) -> Iterator[dict[str, Any]]:
        if not self.waiting:
            return
        worker.give(self.waiting.pop(0))
        assert worker.job is not None
        for spec in worker.job.specs:
            yield {"event": "started", "run": spec.id}

    def _postpone(self, worker: _Worker) -> Iterator[dict[str, Any]]:
        """Another process has a run of the worker's job: it comes last, and is waited for then."""
        assert worker.job is not None
        self.waiting.append(replace(worker.job, patient=True))
        for spec in worker.job.specs:
            yield {"event": "postponed", "run": spec.id}

    def _lost(self, worker: _Worker) -> Iterator[dict[str, Any]]:
        """A worker ended without being asked to: its job failed, and a new worker takes its place."""
        job, worker.job = worker.job, None
        cause, memory = worker.ending()
        if job is None:
            return
        hint = "repeating the command goes on from the last checkpoint"
        if memory:
            smaller = max(1, job.specs[0].batch_size // 2)
            hint = f"try --batch-size {smaller} or fewer runs at once (OMP_NUM_THREADS=1); {hint}"
        for spec in job.specs:
            message = f"the process training {spec.activation} {cause}"
            yield {"event": "failed", "run": spec.id, "message": message, "hint": hint}
        fresh = _Worker(self.inbox, job.specs[0].threads)
        self.workers[self.workers.index(worker)] = fresh
        yield from self._give(fresh)


class _Worker:
    """One process of `relubench.executors.worker`, and the job it has."""

    def __init__(self, inbox: queue.SimpleQueue[tuple[_Worker, dict[str, Any] | None]], threads: int) -> None:
        values = {**environment(), "CUBLAS_WORKSPACE_CONFIG": ":4096:8", "PYTHONIOENCODING": "utf-8"}
        if threads:
            values["OMP_NUM_THREADS"] = str(threads)
        if "OMP_WAIT_POLICY" not in values:
            # By default a thread that waits for another spins for milliseconds, and one busy neighbour then slows a run
            # on all cores forty times over; spinning this briefly costs a quiet machine a few percent.
            values.setdefault("GOMP_SPINCOUNT", "10000")
        self.job: Job | None = None
        self.lacks = lacks_of_memory()
        # Ctrl-C reaches every process of a terminal: this one says when a worker ends.
        with Held():
            self.process = subprocess.Popen(
                command("from relubench.executors.worker import main\nmain()"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=values,
                cwd=folder(),
                text=True,
            )
        assert self.process.stderr is not None
        self.stderr = Stderr(self.process.stderr)
        threading.Thread(target=self._listen, args=(inbox,), daemon=True).start()

    def _listen(self, inbox: queue.SimpleQueue[tuple[_Worker, dict[str, Any] | None]]) -> None:
        assert self.process.stdout is not None
        try:
            for line in self.process.stdout:
                self.stderr.has_begun.set()
                inbox.put((self, _message(line)))
        except ValueError:
            # Half a line is the last thing that a dying worker says; one that lives on says nothing of use any more.
            self.process.kill()
        self.process.stdout.close()
        inbox.put((self, None))

    def ending(self) -> tuple[str, bool]:
        """How the process ended, once it has, and whether most likely memory ran out."""
        code = self.process.wait()
        self._close_stdin()
        return ending(code, self.lacks, self.stderr.last_lines())

    def give(self, job: Job) -> None:
        """Hand the worker its next job."""
        assert self.process.stdin is not None
        self.job = job
        try:
            self.process.stdin.write(json.dumps(job.to_json()) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return  # It has died: `_listen` tells.

    def stop(self) -> None:
        """Ask for a checkpoint if it is training, and for its end."""
        if self.job is not None:
            self.process.terminate()
        self._close_stdin()

    def _close_stdin(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def kill(self) -> None:
        """End it at once, however often one is interrupted meanwhile."""
        while self.process.poll() is None:
            with contextlib.suppress(KeyboardInterrupt):
                self.process.kill()
                self.process.wait()

    def wait(self) -> None:
        """Wait for its end; one that does not come is forced."""
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.stderr.join()


def _message(line: str) -> dict[str, Any]:
    """The message on a line; raises ValueError for half of one."""
    message = json.loads(line)
    if not isinstance(message, dict) or not isinstance(message.get("event"), str):
        raise ValueError(f"{line[:80]!r} is no message")
    return message
