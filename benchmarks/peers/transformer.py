"""`python -m benchmarks.peers.transformer`: a Transformer's training steps, relubench beside PyTorch and torch.compile.

transformer-4x128, context 128, batches of 32 windows of Python's documentation, AdamW. Every side trains the same
network on the same windows in a process of its own, one after the other, in another order in each round; a ratio is
taken within a round. Training alone is timed: start-up, compilation and validation are not. Of relubench that is its
engine's whole loop, with the gathering of windows and the learning-rate schedule.
"""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from benchmarks import machine

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parents[1] / "results"
OURS = "relubench"
SIDES = (OURS, "pytorch", "pytorch-compile")
ORDER_SEED = 20170612
"""Of the order of the sides within each round."""
WARM_UP = 3
"""Steps before the clock starts: storage exists then, and kernels are chosen or compiled."""
GOAL, AIM = 1.0, 1.2
"""Of the ratio to a plain PyTorch loop."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What every side trains."""

    model: str = "transformer-4x128"
    act: str = "gelu"
    context: int = 128
    batch_size: int = 32
    steps: int = 40
    threads: int = 2

    @property
    def depth(self) -> int:
        return int(self.model.removeprefix("transformer-").partition("x")[0])

    @property
    def width(self) -> int:
        return int(self.model.rpartition("x")[2])


def ours(task: Task) -> dict[str, float]:
    """Seconds and processor seconds of relubench's training steps."""
    import torch

    population, _ = _population(task)
    population.draw_order()

    def steps(number: int) -> None:
        while number > 0:
            number -= population.train_chunk(number) // task.batch_size

    with torch.no_grad():
        steps(WARM_UP)
        return _timed(lambda: steps(task.steps))


def _population(task: Task) -> tuple[Any, Any]:
    """The network as the command trains it, and its data."""
    import torch

    from relubench.activations import select
    from relubench.data import DataOptions, prepare
    from relubench.experiments.config import experiment
    from relubench.experiments.plan import expand
    from relubench.system.device import resolve
    from relubench.training.population import Population
    from relubench.training.text import open_data

    torch.set_num_threads(task.threads)
    torch.set_flush_denormal(True)
    train = {"batch_size": task.batch_size, "probe": "none"}
    sections: dict[str, Any] = {"data": {"name": "docs", "context": task.context}, "model": {"name": task.model}}
    config = experiment({"act": [task.act], "train": train, **sections})
    choices, prepared = select(config.act), prepare("docs", options=DataOptions(context=task.context))
    (spec,) = expand(config, choices, prepared, resolve("cpu"), [0.003])
    data = open_data(prepared, device="cpu", flat=True)
    return Population([spec], choices[0], data), data


def plain(task: Task, *, compiled: bool) -> dict[str, float]:
    """The same of PyTorch: autograd, scaled_dot_product_attention, torch.optim.AdamW (fused)."""
    import torch
    import torch.nn.functional as F

    _, data = _population(task)
    torch.manual_seed(0)
    model = build(task)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.003, weight_decay=0.1, fused=True)
    forward: Any = torch.compile(model, dynamic=False) if compiled else model
    batches = data.epoch_order(0, 0)[: task.batch_size * (task.steps + WARM_UP)].split(task.batch_size)

    def steps(chosen: Any) -> None:
        for index in chosen:
            x, y = data.train_batch(index)
            optimizer.zero_grad()
            F.cross_entropy(forward(x).flatten(0, 1), y.flatten()).backward()
            optimizer.step()

    started = time.perf_counter()
    steps(batches[:WARM_UP])
    warm_up = time.perf_counter() - started
    return {**_timed(lambda: steps(batches[WARM_UP:])), "warm_up_seconds": warm_up}


def build(task: Task) -> Any:
    """The network as its users write it: pre-norm blocks, RMS norm, rotary positions, one linear layer for q, k, v."""
    import torch
    import torch.nn.functional as F
    from torch import Tensor, nn

    width, heads = task.width, max(1, task.width // 32)
    angles = torch.arange(task.context)[:, None] * 10000.0 ** (-torch.arange(0, 32, 2) / 32)
    activation = getattr(F, task.act)

    def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=-1)
        return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention_norm, self.ffn_norm = nn.RMSNorm(width), nn.RMSNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
            batch, context, _ = x.shape
            qkv = self.qkv(self.attention_norm(x)).view(batch, context, 3, heads, width // heads)
            q, k, v = qkv.permute(2, 0, 3, 1, 4)
            h = F.scaled_dot_product_attention(turned(q, cos, sin), turned(k, cos, sin), v, is_causal=True)
            x = x + self.out(h.transpose(1, 2).reshape(batch, context, width))
            return x + self.down(activation(self.up(self.ffn_norm(x))))

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(256, width)
            self.blocks = nn.ModuleList(Block() for _ in range(task.depth))
            self.norm, self.head = nn.RMSNorm(width), nn.Linear(width, 256)
            self.register_buffer("cos", angles.cos())
            self.register_buffer("sin", angles.sin())

        def forward(self, x: Tensor) -> Tensor:
            h = self.embedding(x)
            for block in self.blocks:
                h = block(h, self.cos, self.sin)
            return self.head(self.norm(h))

    return Network()


def _timed(run: Callable[[], None]) -> dict[str, float]:
    """Seconds on the wall and of the process."""
    wall, process = time.perf_counter(), time.process_time()
    run()
    return {"seconds": time.perf_counter() - wall, "process_seconds": time.process_time() - process}


def child(side: str, values: str) -> None:
    """Train as one side; the last line of stdout is what the clock said."""
    task = Task(**json.loads(values))
    result = ours(task) if side == OURS else plain(task, compiled=side == "pytorch-compile")
    print(json.dumps(result))


def measure(side: str, task: Task) -> dict[str, float] | None:
    """One side in a fresh process; None where it fails, with the reason on stderr."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(task.threads)}
    code = f"from benchmarks.peers.transformer import child; child({side!r}, {json.dumps(asdict(task))!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(f"{side}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Each side runs once in each round.")] = 5,
    steps: Annotated[int, typer.Option(min=1, help="Timed steps.")] = 40,
    threads: Annotated[int, typer.Option(min=1)] = 2,
    side: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(SIDES)}. Default: all.")] = None,
    output: Annotated[Path | None, typer.Option(help="Default: results/peers-transformer-DATE.json.")] = None,
) -> None:
    """Train the same Transformer with relubench and with PyTorch, and compare characters per second."""
    task = Task(steps=steps, threads=threads)
    shuffle = random.Random(ORDER_SEED).shuffle
    sides = [name for name in SIDES if side is None or name in side]
    samples: list[dict[str, Any]] = []
    for number in range(rounds):
        shuffle(sides)
        for name in list(sides):
            neighbours = machine.Neighbours()
            result = measure(name, task)
            if result is None:
                sides.remove(name)
                continue
            samples.append({"round": number, "side": name, **result, "neighbours": neighbours.cores()})
            print(json.dumps(samples[-1]), file=sys.stderr)
    characters = task.batch_size * task.context * task.steps
    for name in SIDES:
        times = [sample["seconds"] for sample in samples if sample["side"] == name]
        if times:
            print(f"{name}: {characters / median(times):,.0f} characters/s{_ratio(samples, name)}")
    facts = machine.describe(["python -m benchmarks.peers.transformer", *sys.argv[1:]], None)
    path = output or RESULTS / f"peers-transformer-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    path.write_text(json.dumps({**facts, "task": asdict(task), "samples": samples}, indent=1) + "\n")
    print(f"written: {path}", file=sys.stderr)


def _ratio(samples: list[dict[str, Any]], name: str) -> str:
    """Ours over a side's speed, by wall and by processor time: the median over rounds."""
    if name == OURS:
        return ""
    texts = []
    for key in ("seconds", "process_seconds"):
        by_round: dict[int, dict[str, float]] = {}
        for sample in samples:
            by_round.setdefault(sample["round"], {})[sample["side"]] = sample[key]
        ratios = [times[name] / times[OURS] for times in by_round.values() if {name, OURS} <= times.keys()]
        texts.append(f"{median(ratios):.2f}" if ratios else f"{math.nan}")
    goal = f" (goal {GOAL:g}, aim {AIM:g})" if name == "pytorch" else ""
    return f", relubench / {name}: {texts[0]} on the wall{goal}, {texts[1]} of processor time"


if __name__ == "__main__":
    typer.run(main)
