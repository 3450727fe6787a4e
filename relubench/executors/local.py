"""Carries out jobs in worker processes on this machine: starts, feeds, hears, replaces and stops them."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from relubench.activations import ActivationChoice
from relubench.executors.job import Job
from relubench.executors.messages import (
    Alive,
    Failed,
    HandedBack,
    Idle,
    Message,
    Note,
    Postponed,
    Started,
    WorkerMessage,
    from_json,
)
from relubench.runs.spec import RunSpec
from relubench.runs.store import Store
from relubench.system.device import Device
from relubench.system.interrupts import UninterruptedBlock
from relubench.system.processes import Stderr, command, ending, environment, folder, num_memory_kills
from relubench.training.memory import fitting_workers, member_bytes

LAST_MESSAGE_SECONDS = 5.0
"""How long the last messages of a worker that has ended are waited for."""
STOP_SECONDS = 30.0
"""How long interrupted workers have for their checkpoints, unless who asks for them has less time."""
SILENT_SECONDS = 1.0
"""After so long without a word of any worker an Alive is reported."""


class LocalExecutor:
    """As many worker processes as the device has threads and memory for; one where the device is no processor."""

    def __init__(self, device: Device, store: Store, log: Callable[[str], None] = lambda text: None) -> None:
        """`log` receives the lines for the user that workers still have while they are being stopped."""
        self.device, self.store, self.log = device, store, log
        self.stop_seconds = STOP_SECONDS

    def run(self, jobs: Sequence[Job]) -> Generator[Message, None, None]:
        """Yields messages until every job has ended; closing the generator stops the workers after a checkpoint."""
        if not jobs:
            return
        networks = [(job.specs[0], job.choice) for job in jobs]
        size, store = num_workers(networks, self.device), self.store.root.absolute()
        with _Workers(size, jobs, store, self.log, self.stop_seconds) as workers:
            yield from workers.messages()


def num_workers(networks: Sequence[tuple[RunSpec, ActivationChoice]], device: Device) -> int:
    """How many workers train these networks at the same time: as many as have work, memory and threads."""
    if not device.is_processor or not networks:
        return 1
    heaviest = max(member_bytes(spec, choice.inputs_per_unit) for spec, choice in networks)
    threads = max(networks[0][0].threads, 1)
    return max(1, min(len(networks), fitting_workers(heaviest, device.memory), device.threads // threads))


class _Workers:
    """Worker processes and the jobs that they share; leaving the context ends them."""

    def __init__(
        self, size: int, jobs: Sequence[Job], store: Path, log: Callable[[str], None], stop_seconds: float
    ) -> None:
        self.waiting = deque(jobs)
        self.store, self.log, self.stop_seconds = store, log, stop_seconds
        self.inbox: _Inbox = queue.SimpleQueue()
        self.processes = [WorkerProcess(self.inbox, jobs[0].specs[0].threads, store) for _ in range(size)]

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *raised: object) -> None:
        try:
            for process in self.processes:
                process.stop()
            deadline = time.monotonic() + self.stop_seconds
            for process in self.processes:
                process.wait(deadline - time.monotonic())
            self._log_last_notes()
        except BaseException:
            # A second request to stop: nobody waits for checkpoints any longer.
            for process in self.processes:
                process.kill()
            raise

    def _log_last_notes(self) -> None:
        """Pass on what workers that have ended said last, such as that no checkpoint could be written."""
        while not self.inbox.empty():
            _, message = self.inbox.get()
            if isinstance(message, Note):
                self.log(message.text)

    def messages(self) -> Iterator[Message]:
        """What the workers report, until every job has ended."""
        for worker in self.processes:
            yield from self._give_job(worker)
        while any(worker.job is not None for worker in self.processes):
            worker, message = self._next()
            if worker is None:
                yield from self._alive()
            elif message is None:
                yield from self._replace(worker)
            elif isinstance(message, HandedBack):
                yield from self._postpone(worker)
            elif isinstance(message, Idle):
                worker.job = None
                yield from self._give_job(worker)
            else:
                yield message

    def _next(self) -> tuple[WorkerProcess | None, WorkerMessage | None]:
        """The next message with its worker; nothing where all of them are silent for a while."""
        try:
            return self.inbox.get(timeout=SILENT_SECONDS)
        except queue.Empty:
            return None, None

    def _alive(self) -> Iterator[Message]:
        """Say that the runs go on, of the first worker that has a job."""
        job = next(worker.job for worker in self.processes if worker.job is not None)
        yield Alive(run=job.specs[0].id)

    def _give_job(self, worker: WorkerProcess) -> Iterator[Message]:
        """Give the worker the next job, if there is one."""
        if not self.waiting:
            return
        job = self.waiting.popleft()
        worker.give(job)
        for spec in job.specs:
            yield Started(run=spec.id)

    def _postpone(self, worker: WorkerProcess) -> Iterator[Message]:
        """Put the worker's job, of which another process has a run, behind all others; then it is waited for."""
        assert worker.job is not None
        self.waiting.append(replace(worker.job, patient=True))
        for spec in worker.job.specs:
            yield Postponed(run=spec.id)

    def _replace(self, worker: WorkerProcess) -> Iterator[Message]:
        """Report the job of a worker that has died as failed, and start a new worker in its place."""
        job, worker.job = worker.job, None
        cause, memory = worker.ending()
        if job is None:
            return
        hint = "repeating the command goes on from the last checkpoint"
        if memory:
            smaller = max(1, job.specs[0].batch_size // 2)
            hint = f"try --batch-size {smaller} or fewer runs at once (OMP_NUM_THREADS=1); {hint}"
        for spec in job.specs:
            yield Failed(run=spec.id, message=f"the process training {spec.activation} {cause}", hint=hint)
        fresh = WorkerProcess(self.inbox, job.specs[0].threads, self.store)
        self.processes[self.processes.index(worker)] = fresh
        yield from self._give_job(fresh)


class WorkerProcess:
    """One process of `relubench.executors.worker`, and the job it has."""

    def __init__(self, inbox: _Inbox, threads: int, store: Path) -> None:
        self.job: Job | None = None
        self.lacks = num_memory_kills()
        # Ctrl-C reaches every process of a terminal: this one says when a worker ends.
        with UninterruptedBlock():
            self.process = subprocess.Popen(
                command(f"from relubench.executors.worker import main\nmain({str(store)!r})"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_worker_environment(threads),
                cwd=folder(),
                text=True,
            )
        assert self.process.stderr is not None
        self.stderr = Stderr(self.process.stderr)
        self.listener = threading.Thread(target=self._listen, args=(inbox,), daemon=True)
        self.listener.start()
        threading.Thread(target=self._await_end, args=(inbox,), daemon=True).start()

    def _await_end(self, inbox: _Inbox) -> None:
        """Put None into the inbox when the worker has ended and its last message was read.

        What a user's code has forked may live on with the worker's output, which then has no end.
        """
        self.process.wait()
        self.listener.join(LAST_MESSAGE_SECONDS)
        inbox.put((self, None))

    def _listen(self, inbox: _Inbox) -> None:
        """Put every message of the worker into the inbox."""
        assert self.process.stdout is not None
        try:
            for line in self.process.stdout:
                self.stderr.has_begun.set()
                inbox.put((self, from_json(json.loads(line))))
        except ValueError:
            # Half a line is the last thing that a dying worker says; one that lives on says nothing of use any more.
            self.process.kill()
        self.process.stdout.close()

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

    def wait(self, seconds: float) -> None:
        """Wait for its end; one that does not come is forced."""
        try:
            self.process.wait(max(seconds, 0.0))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.stderr.join()


_Inbox = queue.SimpleQueue[tuple[WorkerProcess, WorkerMessage | None]]
"""Messages of all workers, each with the worker that wrote it."""


def _worker_environment(threads: int) -> dict[str, str]:
    """The environment variables of a worker with so many threads; 0: as many as torch takes by itself."""
    values = {**environment(), "CUBLAS_WORKSPACE_CONFIG": ":4096:8", "PYTHONIOENCODING": "utf-8"}
    if threads:
        values["OMP_NUM_THREADS"] = str(threads)
    if "OMP_WAIT_POLICY" not in values:
        # By default a thread that waits for another spins for milliseconds, and one busy neighbour then slows a run
        # on all cores forty times over; spinning this briefly costs a quiet machine a few percent.
        values.setdefault("GOMP_SPINCOUNT", "10000")
    return values
