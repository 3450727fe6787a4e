"""The program's way in and out: runs a command, and turns whatever comes of it into an exit code and two lines."""

from __future__ import annotations

import contextlib
import os
import sys

# `python -m` puts the working folder first on the search path: a json.py in it is not ours to import.
if __name__ == "__main__" and not sys.flags.safe_path:
    with contextlib.suppress(OSError):
        here = os.getcwd()  # noqa: PTH109 - pathlib would be looked for in that folder
        sys.path[:1] = [one for one in sys.path[:1] if one not in ("", here)]

import signal
import traceback
from collections.abc import Sequence
from types import FrameType

# The rest is imported where Ctrl-C is served already: it takes the first tenth of a second.
from relubench.errors import EXIT_INTERRUPTED

EXIT_PIPE = 128 + 13
"""What a shell reports of a program that wrote into a closed pipe (SIGPIPE)."""


def run(argv: Sequence[str]) -> int:
    """Run one command line; returns its exit code."""
    debug = "--debug" in argv
    if debug:
        # The workers inherit it, and show where a training failed.
        os.environ["RELUBENCH_DEBUG"] = "1"
    arguments = [one for one in argv if one != "--debug"] or ["--help"]
    try:
        code = _invoke(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt as error:
        _trace(error, debug)
        sys.stderr.write("interrupted\n")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _drop_stdout()
        return EXIT_PIPE
    except Exception as error:
        _trace(error, debug)
        from relubench.cli.failures import as_relubench_error, two_lines

        refusal = as_relubench_error(error)
        with contextlib.suppress(OSError):
            sys.stderr.write(two_lines(refusal))
        if isinstance(error, OSError):
            _drop_stdout()
        return refusal.exit_code


def main() -> int:
    """The console script: `run` on the process's own arguments, streams and signals; returns the exit code."""
    # What is started by libraries must not import from the working folder either.
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    from relubench.processes import load_torch_elsewhere, working_folder_exists

    if not working_folder_exists():
        load_torch_elsewhere()
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # What is ignored stays so: nohup and some schedulers ask for that.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    # A terminal or pipe of a narrow encoding gets \xb1 for what it cannot show, rather than a crash at the end.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    return run(sys.argv[1:])


def _invoke(arguments: list[str]) -> int:
    import typer

    from relubench.cli.app import app

    if "_RELUBENCH_COMPLETE" in os.environ:
        app(arguments, prog_name="relubench")
    # Not `app(...)`: it would print Typer's boxes for an error and swallow a closed pipe.
    command = typer.main.get_command(app)
    try:
        with command.make_context("relubench", arguments) as context:
            command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except typer.Abort:
        return EXIT_INTERRUPTED
    return 0


def _trace(error: BaseException, debug: bool) -> None:
    if debug:
        traceback.print_exception(error)


def _drop_stdout() -> None:
    """Send what is still buffered nowhere, so that the interpreter's own last flush cannot fail again."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupt(number: int, frame: FrameType | None) -> None:
    """A request to stop is served like Ctrl-C: what is finished is printed, checkpoints are kept."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
