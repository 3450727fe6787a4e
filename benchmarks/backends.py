"""`python -m benchmarks.backends`: what each backend of dense layers takes, as a ratio to PyTorch's own products.

The timings are those that relubench chooses by (`relubench.training.backend_timing`), several times over, taken
on the processor as it is, and as one with registers of 32 bytes (AVX2): PyTorch then has ATEN_CPU_CAPABILITY=avx2, and
wider vectors are hidden from the kernels' compiler. A ratio above 1 is faster than PyTorch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import machine

RESULTS = Path(__file__).parent / "results"
SHAPES = {
    "784-1000-1000-1000-10": ((784, 1000), (1000, 1000), (1000, 1000), (1000, 10)),
    "784-300-300-10": ((784, 300), (300, 300), (300, 10)),
    "3072-2000-2000-10": ((3072, 2000), (2000, 2000), (2000, 10)),
}
KINDS = {"relu": ("sgd", True), "tanh": ("sgd", False), "rbm": ("rbm", False)}
"""Row -> the kind of question, and whether kernels compute the activation."""
BATCHES = (10, 32, 64, 128, 256, 512, 1024)
VECTORS = {"all": None, "32 bytes": 32}
"""What the processor is seen to have -> the bytes of its widest registers; None: as it is."""
NAME = "any (AVX)"
"""The processor's name for `measure`, which asks it for AVX alone."""

stdout = Console(width=None if sys.stdout.isatty() else 130)


def main(
    threads: Annotated[int, typer.Option(min=1, help="Threads that train; of one the processor time is taken.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="Measurements of each row; medians are printed.")] = 3,
    shape: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(SHAPES)}. Default: all.")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Default: 10 to 1024.")] = None,
    output: Annotated[Path | None, typer.Option(help="Default: results/backends-DATE.json; and .txt.")] = None,
) -> None:
    """Time every backend for every shape and batch; write a table and a JSON file."""
    unknown = [name for name in shape or [] if name not in SHAPES]
    if unknown:
        raise typer.BadParameter(f"there is no shape {unknown[0]!r}; they are {', '.join(SHAPES)}")
    facts = machine.describe(["python -m benchmarks.backends", *sys.argv[1:]], None)
    request = {"threads": threads, "rounds": rounds, "shapes": shape or list(SHAPES), "batches": batch or BATCHES}
    neighbours = machine.Neighbours()
    rows = [row for vectors in VECTORS for row in measured_apart(vectors, request)]
    facts |= {"cores_kept_busy_by_others": neighbours.cores(), **request}
    path = output or RESULTS / f"backends-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**facts, "rows": rows}, indent=1) + "\n")
    with path.with_suffix(".txt").open("w") as file:
        for console in (stdout, Console(file=file, width=130)):
            console.print(table(rows, facts))
    Console(stderr=True).print(f"written: {path} and {path.with_suffix('.txt').name}")


def measured_apart(vectors: str, request: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a process that has vectors of that width; none where the processor has no wider ones to hide."""
    width = VECTORS[vectors]
    env = {**os.environ, "ATEN_CPU_CAPABILITY": "avx2"} if width else dict(os.environ)
    argv = [sys.executable, "-m", "benchmarks.backends", "--in-process", json.dumps({**request, "vectors": vectors})]
    done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def measured(request: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of this process: milliseconds of a step by each backend, and of an evaluation by each library."""
    hide_vectors_above(VECTORS[request["vectors"]])
    from relubench.models.backends.kept import Timings
    from relubench.models.backends.question import Question
    from relubench.training.backend_timing import measure

    rows = []
    for name in request["shapes"]:
        for row, (kind, fused) in KINDS.items():
            layers = SHAPES[name][:-1] if kind == "rbm" else SHAPES[name]
            for batch in request["batches"]:
                question = Question(kind=kind, layers=layers, batch=batch, threads=request["threads"], fused=fused)
                found = [measure(question, NAME) for _ in range(request["rounds"])]
                training, evaluation = (
                    {key: median(getattr(one, part)[key] for one in found) for key in getattr(found[0], part)}
                    for part in ("training", "evaluation")
                )
                facts = {"vectors": request["vectors"], "shape": name, "trained": row, "batch": batch}
                times = {"training_s": training, "evaluation_s": evaluation}
                rows.append({**facts, **times, "chosen": Timings(training, evaluation).fastest()})
                print(f"{request['vectors']}: {name}, {row}, batch {batch}: {rows[-1]['chosen']}", file=sys.stderr)
    return rows


def hide_vectors_above(width: int | None) -> None:
    """Let the kernels' compiler see a processor whose registers have that many bytes; None: as it is."""
    if width is None:
        return
    from llvmlite import binding

    from tests.conftest import WIDE_FEATURES

    features = binding.get_host_cpu_features()
    for name in features:
        features[name] = features[name] and not name.startswith(WIDE_FEATURES[width])
    binding.get_host_cpu_features = lambda: features


def table(rows: list[dict[str, Any]], facts: dict[str, Any]) -> Table:
    """Ratios to PyTorch's own products, in an evaluation oneDNN's, and what is chosen."""
    title = f"backends · {facts['cpu']} · {facts['threads']} thread(s) · PyTorch's time / the backend's, a step"
    found = Table(title=f"{title} · {facts['cores_kept_busy_by_others']:.2f} cores kept busy by others")
    for column in ("vectors", "shape", "trained"):
        found.add_column(column)
    for column in ("batch", "torch us/image", "turned", "onednn", "kernels", "evaluation"):
        found.add_column(column, justify="right")
    found.add_column("chosen")
    for row in rows:
        seconds, evaluation = row["training_s"], row["evaluation_s"]
        ratios = [_ratio(seconds, name) for name in ("turned", "onednn", "kernels")]
        cost = f"{1e6 * seconds['torch'] / row['batch']:.1f}"
        cells = [row["vectors"], row["shape"], row["trained"], str(row["batch"]), cost, *ratios]
        found.add_row(*cells, _ratio(evaluation, "onednn"), row["chosen"])
    return found


def _ratio(seconds: dict[str, float], name: str) -> str:
    return f"{seconds['torch'] / seconds[name]:.2f}" if name in seconds else "-"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--in-process"]:
        print(json.dumps(measured(json.loads(sys.argv[2]))))
    else:
        typer.run(main)
