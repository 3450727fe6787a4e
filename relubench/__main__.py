"""The program's entry: it runs a command, and turns an error into an exit code and two lines on stderr."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os
import sys

# Ctrl-C would print a traceback until `interrupts` is imported. `_signal` is a part of Python: nothing is looked for.
if (
    __name__ == "__main__" or "".join(sys.argv[:1]).endswith(("/relubench", "\\relubench", "\\relubench.exe"))
) and _signal.getsignal(2) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, lambda *_: (os.write(2, b"interrupted\n"), os._exit(130)))

# `python -m` puts the working folder first on the search path: a json.py in it is not ours to import.
if __name__ == "__main__" and not sys.flags.safe_path:
    try:
        here = os.getcwd()  # noqa: PTH109 - pathlib would be looked for in that folder
        sys.path[:1] = [entry for entry in sys.path[:1] if entry not in ("", here)]
    except OSError:
        sys.path[:1] = [entry for entry in sys.path[:1] if entry]

from relubench.errors import EXIT_INTERRUPTED
from relubench.system import interrupts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXIT_PIPE = 128 + 13
"""What a shell reports of a program that wrote into a closed pipe (SIGPIPE)."""


def run(argv: Sequence[str], begin: Callable[[], None] = lambda: None) -> int:
    """Run one command line; returns its exit code. `begin` is called where the command itself starts."""
    debug = "--debug" in argv
    if debug:
        # The workers inherit it, and show where a training failed.
        os.environ["RELUBENCH_DEBUG"] = "1"
    arguments = [argument for argument in argv if argument != "--debug"] or ["--help"]
    try:
        code = _invoke(arguments, begin, debug)
        sys.stdout.flush()
        return code
    except SystemExit as end:
        # rich ends the process where a pager has left in the middle of a help.
        if isinstance(end.__context__, BrokenPipeError):
            return EXIT_PIPE
        raise
    except BrokenPipeError:
        from relubench.cli.streams import drop_stdout

        drop_stdout()
        return EXIT_PIPE
    except (KeyboardInterrupt, Exception) as error:
        _trace(error, debug)
        if isinstance(error, KeyboardInterrupt) or interrupts.stop_requested():
            sys.stderr.write("interrupted\n")
            return EXIT_INTERRUPTED
        return _report_error(error)


def main() -> int:
    """The console script: `run` on the process's own arguments, streams and signals; returns the exit code."""
    interrupts.leave_at_once()
    # What is started by libraries must not import from the working folder either.
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    from relubench.cli.streams import end, prepare
    from relubench.system.processes import load_torch_elsewhere, working_folder_exists

    prepare()
    if not working_folder_exists():
        load_torch_elsewhere()
    # Files are drawn, nothing is shown: what this variable names may not even exist here.
    os.environ["MPLBACKEND"] = "agg"
    try:
        return run(sys.argv[1:], begin=interrupts.serve)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED  # A second one, while the first was served.
    finally:
        interrupts.ignore()
        end()


def _invoke(arguments: list[str], begin: Callable[[], None], debug: bool) -> int:
    import typer

    from relubench.cli.app import app

    if "_RELUBENCH_COMPLETE" in os.environ:
        app(arguments, prog_name="relubench")
    # Not `app(...)`: it would print Typer's boxes for an error and swallow a closed pipe.
    command = typer.main.get_command(app)
    try:
        with command.make_context("relubench", arguments) as context:
            begin()
            command.invoke(context)
    except typer.Exit as end:
        # An interruption that a command has answered already.
        _trace(end.__cause__, debug)
        return end.exit_code
    except typer.Abort:
        return EXIT_INTERRUPTED
    return 0


def _report_error(error: Exception) -> int:
    """Write an exception as two lines for the user; returns its exit code."""
    from relubench.cli.errors import as_relubench_error, two_lines

    user_error = as_relubench_error(error)
    # It cannot fail: stderr swallows what it cannot write.
    sys.stderr.write(two_lines(user_error))
    if isinstance(error, OSError):
        from relubench.cli.streams import drop_stdout

        drop_stdout()
    return user_error.exit_code


def _trace(error: BaseException | None, debug: bool) -> None:
    """Print where an error came from, under --debug."""
    if debug and error is not None:
        import traceback

        traceback.print_exception(error)


if __name__ == "__main__":
    sys.exit(main())
