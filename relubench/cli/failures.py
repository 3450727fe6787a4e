"""Every way to fail, said in the same two lines: `error:` the rule and the value, `hint:` what to do."""

from __future__ import annotations

import errno
from typing import Any

import typer

from relubench.errors import EXIT_USAGE, ComputeError, RelubenchError, UsageError
from relubench.lookup import did_you_mean

_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_ACCESS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def two_lines(error: RelubenchError) -> str:
    """What stderr shows of an error; line breaks inside its parts become spaces."""
    parts = [" ".join(part.split("\n")).strip() for part in (error.message, error.hint)]
    return f"error: {parts[0]}\nhint: {parts[1]}\n"


def as_relubench_error(error: BaseException) -> RelubenchError:
    """The error for the user that any exception comes to."""
    if isinstance(error, RelubenchError):
        return error
    if isinstance(error, typer.TyperException):
        return _of_command_line(error)
    if isinstance(error, MemoryError):
        return ComputeError("memory ran out", "use a smaller --batch-size or --model, or fewer --seeds at a time")
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return ComputeError(
            f"no space left on the disk{_of_file(error)}", "free some, or choose another --runs-dir or file"
        )
    if isinstance(error, OSError) and error.errno in _NO_ACCESS:
        return ComputeError(
            f"no permission to use{_of_file(error)}" if error.filename else str(error),
            "change its permissions, or choose another --runs-dir, --data-dir or RELUBENCH_CACHE_DIR",
        )
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return ComputeError(f"internal error: {text}", "run again with --debug for the traceback and report it")


def _of_command_line(error: typer.TyperException) -> RelubenchError:
    """Typer's own refusals: an unknown option, a missing or a bad value, too many arguments."""
    context = getattr(error, "ctx", None)
    see = f"see `{context.command_path} --help`" if context else "see `relubench --help`"
    name = getattr(error, "option_name", None)
    if name and hasattr(error, "possibilities"):
        return UsageError(
            f"there is no option {name}{_of_command(context)}", did_you_mean(name, _options(context), see)
        )
    if name:
        return UsageError(f"{name} needs a value", f"write it as {name} VALUE")
    text = error.format_message().strip().rstrip(".")
    refused = UsageError(text[:1].lower() + text[1:], see)
    refused.exit_code = error.exit_code or EXIT_USAGE
    return refused


def _of_command(context: Any) -> str:
    return f" in `{context.command_path}`" if context else ""


def _options(context: Any) -> list[str]:
    return [name for one in context.command.params for name in one.opts if name.startswith("--")] if context else []


def _of_file(error: OSError) -> str:
    return f" {error.filename}" if error.filename else ""
