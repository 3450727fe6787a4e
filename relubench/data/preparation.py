"""From a name to a prepared data set: find the source files, digest them, parse them only if nobody has. Torch-free.

Parsing (torchvision, scikit-learn) is imported late: where a prepared copy exists, nothing heavy is loaded.
"""

from __future__ import annotations

from pathlib import Path

from relubench import lookup
from relubench.data import digest
from relubench.data.cache import Say, disk_full_as_error, locked, prepared_roots, scratch, writable_root, write
from relubench.data.fetch import fetch
from relubench.data.locate import roots_of, search
from relubench.data.needs import resolve
from relubench.data.prepared import PREPARATION_VERSION, DataOptions, PreparedData, read
from relubench.data.request import Request
from relubench.data.split import check_train_size, limit_train
from relubench.data.table import TABLE, SourceRow
from relubench.errors import DataError, UsageError

SEE = "`relubench list datasets` shows them all; a file or folder of your own is ./file.npz or ./folder/"


def prepare(
    name: str, *, data_dir: Path | None = None, options: DataOptions | None = None, progress: Say | None = None
) -> PreparedData:
    """The prepared data set called `name`: a row of TABLE, ./file.npz, or ./folder/ of images.

    `progress` receives one line per notable step; without it downloads are silent too. Raises UsageError (unknown
    name, options that do not fit), DataError (missing, truncated, altered or malformed files), ComputeError (no room,
    torchvision unusable).
    """
    try:
        return _prepare(name, data_dir, options or DataOptions(), progress)
    except PermissionError as error:
        raise DataError(
            f"{error.filename or name} may not be read: {error.strerror}", "check who owns it, and its permissions"
        ) from error


def _prepare(name: str, data_dir: Path | None, options: DataOptions, progress: Say | None) -> PreparedData:
    say = progress or (lambda _: None)
    request = _request(name, data_dir, options, progress)
    for root in prepared_roots():
        if (there := _read(request, root)) is not None:
            return there
    with disk_full_as_error(f"the prepared copy of {name}", prepared_roots()[0]):
        root = writable_root(say)
        with locked(root / f".{request.key}.lock", f"another process is preparing {name}: waiting", say):
            return _read(request, root) or _make(request, root, options, say)


def prepared_already(
    name: str, *, data_dir: Path | None = None, options: DataOptions | None = None
) -> PreparedData | None:
    """The prepared data set called `name` if it is there; nothing is downloaded, parsed or written."""
    if not status(name, data_dir).startswith("present"):
        return None
    request = _request(name, data_dir, options or DataOptions(), None)
    return next((there for root in prepared_roots() if (there := _read(request, root)) is not None), None)


def status(name: str, data_dir: Path | None = None) -> str:
    """'present at PATH', 'absent', or 'incomplete: ...': whether the source files of `name` are there (unverified)."""
    if _is_own(name):
        path = Path(name).expanduser()
        return f"present at {path}" if path.exists() else "absent"
    row = lookup.find(name, TABLE, kind="data set", see=SEE)
    result = search(row, roots_of(row, data_dir))
    if result.found is not None:
        return f"present at {result.found.folder}"
    return f"incomplete: {'; '.join(result.remarks)}" if result.remarks else "absent"


def _request(name: str, data_dir: Path | None, options: DataOptions, progress: Say | None) -> Request:
    if _is_own(name):
        # Late: a user's own data are the rarer case.
        from relubench.data import folder, user

        path = Path(name).expanduser()
        return folder.request(name, path, options) if path.is_dir() else user.request(name, path, options)
    row = lookup.find(name, TABLE, kind="data set", see=SEE)
    if options.image_size is not None:
        raise UsageError(
            f"image_size is for folders of images: the images of {name} are all {row.input_shape[-1]} pixels wide",
            "leave image_size out",
        )
    if options.train_size is not None:
        check_train_size(options.train_size, row.n_train, name)
    return _of_table(row, data_dir, options, progress)


def _is_own(name: str) -> bool:
    """Whether `name` is a user's file or folder; a name of the table is never taken for a folder called alike."""
    return name not in TABLE and ("/" in name or name.endswith(".npz") or Path(name).is_dir())


def _of_table(row: SourceRow, data_dir: Path | None, options: DataOptions, progress: Say | None) -> Request:
    roots = roots_of(row, data_dir)
    found = search(row, roots).found or fetch(row, data_dir, roots, progress)
    if data_dir is not None and not row.package and found.root != roots[0] and progress is not None:
        progress(f"{row.name} is not in --data-dir {data_dir}: using {found.folder}")
    identity = {
        "version": PREPARATION_VERSION,
        "name": row.name,
        "split": row.split,
        "sizes": [row.n_train, row.n_valid, row.n_test],
        "train_size": options.train_size,
        "source": digest.of_files(found.files),
    }
    return Request(
        name=row.name,
        slug=row.name,
        digest=digest.of_value(identity),
        origin=f"{row.name} ({row.citation}) from {found.folder}",
        load=lambda work: resolve(row.target)(row, found, work),
    )


def _read(request: Request, root: Path) -> PreparedData | None:
    return read(root / request.key, name=request.name, digest=request.digest, origin=request.origin)


def _make(request: Request, root: Path, options: DataOptions, say: Say) -> PreparedData:
    target = root / request.key
    say(f"the prepared copy {target} is damaged: making it again" if target.exists() else f"preparing {request.name}")
    with scratch(root, request.key) as work:
        parts = limit_train(request.load(work), options.train_size, request.name)
        write(work, target, parts, request.digest)
    made = _read(request, root)
    assert made is not None, f"{target} was written, but cannot be read back"
    return made
