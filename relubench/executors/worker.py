"""The process that trains: reads jobs from standard input, one JSON line each, and writes messages likewise.

Whoever started the worker closes its input to end it, or sends SIGTERM to interrupt it: it then writes a checkpoint and
ends. Ctrl-C, which reaches every process of a terminal, is left to whoever started it.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import queue
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from relubench.executors.job import Job
from relubench.executors.messages import HandedBack, Idle, WorkerMessage, to_json
from relubench.executors.tasks import messages_of
from relubench.runs.store import Busy, Store
from relubench.system.page_faults import prefault_constants
from relubench.training.driver import Interrupted

GRACE_SECONDS = 25.0
"""How long a worker whose input has ended may still need for its checkpoint."""


class _StopRequest:
    """Whether the worker has been asked to stop, by a signal, the end of its input or a reader that has gone."""

    def __init__(self) -> None:
        self.came = False

    def __call__(self) -> bool:
        return self.came

    def make(self) -> None:
        """Ask the worker to stop."""
        self.came = True


class _Channel:
    """Writes messages as JSON lines; a reader that has gone asks the worker to stop."""

    def __init__(self, file: TextIO, stop: _StopRequest) -> None:
        self.file, self.stop = file, stop

    def send(self, message: WorkerMessage) -> None:
        try:
            self.file.write(json.dumps(to_json(message)) + "\n")
        except BrokenPipeError:
            self.stop.make()


def main(root: str) -> None:
    """Carry out jobs, with the store in the folder `root`, until the input ends or the worker is asked to stop."""
    stop, store = _StopRequest(), Store(Path(root))
    channel = _Channel(_output_of_messages(), stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda signum, frame: stop.make())
    if not os.environ.get("RELUBENCH_DEBUG"):
        # Warnings of libraries were shown once, when the command inspected the network.
        warnings.simplefilter("ignore")
    with contextlib.suppress(ImportError, OSError, MemoryError):
        prefault_constants()  # Where torch cannot be loaded, the first job says so.
    gc.freeze()  # What libraries hold is not searched for cycles after every job: that takes 0.1 s.
    for line in _lines_of_input(stop.make):
        try:
            for message in messages_of(Job.from_json(json.loads(line)), store, stop):
                channel.send(message)
        except Interrupted:
            break
        except Busy:
            channel.send(HandedBack())
        channel.send(Idle())
        if stop():
            break
    # Flushing at interpreter exit would complain about a reader that has gone.
    with contextlib.suppress(BrokenPipeError):
        channel.file.flush()
    os._exit(0)


def _output_of_messages() -> TextIO:
    """Standard output, for messages alone: what a user's own module prints goes to standard error from here on."""
    file = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return file


def _lines_of_input(on_end: Callable[[], None]) -> Iterator[str]:
    """The lines of standard input; `on_end` is called at its end, also while a job is being carried out.

    Whoever started the worker may have been killed: then the worker has a while for its checkpoint, and ends whatever
    it does.
    """
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        on_end()
        lines.put(None)
        time.sleep(GRACE_SECONDS)
        os._exit(1)

    threading.Thread(target=read, daemon=True).start()
    while (line := lines.get()) is not None:
        yield line
