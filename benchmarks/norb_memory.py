"""Does NORB fit? `relubench train --act relu` on NORB files of true size and format, as .mat and as .mat.gz.

    python -m benchmarks.norb_memory --output benchmarks/results/norb-memory.json

NORB itself need not be here: its files are rendered, with the original names, headers and sizes, and with classes that
can be learned. Each form is then prepared and trained on by the command itself, in empty folders, and the anonymous
memory of all its processes together is read every 20 ms. Linux only. `--dataset norb-jittered-cluttered --labels 10000
--rendered 600` does the same with the paper's 36 files (8.2 GB on disk as .mat): rendering all of them takes half an
hour, and an epoch of all labels many minutes.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.machine import describe
from relubench.data.formats.norb_matrix import read_header
from tests.data.norb_writer import write_files, write_header

PAIRS_A_FILE = {"norb": 24_300, "norb-jittered-cluttered": 29_160}
LIMIT = 2e9
"""Bytes of anonymous memory that the command may take."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One call of the command."""

    files: str
    """.mat or .mat.gz"""
    read_bytes: int
    """Of the files it was given."""
    anonymous_bytes: int
    """The highest sum over its processes."""
    seconds: float
    """Of the whole process: reading, averaging and caching the images, training, the test."""
    test_error_pct: float
    chance_pct: float
    test_examples: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=list(PAIRS_A_FILE), default="norb")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--labels", type=int, help="train on the labels of so many images only (all)")
    parser.add_argument("--rendered", type=int, help="render so many pairs of each file and repeat them (all)")
    parser.add_argument("--forms", nargs="+", choices=[".mat", ".mat.gz"], default=[".mat", ".mat.gz"])
    parser.add_argument("--folder", type=Path, help="where the files are written, some GB (a temporary folder)")
    parser.add_argument("--output", type=Path, help="a JSON file for the result (stdout)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as place:
        data = Path(place) / "data" / "norb"
        begun = time.monotonic()
        whole = PAIRS_A_FILE[asked.dataset]
        write_files(data, asked.dataset, asked.rendered or whole)
        for path in data.glob("*.mat") if asked.rendered else ():
            _repeat(path, whole)
        rendering = time.monotonic() - begun
        found = [_measured(asked.dataset, form, Path(place), asked.epochs, asked.labels) for form in asked.forms]
    facts = {
        **describe(
            ["python", "-m", "benchmarks.norb_memory", *sys.argv[1:]], str(asked.folder) if asked.folder else None
        ),
        "dataset": asked.dataset,
        "epochs": asked.epochs,
        "labels": asked.labels,
        "rendered_pairs_a_file": asked.rendered,
        "limit_bytes": int(LIMIT),
        "rendering_seconds": round(rendering, 1),
        "rows": [asdict(one) for one in found],
    }
    text = json.dumps(facts, indent=1) + "\n"
    if asked.output:
        asked.output.write_text(text)
    else:
        print(text, end="")
    # Learnt something, and within the limit.
    good = all(one.anonymous_bytes < LIMIT and one.test_error_pct < 0.9 * one.chance_pct for one in found)
    return 0 if good else 1


def _measured(dataset: str, form: str, place: Path, epochs: int, labels: int | None) -> Measured:
    data = place / "data"
    if form == ".mat.gz":
        for path in data.rglob("*.mat"):
            _pack(path)
    runs, cache = (place / f"{kind}{form}" for kind in ("runs", "cache"))
    argv = [sys.executable, "-m", "relubench", "train", "--act", "relu", "--dataset", dataset, "--seed", "0"]
    argv += ["--lr", "0.01", "--epochs", str(epochs), "--data-dir", str(data), "--runs-dir", str(runs)]
    argv += ["--set", "keep=none", "--format", "json"]
    argv += ["--set", f"data.labels={labels}"] if labels else []
    environment = {**os.environ, "RELUBENCH_CACHE_DIR": str(cache), "RELUBENCH_OFFLINE": "1"}
    begun, highest = time.monotonic(), 0
    with (place / "table.json").open("w+") as table:
        process = subprocess.Popen(argv, env=environment, stdout=table)
        while process.poll() is None:
            highest = max(highest, sum(_anonymous(one) for one in _family(process.pid)))
            time.sleep(0.02)
        seconds = time.monotonic() - begun
        if process.returncode:
            raise SystemExit(f"the command ended with {process.returncode}")
        table.seek(0)
        made = json.load(table)
    shutil.rmtree(cache)
    run = made["runs"][0]
    return Measured(
        files=form,
        read_bytes=sum(path.stat().st_size for path in data.rglob("*.mat*")),
        anonymous_bytes=highest,
        seconds=round(seconds, 1),
        test_error_pct=round(made["rows"][0]["test_error_pct"], 4),
        chance_pct=round(100 * (1 - 1 / run["spec"]["classes"]), 4),
        test_examples=run["test_examples"],
    )


def _repeat(path: Path, rows: int) -> None:
    """The matrix in `path`, again and again until it has so many rows."""
    once = read_header(path, "").to_array().copy()
    with path.open("wb") as file:
        write_header(file, once.dtype, (rows, *once.shape[1:]))
        for start in range(0, rows, len(once)):
            file.write(once[: rows - start].tobytes())


def _pack(path: Path) -> None:
    with path.open("rb") as plain, gzip.open(f"{path}.gz", "wb", compresslevel=1) as packed:
        shutil.copyfileobj(plain, packed, 2**20)
    path.unlink()


def _family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    found = [pid]
    for one in found:
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:
                continue  # That thread has ended meanwhile.
    return found


def _anonymous(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    told = re.search(r"RssAnon:\s+(\d+) kB", status)
    return 1024 * int(told[1]) if told else 0


if __name__ == "__main__":
    sys.exit(main())
