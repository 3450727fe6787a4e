"""Trains every classifier of torchvision for two steps with activations that keep their input, their output, or both.

    python -m benchmarks.torchvision_networks [--names resnet18,vgg11] [--output FILE]

Of each name and activation: ok, or why not. Images are 32 x 32 where the network takes that, else as large as it needs;
a step has two images. A name whose weights and gradients do not fit into `--memory` bytes is said and left out.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from relubench.activations import build, select
from relubench.classifiers import CLASSIFIERS, PREFIX
from relubench.config import experiment
from relubench.data import prepare
from relubench.device import Device
from relubench.errors import UsageError
from relubench.foreign.networks import as_layer, draw_network, example, uses_of
from relubench.foreign.trial import laid_out
from relubench.network.optimizers import build_optimizer
from relubench.plan import RunSpec, expand

ACTIVATIONS = ("gelu", "tanh", "x*tanh(x)")
"""Their gradients need the input, the output, and both."""

SIDES = (32, 96, 224)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--names", default=",".join(sorted(CLASSIFIERS)))
    parser.add_argument("--output", type=Path)
    parser.add_argument("--memory", type=float, default=8e9)
    given = parser.parse_args()
    lines = [f"torch {torch.__version__}; two training steps of two images; {', '.join(ACTIVATIONS)}"]
    for name in given.names.split(","):
        lines.append(line(name.removeprefix(PREFIX), given.memory))
        print(lines[-1], flush=True)
        if given.output is not None:
            given.output.write_text("\n".join(lines) + "\n")
    failed = sum(not one.endswith("ok") for one in lines[1:])
    print(f"{len(lines) - 1 - failed} of {len(lines) - 1} ok", file=sys.stderr)


def line(name: str, memory: float) -> str:
    """What came of one network, in a line."""
    start = time.perf_counter()
    try:
        spec = fitting(name)
        found = [outcome(spec, act, memory) for act in ACTIVATIONS]
    except Exception as problem:
        return f"{name}: {type(problem).__name__}: {str(problem)[:200]}"
    seconds = time.perf_counter() - start
    each = "ok" if set(found) == {"ok"} else "; ".join(f"{a} {b}" for a, b in zip(ACTIVATIONS, found, strict=True))
    return f"{name} ({spec.input_shape[-1]} x {spec.input_shape[-1]}, {seconds:.0f} s): {each}"


def spec_of(name: str, side: int) -> RunSpec:
    """A run of the network on colour images of that side."""
    config = experiment({"act": ["relu"], "model": {"name": "cnn"}, "train": {"batch_size": 2, "lr": 0.001}})
    cpu = Device(kind="cpu", name="any", threads=1, memory=2**33, torch=torch.__version__)
    (spec,) = expand(config, select(["relu"]), prepare("digits"), cpu, [0.001])
    return replace(
        spec, model=f"{PREFIX}{name}", channels=(), hidden=(), init="own", input_shape=(3, side, side), classes=10
    )


def fitting(name: str) -> RunSpec:
    """The run with the smallest images of `SIDES` that the network takes."""
    for side in SIDES:
        spec = spec_of(name, side)
        try:
            draw_network(spec)
        except UsageError:
            continue
        return spec
    raise UsageError(f"{name} takes none of the sides {SIDES}", "")


@torch.no_grad()
def outcome(spec: RunSpec, act: str, memory: float) -> str:
    """ok, or the first line of what went wrong in two steps."""
    network, _ = draw_network(spec)
    # Weights, gradients, and the copies that a build and a change of layout make.
    if 12 * sum(one.numel() for one in network.parameters()) > memory:
        return f"left out: it needs more than {memory / 1e9:.0f} GB"
    try:
        layer = as_layer(network, uses_of(network, spec), spec, select([act])[0])
        assert build(select([act])[0]) is not None
        update = build_optimizer(
            layer.parameters, name="sgd", rates=[spec.lr], momentum=0.0, decay=0.0, stacked=False
        )
        x = laid_out(example(spec, spec.batch_size), spec)
        for _ in range(2):
            scores = layer.forward(x, training=True)
            update.set_factor(1.0)
            layer.backward(torch.softmax(scores, dim=-1) / len(x), update, first=True)
            update.finish()
        layer.forward(x, training=False)
    except Exception as problem:
        return f"{type(problem).__name__}: {str(problem).splitlines()[0][:160]}"
    return "ok" if bool(torch.isfinite(scores).all()) else "not finite"


if __name__ == "__main__":
    main()
