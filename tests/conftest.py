"""Every test has run, cache and data folders of its own; the real MNIST is used where RELUBENCH_DATA_DIR holds it.

`pytest -m quick` runs the files of QUICK alone. `--vector-bytes 16` (or 32) lets the generated kernels see a processor
with narrower vectors than this one has.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent

# Read once, before any test sets its own: where the real data is, if anywhere.
REAL_DATA = os.environ.get("RELUBENCH_DATA_DIR")

WIDE_FEATURES = {16: ("avx", "fma", "f16c", "vaes", "vpclmulqdq", "gfni", "xop"), 32: ("avx512", "avx10")}
"""By vector bytes: how the names of the processor features begin that need wider vectors."""

QUICK = (
    "models/test_architecture.py",
    "experiments/test_config.py",
    "system/test_files.py",
    "experiments/test_study_data.py",
    "runs/test_pretrained_file.py",
    "runs/test_store.py",
    "experiments/test_l1_range.py",
    "activations/test_builder.py",
    "activations/test_finite_differences.py",
    "activations/test_formula.py",
    "activations/test_functions.py",
    "activations/test_layers.py",
    "activations/test_selection.py",
    "activations/test_table.py",
    "activations/test_typed.py",
    "cli/test_progress.py",
    "cli/test_train.py",
    "training/test_augmentation.py",
    "data/test_digits.py",
    "data/test_perturbation.py",
    "data/test_reading.py",
    "data/test_samples.py",
    "data/test_split.py",
    "data/test_table.py",
    "data/test_user.py",
    "training/test_confirmation.py",
    "training/test_prober.py",
    "training/test_region_plane.py",
    "frozen/test_flags.py",
    "models/test_activation_swap.py",
    "models/test_written_into.py",
    "models/test_object_code.py",
    "experiments/test_preset_document.py",
    "experiments/test_preset_resolve.py",
    "training/test_denoising.py",
    "reports/test_gradients.py",
    "experiments/test_references.py",
    "reports/test_render.py",
    "reports/test_sheet.py",
    "reports/test_speed.py",
    "reports/test_summary.py",
    "reports/test_verdicts.py",
    "timing/test_arithmetic.py",
    "timing/test_machine.py",
    "timing/test_request.py",
    "statistics/test_timings.py",
    "verification/test_check.py",
)
"""The files whose tests `pytest -m quick` runs, some of every part: together they take under a minute on two cores."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--vector-bytes",
        type=int,
        choices=sorted(WIDE_FEATURES),
        help="Generate kernels as on a processor whose vectors have this many bytes.",
    )
    parser.addoption("--rewrite-frozen", action="store_true", help="Write the files of tests/frozen anew.")


def pytest_configure(config: pytest.Config) -> None:
    """Check QUICK, share out the processor's threads, and hide wide vectors from the compiler if that was asked for."""
    missing = [name for name in QUICK if not (HERE / name).is_file()]
    if missing:
        raise pytest.UsageError(f"QUICK in tests/conftest.py names what is not there: {', '.join(missing)}")
    # Hundreds of processes would compile the package anew where none may write what it compiled.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    if config.option.markexpr == "quick" or workers > 1:
        # Two workers with two threads each would wait for one another: that takes three times the processor's time.
        threads = 1 if config.option.markexpr == "quick" else max(1, (os.cpu_count() or 1) // workers)
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    if (vector_bytes := config.getoption("--vector-bytes")) is None:
        return
    from llvmlite import binding

    hidden = WIDE_FEATURES[vector_bytes] + (WIDE_FEATURES[32] if vector_bytes == 16 else ())
    features = binding.get_host_cpu_features()
    for name in features:
        if name.startswith(hidden):
            features[name] = False
    binding.get_host_cpu_features = lambda: features


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the other files unread where only quick tests are wanted: that is half of the time."""
    other = collection_path.suffix == ".py" and not _is_quick(collection_path)
    return True if config.option.markexpr == "quick" and other else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of QUICK their marker, but for the slow ones."""
    for item in items:
        if _is_quick(item.path) and item.get_closest_marker("slow") is None:
            item.add_marker("quick")


def pytest_collection_finish() -> None:
    """Let the collector of cycles leave out what the session holds to its end: it runs after every job that trains."""
    gc.freeze()


def _is_quick(path: Path) -> bool:
    return path.is_relative_to(HERE) and path.relative_to(HERE).as_posix() in QUICK


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for the whole session, so that a data set is prepared once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests away from the user's own runs and caches."""
    monkeypatch.setenv("RELUBENCH_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("RELUBENCH_CACHE_DIR", str(shared_cache))
    monkeypatch.delenv("NO_COLOR", raising=False)
    # A test of --debug leaves it in this process, for workers to inherit.
    monkeypatch.delenv("RELUBENCH_DEBUG", raising=False)


@pytest.fixture
def train_here() -> Iterator[None]:
    """Studies train in this process, where no worker is the point."""
    from tests.cli.fakes import training_here

    with training_here():
        yield


@pytest.fixture
def real_mnist() -> Path:
    """The folder with the real MNIST; skips without one, and in CI fails where one is named and holds none."""
    if REAL_DATA and any(Path(REAL_DATA).rglob("train-images-idx3-ubyte*")):
        return Path(REAL_DATA)
    if REAL_DATA and os.environ.get("CI") == "true":
        pytest.fail(f"RELUBENCH_DATA_DIR={REAL_DATA} holds no MNIST")
    pytest.skip("needs the real MNIST: set RELUBENCH_DATA_DIR to a folder that holds its files")
