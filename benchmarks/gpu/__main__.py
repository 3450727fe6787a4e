"""`python -m benchmarks.gpu --budget 480`: everything that a GPU has to show, in one command and within a budget.

    python -m benchmarks.gpu --budget 480 --output results/gpu --data-dir DIR
    python -m benchmarks.gpu --device cpu --small --budget 120 --output FOLDER     # the rehearsal

Each part runs in a process of its own and writes OUTPUT/PART.json as it goes; a part that fails, crashes or hangs costs
its own rows and no more. At the end summary.json has all of them. Exit code 1 where a part failed or a row has an
error; parts that the budget had no time for are said, and are no failure.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.gpu.parts import PARTS
from benchmarks.gpu.process import run_in_process, warm_up
from benchmarks.gpu.schedule import faults, run_parts, write
from benchmarks.gpu.setting import Row, Setting

SHOWN_FAULTS = 5


def main(arguments: list[str] | None = None) -> int:
    begun = time.monotonic()
    options = _parser().parse_args(arguments)
    parts = [part for part in PARTS if not options.part or part.name in options.part]
    output = Path(options.output).resolve()
    if options.small and options.device == "cpu":
        # Threads that wait for each other on a busy machine take many times as long, and times say nothing here.
        os.environ["OMP_NUM_THREADS"] = "1"
    warm_up()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        setting = Setting(
            device=options.device,
            small=options.small,
            seconds=options.budget - (time.monotonic() - begun),
            folder=Path(folder),
            data_dir=options.data_dir,
        )
        records = []
        for record in run_parts(parts, setting, output, run_in_process):
            records.append(record)
            _print(record)
    facts = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": options.device,
        "small": options.small,
        "budget_s": options.budget,
        "seconds": round(time.monotonic() - begun, 1),
        "parts": records,
    }
    write(output / "summary.json", facts)
    print(f"{facts['seconds']} s of {options.budget:g} s; written: {output / 'summary.json'}")
    return 1 if any(record["outcome"] != "skipped" and faults(record) for record in records) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=480.0, help="seconds for everything (480)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="where (cuda)")
    parser.add_argument("--small", action="store_true", help="tiny networks and data: a rehearsal")
    parser.add_argument("--part", nargs="+", choices=[part.name for part in PARTS], help="only these (all)")
    parser.add_argument("--data-dir", help="where MNIST's files are (RELUBENCH_DATA_DIR; without, images are drawn)")
    parser.add_argument("--output", default="benchmarks/results/gpu", help="the folder of the JSON files")
    return parser


def _print(record: Row) -> None:
    """A line for each part, and what went wrong in it."""
    print(
        f"{record['part']:13} {record['outcome']:11} {record['seconds']:7.1f} s  {len(record['rows'])} rows", flush=True
    )
    lines = faults(record)
    for line in lines[:SHOWN_FAULTS]:
        print(f"    {line[:200]}", flush=True)
    if len(lines) > SHOWN_FAULTS:
        print(f"    and {len(lines) - SHOWN_FAULTS} more", flush=True)
    for row in record["rows"]:
        if "images_per_second" in row:
            ratio = f"  relubench is {row['ours_over_theirs']:.2f} times as fast" if "ours_over_theirs" in row else ""
            print(
                f"    {row['training']:22} {row['peer']:28} {row['images_per_second']:12,.0f} images/s{ratio}",
                flush=True,
            )


if __name__ == "__main__":
    sys.exit(main())
