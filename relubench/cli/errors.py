"""Any exception as two lines for the user: `error:` the rule and the value, `hint:` what to do."""

from __future__ import annotations

import errno
import os
from typing import Any

import typer

from relubench.errors import EXIT_USAGE, ComputeError, RelubenchError, UsageError
from relubench.system.lookup import did_you_mean

_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_BAD_PATH = frozenset({errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EILSEQ})
_NO_ACCESS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})

LONGEST_LINE = 1000
"""Characters of an error's line."""

LONGEST_PATH = 200
"""Characters of a path that an error shows."""


def two_lines(error: RelubenchError) -> str:
    """The two lines that stderr shows of an error; line breaks inside them become spaces."""
    parts = [shortened(" ".join(part.split("\n")).strip()) for part in (error.message, error.hint)]
    return f"error: {parts[0]}\nhint: {parts[1]}\n"


def shortened(text: str) -> str:
    """The text, or its beginning and its end where it repeats thousands of characters of what the user gave."""
    if len(text) <= LONGEST_LINE:
        return text
    return f"{text[: LONGEST_LINE - 200]} ... ({len(text):,} characters) ... {text[-100:]}"


def as_relubench_error(error: BaseException) -> RelubenchError:
    """The error for the user that stands for an exception."""
    if isinstance(error, RelubenchError):
        return error
    if isinstance(error, typer.TyperException):
        return _of_command_line(error)
    if isinstance(error, ImportError) and _lacks_memory(error):
        from relubench.system.device import too_few_addresses

        return too_few_addresses()
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
    if isinstance(error, OSError) and error.errno is not None:
        return _of_file_system(error)
    if isinstance(error, ValueError) and "embedded null" in str(error):
        return UsageError("a path has a null character in it", "write the path without it")
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return ComputeError(f"internal error: {text}", "run again with --debug for the traceback and report it")


def _lacks_memory(error: ImportError) -> bool:
    from relubench.system.device import is_out_of_addresses

    return is_out_of_addresses(error)


def _of_file_system(error: OSError) -> RelubenchError:
    """The error for what the system reports of a path or a disk; a usage error where no disk would take the path."""
    reason = (error.strerror or str(error)).lower()
    if error.errno in _BAD_PATH:
        return UsageError(
            f"the path{_of_file(error)} cannot be used: {reason}", "check each folder of it, and its length"
        )
    return ComputeError(
        f"the system reports: {reason}{_of_file(error)}", "check the disk; --debug shows where it was met"
    )


def _of_command_line(error: typer.TyperException) -> RelubenchError:
    """Typer's own refusals: an unknown option, a missing or a bad value, too many arguments."""
    context = getattr(error, "ctx", None)
    see = f"see `{context.command_path} --help`" if context else "see `relubench --help`"
    name = getattr(error, "option_name", None)
    if name and hasattr(error, "possibilities"):
        command = f" in `{context.command_path}`" if context else ""
        return UsageError(f"there is no option {name}{command}", did_you_mean(name, _options(context), see))
    if name:
        return UsageError(f"{name} needs a value", f"write it as {name} VALUE")
    text = error.format_message().strip().rstrip(".")
    if "unexpected extra argument" in text and "--act" in _options(context):
        see = f"names are split at commas, without spaces: --act relu,gelu; {see}"
    user_error = UsageError(text[:1].lower() + text[1:], see)
    user_error.exit_code = error.exit_code or EXIT_USAGE
    return user_error


def _options(context: Any) -> list[str]:
    """The long options of the command that refused its arguments."""
    parameters = context.command.params if context else []
    return [name for parameter in parameters for name in parameter.opts if name.startswith("--")]


def _of_file(error: OSError) -> str:
    if not error.filename:
        return ""
    text = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(error.filename)
    return f" {text}" if len(text) <= LONGEST_PATH else f" {text[:LONGEST_PATH]}... ({len(text):,} characters)"
