"""From a name to a prepared data set: find the source files, digest them, parse them if there is no copy. Torch-free.

Parsing (torchvision, scikit-learn) is imported late: where a prepared copy exists, nothing heavy is loaded.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from relubench.data.files import digest
from relubench.data.files.cache import (
    Log,
    disk_full_as_error,
    locked,
    prepared_roots,
    scratch,
    writable_root,
    write_copy,
)
from relubench.data.files.fetch import fetch
from relubench.data.files.locate import checked_folder, roots_of, search
from relubench.data.notes import printable
from relubench.data.number_tables import scaled_picture
from relubench.data.perturbations import perturbed_sets, pipeline
from relubench.data.prepared import PREPARATION_VERSION, DataOptions, PreparedData, is_whole, read
from relubench.data.request import Request, slug
from relubench.data.source_row import LANGUAGE, PERTURBED, SourceRow, perturbed_row
from relubench.data.split import check_labels, check_train_size, limit_labels, limit_train
from relubench.data.split_arrays import SplitArrays
from relubench.data.table import NOT_PUBLIC, TABLE, split_row
from relubench.data.text_windows import windowed
from relubench.data.user_files import FILES, check_no_columns
from relubench.errors import WARNING, DataError, UsageError
from relubench.system import lookup

SEE = (
    "`relubench list datasets` shows them all; data of your own are ./file.npz, ./table.csv, ./photo.png, ./text.txt "
    "or ./folder/"
)


def prepare(
    name: str,
    *,
    data_dir: Path | None = None,
    options: DataOptions | None = None,
    progress: Log | None = None,
    check: bool = False,
) -> PreparedData:
    """The prepared data set called `name`: a row of TABLE, NAME+nistp, or a file or folder of the user's own.

    `progress` receives one line per notable step; without it downloads are silent too. `check`: verify the files of a
    prepared copy, and make a damaged one anew. Raises UsageError (unknown name, options that do not fit), DataError
    (missing, truncated, altered or malformed files), ComputeError (no room, torchvision unusable).
    """
    try:
        return _prepare(name, data_dir, options or DataOptions(), progress, check)
    except PermissionError as error:
        raise DataError(
            f"{error.filename or name} may not be read: {error.strerror}", "check who owns it, and its permissions"
        ) from error


def _prepare(name: str, data_dir: Path | None, options: DataOptions, progress: Log | None, check: bool) -> PreparedData:
    log = progress or (lambda _: None)
    prepared = _load_or_make(_request(name, data_dir, options, progress), options, log, check)
    return windowed(limit_labels(replace(prepared, options=options)))


def _load_or_make(request: Request, options: DataOptions, log: Log, check: bool = False) -> PreparedData:
    """The prepared copy of `request`, made if there is none; with `check` also if it is damaged."""
    for root in prepared_roots():
        if (prepared := _read_copy(request, root, check)) is not None:
            return prepared
    with disk_full_as_error(f"the prepared copy of {request.name}", prepared_roots()[0]):
        root = writable_root(log)
        with locked(root / f".{request.key}.lock", f"another process is preparing {request.name}: waiting", log):
            return _read_copy(request, root, check) or _make_copy(request, root, options, log)


def prepared_already(
    name: str, *, data_dir: Path | None = None, options: DataOptions | None = None
) -> PreparedData | None:
    """The prepared data set called `name` if there is a copy; nothing is downloaded, parsed or written."""
    if not status(name, data_dir).startswith("present"):
        return None
    request = _request(name, data_dir, options or DataOptions(), None)
    copies = (prepared for root in prepared_roots() if (prepared := _read_copy(request, root)) is not None)
    prepared = next(copies, None)
    return windowed(replace(prepared, options=options or DataOptions())) if prepared is not None else None


def status(name: str, data_dir: Path | None = None) -> str:
    """'present at PATH', 'absent', or 'incomplete: ...': whether the source files of `name` are there (unverified)."""
    if is_user_data(name):
        path = user_data_path(name)
        return f"present at {path}" if path.exists() else "absent"
    row = row_of(name)
    result = search(row, roots_of(row, data_dir))
    if result.source is not None:
        return f"present at {result.source.folder}"
    return f"incomplete: {'; '.join(result.remarks)}" if result.remarks else "absent"


def _request(name: str, data_dir: Path | None, options: DataOptions, progress: Log | None) -> Request:
    if data_dir is not None:
        checked_folder(data_dir)
    if is_user_data(name):
        # Late: a user's own data are the rarer case.
        from relubench.data.sources.user import request_of

        _check_user_options(name, options)
        return request_of(printable(name), user_data_path(name), options)
    row = row_with(name, options)
    # Before anything is downloaded.
    check_counts(row, options)
    make = _request_of_perturbed if row.base else _request_of_row
    return make(row, data_dir, options, progress)


def row_with(name: str, options: DataOptions) -> SourceRow:
    """The table's row with the split and, of a picture to fit, the size that the options ask for."""
    row = split_row(row_of(name), options.split)
    return scaled_picture(row, options.image_size) if row.side and options.image_size else row


def check_counts(row: SourceRow, options: DataOptions) -> None:
    """Raises UsageError for options that the set `row` cannot meet; those of a text are checked with its windows."""
    check_no_columns(row.name, options)
    if options.task != "auto":
        raise UsageError(f"data.task is for data of your own: {row.name} poses {row.task}", "leave it out")
    if row.task == LANGUAGE:
        for option, value in (("data.labels", options.labels), ("data.image_size", options.image_size)):
            if value is not None:
                raise UsageError(f"{option} is for images, and {row.name} is a text", f"leave {option} out")
        return
    if options.context is not None:
        raise UsageError(f"--context belongs to texts, and {row.name} is none", "leave --context out")
    if options.image_size is not None and not row.side:
        width = f"the images of {row.name} are all {row.input_shape[-1]} pixels wide"
        reason = width if len(row.input_shape) == 3 else f"{row.name} is a table"
        raise UsageError(f"image_size is for folders of images: {reason}", "leave image_size out")
    if options.train_size is not None and not row.base:
        check_train_size(options.train_size, row.n_train, row.name)
    if options.labels is not None:
        check_labels(options.labels, options.train_size or row.n_train, row.name)


def base_of(name: str) -> str:
    """The name of the set whose images are perturbed to make `name`; empty for any other set."""
    return "" if is_user_data(name) else row_of(name).base


def row_of(name: str) -> SourceRow:
    """The table's row called `name`, or that of NAME+nistp; raises UsageError with near names if there is none.

    Case and hyphens do not count: MNIST is mnist, and cifar-10 is cifar10.
    """
    if (name := lookup.spelled(name, NOT_PUBLIC)) in NOT_PUBLIC:
        raise UsageError(f"{name} is not public: it cannot be run", "`relubench list references` has what is published")
    stem = lookup.spelled(name.removesuffix(PERTURBED), TABLE)
    if not name.endswith(PERTURBED):
        return lookup.find(stem, TABLE, kind="data set", see=SEE)
    if stem not in TABLE:
        near = lookup.did_you_mean(name, [row.name + PERTURBED for row in TABLE.values() if row.perturbable], SEE)
        raise UsageError(f"there is no data set called {stem!r} to perturb", near)
    return perturbed_row(TABLE[stem])


def is_user_data(name: str) -> bool:
    """Whether `name` is a user's file or folder; a name of the table never means a folder of that name."""
    if name in TABLE:
        return False
    return "/" in name or name.startswith("~") or name.lower().endswith(FILES) or user_data_path(name).is_dir()


def user_data_path(name: str) -> Path:
    """The path of a user's own data; raises DataError for a text that cannot be a path."""
    try:
        path = Path(name).expanduser()
        # Of a path that is too long, or holds a zero byte, the system says so here.
        path.is_dir()
        return path
    except (OSError, RuntimeError, ValueError) as error:
        text = name if len(name) <= 100 else f"{name[:100]}..."
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{text} cannot be a file or folder: {reason}", "check the path") from error


def _check_user_options(name: str, options: DataOptions) -> None:
    """Raises UsageError for options that only sets of the table have."""
    if options.split != "standard":
        raise UsageError(f"data.split {options.split}: {name} is split by its own folders or arrays", "leave it out")
    if name.endswith(PERTURBED):
        raise UsageError(
            f"{PERTURBED} goes with the grey sets of the table, not with {name}", "for example mnist+nistp"
        )


def _request_of_row(row: SourceRow, data_dir: Path | None, options: DataOptions, progress: Log | None) -> Request:
    roots = roots_of(row, data_dir)
    source = search(row, roots).source or fetch(row, data_dir, roots, progress)
    if data_dir is not None and not row.package and source.root != roots[0] and progress is not None:
        progress(f"{row.name} is not in --data-dir {data_dir}: using {source.folder}")
    identity = {
        "version": PREPARATION_VERSION,
        "name": row.name,
        "split": row.split,
        "sizes": [row.n_train, row.n_valid, row.n_test],
        "train_size": None if row.task == LANGUAGE else options.train_size,
        "source": digest.of_files(source.files),
    }
    return Request(
        name=row.name,
        slug=row.name,
        digest=digest.of_value(identity),
        origin=f"{row.name} ({row.citation}) from {source.folder}",
        load=lambda work: lookup.load_target(row.target)(row, source, work),
        # The windows of a text are counted when it is cut into them.
        sized=row.task == LANGUAGE,
        task=row.task,
    )


def _request_of_perturbed(row: SourceRow, data_dir: Path | None, options: DataOptions, progress: Log | None) -> Request:
    base, plain = _request_of_row(TABLE[row.base], data_dir, DataOptions(), progress), DataOptions()
    log = progress or (lambda _: None)

    def load(work: Path) -> SplitArrays:
        return perturbed_sets.load(row, _load_or_make(base, plain, log), options.train_size, work, log)

    identity = {
        "version": PREPARATION_VERSION,
        "pipeline": pipeline.PIPELINE_VERSION,
        "seed": perturbed_sets.SEED,
        "name": row.name,
        "split": row.split,
        "sizes": [options.train_size or row.n_train, row.n_valid, row.n_test],
        "source": base.digest,
    }
    return replace(
        base,
        name=row.name,
        slug=slug(row.name),
        digest=digest.of_value(identity),
        origin=f"{row.name}: the perturbations of NISTP (Bastien et al. 2010) on {base.origin}",
        load=load,
        sized=True,
    )


def _read_copy(request: Request, root: Path, check: bool = False) -> PreparedData | None:
    folder = root / request.key
    if check and not is_whole(folder, request.digest):
        return None
    prepared = read(folder, name=request.name, digest=request.digest, origin=request.origin, task=request.task)
    if prepared is None or prepared.facts is None:
        return prepared
    facts = replace(
        prepared.facts,
        notes=(*request.remarks.notes, *prepared.facts.notes),
        warnings=(*request.remarks.warnings, *prepared.facts.warnings),
    )
    return replace(prepared, facts=facts)


def _make_copy(request: Request, root: Path, options: DataOptions, log: Log) -> PreparedData:
    target = root / request.key
    damaged = f"{WARNING}the prepared copy {target} is damaged: making it again"
    log(damaged if target.exists() else f"preparing {request.name}")
    with scratch(root, request.key) as work:
        parts = request.load(work)
        if not request.sized:
            parts = limit_train(parts, options.train_size, request.name)
        write_copy(work, target, parts, request.digest)
    prepared = _read_copy(request, root)
    assert prepared is not None, f"{target} was written, but cannot be read back"
    return prepared
