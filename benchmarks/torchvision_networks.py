"""Trains every classifier of torchvision for two steps with activations that keep their input, their output, or both.

    python -m benchmarks.torchvision_networks [--names resnet18,vgg11] [--output FILE]

Of each name and activation: ok, or why not. Images are 32 x 32 where the network takes that, else as large as it needs;
a step has two images. A name whose weights and gradients do not fit into `--memory` bytes is said and left out.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from relubench.activations import select
from relubench.data import prepare
from relubench.errors import UsageError
from relubench.experiments.config import experiment
from relubench.experiments.plan import expand
from relubench.models.external.calls import CallSite
from relubench.models.external.networks import as_layer, draw_network, example, uses_of
from relubench.models.external.torchvision_names import CLASSIFIERS, PREFIX
from relubench.models.external.trial import laid_out
from relubench.models.optimizers import build_optimizer
from relubench.runs.spec import RunSpec
from relubench.system.device import Device

ACTIVATIONS = ("gelu", "tanh", "x*tanh(x)")
"""Their gradients need the input, the output, and both."""

SIDES = (32, 96, 224)


def main() -> None:
    parser = argparse.ArgumentParser(description="two training steps of every classifier")
    parser.add_argument("--names", default="")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--memory", type=float, default=8e9)
    given = parser.parse_args()
    lines = [f"torch {torch.__version__}; two training steps of two images; {', '.join(ACTIVATIONS)}"]
    every = sorted((one.removeprefix(PREFIX) for one in CLASSIFIERS), key=parameters)
    for name in given.names.split(",") if given.names else every:
        lines.append(line(name, given.memory))
        print(lines[-1], flush=True)
        if given.output is not None:
            given.output.write_text("\n".join(lines) + "\n")
    failed = sum(not one.endswith("ok") for one in lines[1:])
    print(f"{len(lines) - 1 - failed} of {len(lines) - 1} ok", file=sys.stderr)


def line(name: str, memory: float) -> str:
    """What came of one network, in a line."""
    # Weights, gradients, and the copy that a change of layout makes.
    if 12 * parameters(name) > memory:
        return f"{name}: left out: it needs more than {memory / 1e9:.0f} GB"
    try:
        spec, network = fitting(name)
        uses = uses_of(network, spec)
        found = [outcome(spec, network, uses, act) for act in ACTIVATIONS]
    except Exception as problem:
        return f"{name}: {type(problem).__name__}: {str(problem)[:200]}"
    each = "ok" if set(found) == {"ok"} else "; ".join(f"{a} {b}" for a, b in zip(ACTIVATIONS, found, strict=True))
    return f"{name} ({spec.input_shape[-1]} x {spec.input_shape[-1]}): {each}"


def parameters(name: str) -> int:
    """As published, with 1000 classes."""
    from torchvision.models import get_model_weights

    return max(one.meta["num_params"] for one in get_model_weights(name))


def spec_of(name: str, side: int) -> RunSpec:
    """A run of the network on colour images of that side."""
    config = experiment({"act": ["relu"], "model": {"name": "cnn"}, "train": {"batch_size": 2, "lr": 0.001}})
    cpu = Device(kind="cpu", name="any", threads=1, memory=2**33, torch=torch.__version__)
    (spec,) = expand(config, select(["relu"]), prepare("digits"), cpu, [0.001])
    return replace(
        spec, model=f"{PREFIX}{name}", channels=(), hidden=(), init="own", input_shape=(3, side, side), classes=10
    )


def fitting(name: str) -> tuple[RunSpec, nn.Module]:
    """The run with the smallest images of `SIDES` that the network takes, and the network."""
    for side in SIDES:
        spec = spec_of(name, side)
        try:
            return spec, draw_network(spec)[0]
        except UsageError:
            continue
    raise UsageError(f"{name} takes none of the sides {SIDES}", "")


@torch.no_grad()
def outcome(spec: RunSpec, network: nn.Module, uses: list[CallSite], act: str) -> str:
    """ok, or the first line of what went wrong in two steps."""
    try:
        layer = as_layer(network, uses, spec, select([act])[0])
        update = build_optimizer(layer.parameters, name="sgd", rates=[spec.lr], momentum=0.0, decay=0.0, batched=False)
        x = laid_out(example(spec, spec.batch_size), spec)
        scores = x
        for _ in range(2):
            scores = layer.forward(x, training=True)
            update.set_factor(1.0)
            layer.backward(torch.softmax(scores, dim=-1) / len(x), update, first=True)
            update.finish()
        layer.forward(x, training=False)
        layer.exchange.places.remove()
    except Exception as problem:
        return f"{type(problem).__name__}: {str(problem).splitlines()[0][:160]}"
    return "ok" if bool(torch.isfinite(scores).all()) else "not finite"


if __name__ == "__main__":
    main()
