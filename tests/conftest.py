"""Every test has run, cache and data folders of its own; the real MNIST is used where RELUBENCH_DATA_DIR holds it.

`--vector-bytes 16` (or 32) lets the generated kernels see a processor with narrower vectors than this one has.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Read once, before any test sets its own: where the real data is, if anywhere.
REAL_DATA = os.environ.get("RELUBENCH_DATA_DIR")

WIDE_FEATURES = {16: ("avx", "fma", "f16c", "vaes", "vpclmulqdq", "gfni", "xop"), 32: ("avx512", "avx10")}
"""By vector bytes: how the names of the processor features begin that need wider vectors."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--vector-bytes",
        type=int,
        choices=sorted(WIDE_FEATURES),
        help="Generate kernels as on a processor whose vectors have this many bytes.",
    )
    parser.addoption("--rewrite-frozen", action="store_true", help="Write the files of tests/frozen anew.")


def pytest_configure(config: pytest.Config) -> None:
    """Hide the processor's wider vectors from the compiler, so that the tests of the kernels see a narrower machine."""
    if (vector_bytes := config.getoption("--vector-bytes")) is None:
        return
    from llvmlite import binding

    hidden = WIDE_FEATURES[vector_bytes] + (WIDE_FEATURES[32] if vector_bytes == 16 else ())
    features = binding.get_host_cpu_features()
    for name in features:
        if name.startswith(hidden):
            features[name] = False
    binding.get_host_cpu_features = lambda: features


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
def real_mnist() -> Path:
    """The folder with the real MNIST; skips without one, and in CI fails where one is named and holds none."""
    if REAL_DATA and any(Path(REAL_DATA).rglob("train-images-idx3-ubyte*")):
        return Path(REAL_DATA)
    if REAL_DATA and os.environ.get("CI") == "true":
        pytest.fail(f"RELUBENCH_DATA_DIR={REAL_DATA} holds no MNIST")
    pytest.skip("needs the real MNIST: set RELUBENCH_DATA_DIR to a folder that holds its files")
