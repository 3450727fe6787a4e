"""Ctrl-C and requests to stop, from the program's first moment to its last. Imports next to nothing."""

from __future__ import annotations

import os
import signal
import sys

from relubench.errors import EXIT_INTERRUPTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

    Handler = Callable[[int, FrameType | None], None]

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
"""All are served alike: what is finished is printed, checkpoints are kept."""

_came = False


def came() -> bool:
    """Whether the program was asked to stop: what fails from then on fails for that."""
    return _came


def leave_at_once() -> None:
    """Let a request to stop end the process on the spot, for as long as there is nothing to clean up.

    An exception would surface in the middle of an import, which may swallow it, wrap it or print it.
    """
    _serve(_leave)


def serve() -> None:
    """Let a request to stop raise KeyboardInterrupt from here on: there are processes to stop and results to show."""
    _serve(_raise)
    sys.unraisablehook = _raise_again


def ignore() -> None:
    """Let the process end undisturbed: all that is left to it takes no time."""
    _serve(signal.SIG_IGN)


class Held:
    """A block that no Ctrl-C interrupts: one that comes is served behind it. Processes started in it never get any."""

    def __enter__(self) -> None:
        if hasattr(signal, "pthread_sigmask"):
            self._before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

    def __exit__(self, *raised: object) -> None:
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_SETMASK, self._before)


def _serve(handler: Handler | signal.Handlers) -> None:
    for name in SIGNALS:
        number = getattr(signal, name, None)
        # What is ignored stays so: nohup and some schedulers ask for that.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _leave(number: int, frame: FrameType | None) -> None:
    try:
        os.write(2, b"interrupted\n")
    finally:
        os._exit(EXIT_INTERRUPTED)


def _raise(number: int, frame: FrameType | None) -> None:
    global _came
    _came = True
    raise KeyboardInterrupt


def _raise_again(unraisable: Any) -> None:
    """A KeyboardInterrupt that came where nothing can be raised (a destructor, a callback) comes again."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        import threading

        # A moment later: here it would be lost once more.
        again = threading.Timer(0.01, signal.raise_signal, (signal.SIGINT,))
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(unraisable)
