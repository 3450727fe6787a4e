"""Ctrl-C and requests to stop, from the program's first moment to its last. Imports almost nothing."""

from __future__ import annotations

import os
import signal
import sys
import threading

from relubench.errors import EXIT_INTERRUPTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

    Handler = Callable[[int, FrameType | None], None]

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
"""All have the same effect: what is finished is printed, checkpoints are kept."""

_stop_requested = False


def stop_requested() -> bool:
    """Whether the program was asked to stop, which then is the reason for whatever fails."""
    return _stop_requested


def leave_at_once() -> None:
    """Let a request to stop end the process on the spot, for as long as there is nothing to clean up.

    An exception would surface in the middle of an import, which may swallow it, wrap it or print it.
    """
    _handle_signals(_exit_at_once)


def serve() -> None:
    """Let a request to stop raise KeyboardInterrupt from here on: there are processes to stop and results to show."""
    _handle_signals(_raise)
    sys.unraisablehook = _raise_later


def ignore() -> None:
    """Ignore requests to stop: the process is about to end anyway."""
    _handle_signals(signal.SIG_IGN)


class UninterruptedBlock:
    """A block that Ctrl-C does not interrupt; it takes effect afterwards. Processes started in the block ignore it."""

    def __enter__(self) -> None:
        if hasattr(signal, "pthread_sigmask"):
            self._previous_mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

    def __exit__(self, *raised: object) -> None:
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_SETMASK, self._previous_mask)


class FinishedFirst:
    """A block that a request to stop does not break off: it takes effect afterwards, and a second one at once."""

    def __enter__(self) -> None:
        self._requested: int | None = None
        self._handlers: dict[int, Handler] = {}
        if threading.current_thread() is not threading.main_thread():
            return  # Only there signals arrive, and can be handled.
        for name in SIGNALS:
            number = getattr(signal, name, None)
            if number is not None and callable(handler := signal.getsignal(number)):
                self._handlers[number] = handler
                signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._requested is not None:
            self._handlers[number](number, frame)
        self._requested = number

    def __exit__(self, *raised: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self._requested is not None and raised[0] is None:
            self._handlers[self._requested](self._requested, None)


def _handle_signals(handler: Handler | signal.Handlers) -> None:
    for name in SIGNALS:
        number = getattr(signal, name, None)
        # What is ignored stays so: nohup and some schedulers ask for that.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _exit_at_once(number: int, frame: FrameType | None) -> None:
    try:
        os.write(2, b"interrupted\n")
    finally:
        os._exit(EXIT_INTERRUPTED)


def _raise(number: int, frame: FrameType | None) -> None:
    global _stop_requested
    _stop_requested = True
    raise KeyboardInterrupt


def _raise_later(unraisable: Any) -> None:
    """Raise a KeyboardInterrupt again that came where nothing can be raised (a destructor, a callback)."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        # A moment later: here it would be lost once more.
        timer = threading.Timer(0.01, _interrupt_main_thread)
        timer.daemon = True
        timer.start()
    else:
        sys.__unraisablehook__(unraisable)


def _interrupt_main_thread() -> None:
    """Send it SIGINT: one that arrives in another thread would wait for what blocks the main one, a sleep for one."""
    if hasattr(signal, "pthread_kill") and (main := threading.main_thread().ident) is not None:
        signal.pthread_kill(main, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)
