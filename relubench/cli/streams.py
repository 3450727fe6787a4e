"""stdin, stdout and stderr as the program needs them: open, and never the reason why a result is lost.

A closed one is opened again: the next file to be opened would take its number, and what is meant for the person at the
terminal would end up in that file. stderr swallows what it cannot write. Characters that an encoding lacks are shown as
similar ones. The result has a descriptor of its own: what a user's code, a library or a process of theirs writes to
descriptor 1 goes to stderr.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import select
import sys
from typing import Any

from relubench.errors import ComputeError

ERRORS = "relubench.similar"
"""The name under which codecs know `_similar`."""


class ClosedStdout(io.TextIOBase):
    """stdout of a process that was started without: says so where something is written."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError(errno.EBADF, "it is closed")

    def write(self, text: str, /) -> int:
        raise ComputeError("stdout is closed: the result cannot be shown", "write it to a file with --output FILE")


class _Swallowing(io.RawIOBase):
    """An open file whose failures are nobody's business: a full disk, a reader that has gone."""

    name = "<stderr>"

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.descriptor

    def isatty(self) -> bool:
        return os.isatty(self.descriptor)

    def write(self, content: Any, /) -> int:
        while True:
            try:
                return os.write(self.descriptor, content)
            except BlockingIOError:
                select.select([], [self.descriptor], [])
            except OSError:
                return len(content)


def prepare() -> None:
    """Put stdin, stdout and stderr of this process in order; to be called before any file is opened."""
    codecs.register_error(ERRORS, _similar)
    _open_again(0, os.O_RDONLY)
    closed = _open_again(1, os.O_WRONLY) or sys.stdout is None
    _open_again(2, os.O_WRONLY)
    if closed:
        sys.stdout = ClosedStdout()
    elif isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _on_its_own(sys.stdout)
    os.dup2(2, 1)
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    buffer = io.BufferedWriter(_Swallowing(2))
    sys.stderr = io.TextIOWrapper(buffer, encoding=encoding, errors=ERRORS, line_buffering=True)


def _on_its_own(stdout: io.TextIOWrapper) -> io.TextIOWrapper:
    """The same stream on a descriptor that no started process inherits; what is still buffered goes before it."""
    stdout.flush()
    file = io.FileIO(os.dup(stdout.fileno()), "w")
    return io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding=stdout.encoding,
        errors=ERRORS,
        line_buffering=stdout.line_buffering,
        write_through=stdout.write_through,
    )


def end() -> None:
    """Close stdout, for the result is written: what a user's code prints as the process ends is none."""
    stdout, sys.stdout = sys.stdout, sys.stderr
    with contextlib.suppress(OSError, ValueError):
        stdout.close()


def drop_stdout() -> None:
    """Send what is still buffered nowhere, so that the interpreter's own last flush cannot fail again."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        return


def _open_again(descriptor: int, mode: int) -> bool:
    """Whether the descriptor was closed; it leads to nowhere then, also in processes started later."""
    try:
        os.fstat(descriptor)
        return False
    except OSError:
        # The lowest free number is taken, and those below are open.
        os.set_inheritable(os.open(os.devnull, mode), True)
        return True


def _similar(error: UnicodeError) -> tuple[str, int]:
    """What stands for characters that an encoding lacks; bytes of a file's name that are no text are \\x.. ."""
    from relubench.reports.signs import similar

    if not isinstance(error, UnicodeEncodeError):
        raise error
    return similar(error.object[error.start : error.end]), error.end
