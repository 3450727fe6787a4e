"""`relubench show`: pictures of what there is, samples of a data set and the layers of a stored run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relubench.cli import completion, options, output
from relubench.cli.runs import show_record
from relubench.cli.study import quietly
from relubench.data.notes import printable
from relubench.errors import UsageError
from relubench.runs.run_ids import find_run
from relubench.runs.task_names import LANGUAGE
from relubench.system.lookup import find
from relubench.system.output_files import check_file, save_file
from relubench.system.paths import user_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from relubench.data import PreparedData, Split
    from relubench.data.samples import Samples
    from relubench.experiments.sections import DataSection
    from relubench.runs.store import Store

COUNT = 100
SHOWN_KEYS = ("image_size", "train_size", "split", "labels", "context")
"""Of the configuration's data section, what decides about the images."""

show = typer.Typer(
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
    help="What there is, in numbers and pictures: a data set, the layers of a run.",
)


@show.callback()
def choose(ctx: typer.Context) -> None:
    """What there is, in numbers and pictures: a data set, the layers of a run."""
    if ctx.invoked_subcommand is None:
        raise UsageError("show needs to know what to show", "for example `relubench show data mnist`")


DataName = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        autocompletion=completion.datasets,
        help="A name of `relubench list datasets`, NAME+nistp, a .npz or text file, or a folder of images or texts.",
    ),
]
SplitName = Annotated[str, typer.Option("--split", metavar="train|valid|test", help="Which part. Default: train.")]
Count = Annotated[
    int | None, typer.Option("--count", metavar="N", help="How many images. Default: 100, or all of a smaller part.")
]
Seed = Annotated[int, typer.Option("--seed", metavar="S", help="Which images are drawn. Default: 0.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY.PATH=VALUE",
        help="What decides about the images: data.image_size, data.train_size, data.split, data.labels, of a text "
        "data.context; give it several times.",
    ),
]
SheetFile = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="FILE.png",
        callback=options.expanded,
        help="The file to write; one that is there is replaced. Default: NAME.png in the current folder, where no file "
        "but an earlier sheet is replaced.",
    ),
]


@show.command("data")
def data(
    name: DataName,
    split: SplitName = "train",
    count: Count = None,
    seed: Seed = 0,
    assignments: Assignments = None,
    data_dir: options.DataDir = None,
    output_file: SheetFile = None,
    format: options.Format = None,
    quiet: options.Quiet = False,
) -> None:
    """Print what a data set holds, and what to know about it; write samples of it into a PNG, ordered by class.

    Perturbed images stand beside their originals. Flat rows have no picture.
    """
    part = _part(split)
    _check_drawing(count, seed)
    target = output.choose(format, None)
    path = _sheet_path(name, output_file)
    prepared, base = _prepared(name, _section(name, assignments or []), data_dir, quiet)
    # Flat rows are refused only where a picture was asked for.
    has_sheet = len(prepared.input_shape) == 3 or count is not None or output_file is not None
    if has_sheet:
        from relubench.data.samples import draw_samples

        num_images = min(COUNT, _images_of(prepared, part)) if count is None else count
        samples = draw_samples(prepared, part, num_images, seed, base)
        save_file("--output", path, _sheet(prepared, part, samples, base))
    _print(prepared, str(path) if has_sheet else None, target, quietly if quiet else output.say)


def _part(name: str) -> Split:
    """The part of a data set of this name; raises UsageError with near names."""
    from relubench.data.split_arrays import SPLITS

    parts: dict[str, Split] = {split: split for split in SPLITS}
    return find(name, parts, kind="split", see=f"splits are {', '.join(SPLITS)}")


def _check_drawing(count: int | None, seed: int) -> None:
    if count is not None and count < 1:
        raise UsageError(f"--count must be at least 1, got {count}", "for example --count 100")
    if seed < 0:
        raise UsageError(f"--seed must be at least 0, got {seed}", "for example --seed 0")


def _sheet_path(name: str, output_file: Path | None) -> Path:
    """The file of the sheet; raises UsageError where it could not be written."""
    path = output_file or Path(printable(f"{user_path(name).resolve().name.removesuffix('.npz')}.png"))
    if path.suffix.lower() != ".png":
        raise UsageError(f"--output {path}: the sheet is a PNG", "end the file's name in .png")
    check_file("--output", path)
    if output_file is None and path.is_file() and not _is_own_sheet(path):
        raise UsageError(f"{path} is there already, and relubench did not write it", "--output FILE.png names another")
    return path


def _is_own_sheet(path: Path) -> bool:
    """Whether a PNG says in its first chunks that relubench wrote it."""
    from relubench.reports.plots.image_sheet import SOFTWARE

    with path.open("rb") as file:
        return SOFTWARE.encode() in file.read(2000)


def _print(prepared: PreparedData, sheet: str | None, target: output.Target, note: Callable[[str], None]) -> None:
    """The report on stdout; where its format has no room for lines around the rows, those on stderr."""
    from relubench.data import lines_about
    from relubench.reports.dataset import dataset_report

    if not target.human_readable:
        for line in lines_about([prepared]):
            note(line)
        kind = "a text" if prepared.context is not None else "flat rows"
        note(f"samples are drawn in {sheet}" if sheet else f"{kind}: there is no picture to show")
    output.emit_report(dataset_report(prepared, sheet), target)


def _images_of(prepared: PreparedData, split: Split) -> int:
    """How many images a part has."""
    return {"train": prepared.n_train, "valid": prepared.n_valid, "test": prepared.n_test}[split]


RecordFormat = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="FMT",
        autocompletion=completion.formats,
        help="Print the run's settings and learning curve in this format instead of drawing it: table, tsv, csv, json, "
        "jsonl, markdown, latex. Default: draw.",
    ),
]


@show.command("run")
def run_(
    run: Annotated[str, typer.Argument(metavar="ID", help="The run's id, or as much of its beginning as is unique.")],
    folder: Annotated[
        Path,
        typer.Option(
            "--output",
            metavar="DIR",
            callback=options.expanded,
            help="The folder that the PNG files go to. Default: this one.",
        ),
    ] = Path(),
    data_dir: options.DataDir = None,
    runs_dir: options.RunsDir = None,
    format: RecordFormat = None,
    quiet: options.Quiet = False,
) -> None:
    """Draw a run as PNG: the filters of its first layer, reconstructions of images if it was pre-trained or is an
    autoencoder, images that it draws if it is a VAE, and the linear regions on a plane through three images if it is a
    piecewise-linear mlp. Of a run on a text, print a text that its network writes.

    stdout has the names of the files, or the text; with --format the run's record instead, and nothing is drawn.
    """
    if format is not None:
        show_record(run, runs_dir, output.choose(format, None))
        return
    if not folder.is_dir():
        raise UsageError(f"--output {folder} is no folder", f"make it first: mkdir -p {folder}")
    check_file("--output", folder / f"{run}.png")
    from relubench.reports.plots.run_pictures import draw_run
    from relubench.runs.store import Store
    from relubench.system.paths import runs_root

    store = Store(runs_root(runs_dir))
    note = quietly if quiet else output.say
    full_id = find_run(run, store.ids())
    if (stored := store.result(full_id)) is not None and stored.spec.get("task") == LANGUAGE:
        _print_sample(store, full_id, note)
        return
    files = draw_run(store, full_id, folder, data_dir, note)
    output.emit("\n".join(str(file) for file in files), output.Target(format="tsv"))


def _print_sample(store: Store, run: str, note: Callable[[str], None]) -> None:
    """A text that the run's network writes, on stdout."""
    from relubench.experiments.text_samples import TEMPERATURE, sample_text

    note(f"drawn from {run} at temperature {TEMPERATURE:g}, after a line break")
    output.emit(sample_text(store, run), output.Target(format="tsv"))


def _section(name: str, assignments: list[str]) -> DataSection:
    """The configuration's data section; raises UsageError for a key that decides nothing about the images."""
    from relubench.experiments import config

    values = config.parse_assignments(assignments)
    section = values.get("data")
    allowed = [f"data.{key}" for key in SHOWN_KEYS]
    inner = [f"data.{key}" for key in section] if isinstance(section, dict) else ["data"] if "data" in values else []
    for key in [*(key for key in values if key != "data"), *inner]:
        if key not in allowed:
            raise UsageError(f"--set {key} means nothing to `show data`", f"what decides: {', '.join(allowed)}")
    return config.experiment(values, {"data": {"name": name}}).data


def _prepared(
    name: str, section: DataSection, data_dir: Path | None, quiet: bool
) -> tuple[PreparedData, PreparedData | None]:
    """The data set, and of a perturbed one the set it was made of."""
    from relubench.data import prepare
    from relubench.data.preparation import base_of
    from relubench.experiments.plan import data_options

    say = None if quiet else output.say
    prepared = prepare(name, data_dir=data_dir, options=data_options(section), progress=say)
    base = base_of(name)
    return prepared, prepare(base, data_dir=data_dir, progress=say) if base else None


def _sheet(prepared: PreparedData, split: Split, samples: Samples, base: PreparedData | None) -> bytes:
    """The PNG of the samples."""
    from relubench.data.facts import PART_NAMES
    from relubench.reports.plots.image_sheet import image_sheet

    title = f"{prepared.name}: {len(samples.labels):,} of {_images_of(prepared, split):,} {PART_NAMES[split]} images"
    if base is not None:
        title += ", each beside its original (left)"
    elif samples.images.shape[1] == 2:
        title += ", both channels side by side"
    if samples.values != (0.0, 1.0):
        low, high = samples.values
        title += f", black {low:.3g} to white {high:.3g}"
    counts = Counter(int(label) for label in samples.labels)
    num_each = next(iter(counts.values()))
    # A row for each class where all have equally many.
    is_even = len(counts) > 1 and len(set(counts.values())) == 1 and 4 <= num_each <= 20
    captions = [str(label) for label in samples.labels]
    return image_sheet(samples.images, num_each if is_even else None, captions=captions, title=title)
