"""The download of a data set's files, into a staging folder first, so that a data folder never holds half a file.

The staging folder, .relubench-NAME beside the data, is gone afterwards, whether the download succeeded or failed. Only
the first part of a file that can be resumed stays in it, as FILE.part.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from relubench.data.files.cache import Log, disk_full_as_error, is_full, locked
from relubench.data.files.checksums import damage_errors
from relubench.data.files.download import PART, download
from relubench.data.files.locate import SourceFiles, download_root, search
from relubench.data.source_row import SourceRow
from relubench.errors import DataError
from relubench.system.lookup import load_target
from relubench.system.paths import user_path

TIMEOUT_S = 30.0
"""How long a connection may stay silent."""


def offline() -> bool:
    """Whether RELUBENCH_OFFLINE forbids downloads."""
    return os.environ.get("RELUBENCH_OFFLINE", "0") not in ("", "0")


def _http_error() -> type[Exception]:
    import http.client

    return http.client.HTTPException


def fetch(row: SourceRow, data_dir: Path | None, looked_in: Sequence[Path], log: Log | None) -> SourceFiles:
    """The files of `row`, downloaded to --data-dir if it can be written, else to the cache's data folder.

    Of several processes one downloads, the others wait and find the files. Raises DataError, with all folders searched
    and the way to place the files by hand, if RELUBENCH_OFFLINE is set or the download fails.
    """
    remarks = search(row, looked_in).remarks
    if not (row.download or row.remote):
        raise absence_error(row, looked_in, remarks, "it cannot be downloaded")
    if offline():
        raise absence_error(row, looked_in, remarks, "RELUBENCH_OFFLINE forbids downloading it")
    note = log or (lambda _: None)
    root = _writable_root(row, data_dir, looked_in, note)
    staging = root / f".relubench-{row.name}"
    lock = root / f".relubench-{row.name}.lock"
    with locked(lock, f"another process is downloading {row.name}: waiting", note, leave=False):
        try:
            if (source := search(row, [root]).source) is not None:
                return source
            note(f"downloading {row.name} from {row.url} to {root}")
            with disk_full_as_error(f"the download of {row.name}", root), _bounded_and_quiet(quiet=log is None):
                _download(row, staging, root, note)
        except (*damage_errors(), RuntimeError, _http_error()) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise absence_error(row, looked_in, remarks, f"downloading it failed: {reason}") from error
        finally:
            _remove_leftovers(staging)
    source = search(row, [root]).source
    assert source is not None, f"{row.name} was downloaded, but is not found in {root}"
    return source


def absence_error(row: SourceRow, looked_in: Sequence[Path], remarks: Sequence[str], why: str) -> DataError:
    """The error for a missing data set: the folders searched, why it was not downloaded, what to do."""
    places = ", ".join(str(root / row.folders[0]) for root in looked_in) or f"the package {row.package}"
    partial = f" ({'; '.join(remarks)})" if remarks else ""
    if row.package in sys.stdlib_module_names:
        hint = f"{row.package} is a part of Python's own library: install the whole of Python"
    elif row.package:
        hint = f"pip install --force-reinstall {row.package}: its data files are missing"
    else:
        hint = f"put {row.place} under a data folder (--data-dir or RELUBENCH_DATA_DIR); get it from {row.url}"
    return DataError(f"{row.name} is not in {places}{partial}, and {why}", hint)


def _writable_root(row: SourceRow, data_dir: Path | None, looked_in: Sequence[Path], log: Log) -> Path:
    reason = ""
    for root in dict.fromkeys((*(() if data_dir is None else (user_path(data_dir),)), download_root())):
        try:
            (root / f".relubench-{row.name}").mkdir(parents=True, exist_ok=True)
            return root
        except OSError as error:
            if is_full(error):
                raise
            reason = f"{root} cannot be written: {error.strerror}"
            log(reason)
    raise absence_error(row, looked_in, (), f"there is no place to download it to: {reason}")


@contextlib.contextmanager
def _bounded_and_quiet(*, quiet: bool) -> Iterator[None]:
    """A block in which a silent connection times out and nothing reaches stdout (nor stderr, if quiet)."""
    previous_timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_S)
    # stdout belongs to the result. Some torchvision versions print there; its progress bar goes to stderr.
    with contextlib.ExitStack() as stack:
        stack.callback(socket.setdefaulttimeout, previous_timeout)
        if quiet:
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield


def _download(row: SourceRow, staging: Path, root: Path, log: Log) -> None:
    """Downloads what `root` lacks. Each of a row's remote files is moved there as soon as it is complete."""
    if not row.remote:
        load_target(row.download)(row, staging)
        _move_in(row, staging, root)
        return
    target = root / row.folders[0]
    roles = zip(row.remote, row.file_sets[0], strict=True)
    missing_files = [remote for remote, role in roles if not any((target / name).is_file() for name in role)]
    for path in download(missing_files, staging, log):
        target.mkdir(parents=True, exist_ok=True)
        path.rename(target / path.name)


def _move_in(row: SourceRow, staging: Path, root: Path) -> None:
    downloaded = search(row, [staging]).source
    assert downloaded is not None, f"{row.download} left no complete set of files of {row.name}"
    for _, path in downloaded.files:
        target = root / path.relative_to(staging)
        target.parent.mkdir(parents=True, exist_ok=True)
        # A file that exists is the user's: it is not replaced, and verified like the rest when it is read.
        if not target.exists():
            path.rename(target)


def _remove_leftovers(staging: Path) -> None:
    """Removes the staging folder, except for part files, which the next attempt resumes."""
    for path in sorted(staging.rglob("*"), reverse=True):
        with contextlib.suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            elif path.suffix != PART:
                path.unlink()
    with contextlib.suppress(OSError):
        staging.rmdir()
