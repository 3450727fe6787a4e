"""`python -m benchmarks.peers.agreement`: do the peers compute what relubench computes?

Every implementation starts from the same weights and takes the same steps on the same batches, with the very functions
that are timed; then the mean loss over the validation images is compared with plain PyTorch's in float64.

In float64 all must agree to about the last bits. In float32 they cannot: among the millions of pre-activations of 200
steps one is so near zero that rounding decides its sign, that unit is then updated by one and not by the other, and a
hundred steps later the losses are apart by some per cent. Two implementations that happen to round alike at that moment
agree to 1e-7; that says nothing more about them. So the tolerance in float32 is wide, and float64 is the test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks.mnist import N_TRAIN, Mnist, load
from benchmarks.network import Weights, xavier
from benchmarks.peers import jax_scan, keras_jax, pytorch_cnn, pytorch_compile, pytorch_plain
from benchmarks.peers.relubench_engine import train_cnn, train_mlp

HIDDEN = (1000, 1000, 1000)
LR = 0.1


@dataclass(frozen=True, slots=True)
class Batches:
    """The same for everybody: x [S, B, 784] and y int64 [S, B] of S steps."""

    x: np.ndarray
    y: np.ndarray

    @classmethod
    def draw(cls, data: Mnist, steps: int, batch_size: int, seed: int) -> Batches:
        index = np.random.default_rng(seed).integers(0, len(data.y_train), (steps, batch_size))
        return cls(data.x_train[index], data.y_train[index])

    def tensors(self) -> Sequence[tuple[Tensor, Tensor]]:
        return list(zip(torch.from_numpy(self.x), torch.from_numpy(self.y), strict=True))


def train_pytorch(weights: Weights, batches: Batches) -> Weights:
    """autograd and torch.optim.SGD."""
    model = pytorch_plain.build(weights)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    for x, y in batches.tensors():
        pytorch_plain.train_step(model, optimizer, x, y)
    return _linear_weights(model)


def train_compiled(weights: Weights, batches: Batches) -> Weights:
    """torch.compile."""
    torch.compiler.reset()
    model = pytorch_plain.build(weights)
    step = pytorch_compile.compiled_step(model, LR)
    for x, y in batches.tensors():
        step(x, y)
    return _linear_weights(model)


def train_jax(weights: Weights, batches: Batches) -> Weights:
    """The step inside the scan."""
    step = jax_scan.jax.jit(jax_scan.train_step)
    params = jax_scan.to_params(weights)
    for x, y in zip(batches.x, batches.y, strict=True):
        params = step(params, x, y, LR)
    return [(np.array(weight).T, np.array(bias)) for weight, bias in params]


def train_keras(weights: Weights, batches: Batches) -> Weights:
    """train_on_batch, which is the step inside fit."""
    keras_jax.keras.config.set_floatx(batches.x.dtype.name)
    model = keras_jax.build(weights, LR)
    for x, y in zip(batches.x, batches.y, strict=True):
        model.train_on_batch(x, y)
    found = [np.array(one) for one in model.get_weights()]
    return [(weight.T, bias) for weight, bias in zip(found[::2], found[1::2], strict=True)]


def _linear_weights(model: nn.Module) -> Weights:
    layers = [one for one in model.modules() if isinstance(one, nn.Linear)]
    return [(one.weight.detach().numpy(), one.bias.detach().numpy()) for one in layers]


PEERS: dict[str, Callable[[Weights, Batches], Weights]] = {
    "pytorch": train_pytorch,
    "pytorch-compile": train_compiled,
    "jax-scan": train_jax,
    "keras-jax": train_keras,
}


def valid_loss(weights: Weights, data: Mnist) -> float:
    """Mean cross-entropy in nats over the validation images, in float64 whoever trained the weights."""
    model = pytorch_plain.build(weights).double()
    with torch.no_grad():
        logits = model(torch.from_numpy(data.x_valid).double())
        return F.cross_entropy(logits, torch.from_numpy(data.y_valid)).item()


def mlp_losses(batches: Batches, data: Mnist, seed: int, dtype: type, data_dir: Path | None) -> dict[str, float]:
    """What each implementation reaches in this precision."""
    weights = [(weight.astype(dtype), bias.astype(dtype)) for weight, bias in xavier(seed, HIDDEN)]
    batches = Batches(batches.x.astype(dtype), batches.y)
    found = {"relubench": train_mlp(weights, HIDDEN, LR, batches.x, batches.y, data_dir)}
    found |= {name: train(weights, batches) for name, train in PEERS.items()}
    return {name: valid_loss(trained, data) for name, trained in found.items()}


def cnn_difference(batches: Batches, seed: int, data_dir: Path | None) -> float:
    """The largest difference between relubench's and PyTorch's float32 CNN in one step, relative to the largest update.

    Both start every step from the same weights, so that no rounding is carried on; the largest over all steps.
    """
    torch.manual_seed(seed)
    model = pytorch_cnn.build()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    layers = [one for one in model if isinstance(one, nn.Conv2d | nn.Linear)]
    initial = [(one.weight.detach().clone(), one.bias.detach().clone()) for one in layers]
    images = torch.from_numpy(batches.x).unflatten(-1, (1, pytorch_cnn.SIDE, pytorch_cnn.SIDE))
    labels = torch.from_numpy(batches.y)
    worst = 0.0
    for x, y, ours in zip(images, labels, train_cnn(initial, LR, images, labels, data_dir), strict=True):
        before = [one.detach().clone() for one in model.parameters()]
        pytorch_plain.train_step(model, optimizer, x, y)
        with torch.no_grad():
            flat = [one for pair in ours for one in pair]
            for old, theirs, mine in zip(before, model.parameters(), flat, strict=True):
                worst = max(worst, float((theirs - mine).abs().max() / (theirs - old).abs().max()))
                theirs.copy_(mine)
    return worst


def main(
    steps: Annotated[int, typer.Option(min=1)] = 200,
    batch_size: Annotated[int, typer.Option(min=1)] = 10,
    tolerance64: Annotated[float, typer.Option(help="Relative, of the loss, in float64.")] = 1e-9,
    tolerance32: Annotated[float, typer.Option(help="Relative, of the loss, in float32.")] = 0.1,
    tolerance_step: Annotated[float, typer.Option(help="Of one step of the CNN, relative to its update.")] = 1e-3,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    data_dir: Annotated[str | None, typer.Option(help="Where MNIST is. Default: $RELUBENCH_DATA_DIR.")] = None,
) -> None:
    """Train every implementation from the same weights on the same batches; exit code 1 where one disagrees."""
    jax_scan.jax.config.update("jax_enable_x64", True)
    data = load(data_dir, N_TRAIN)
    batches = Batches.draw(data, steps, batch_size, seed)
    folder = Path(data_dir).resolve() if data_dir else None
    exact = mlp_losses(batches, data, seed, np.float64, folder)
    single = mlp_losses(batches, data, seed, np.float32, folder)
    reference = exact["pytorch"]
    table = Table("implementation", "float64: loss", "difference", "float32: loss", "difference")
    agree = True
    for name in exact:
        apart64, apart32 = exact[name] / reference - 1.0, single[name] / reference - 1.0
        agree &= abs(apart64) <= tolerance64 and abs(apart32) <= tolerance32
        table.add_row(name, f"{exact[name]:.12f}", f"{apart64:+.1e}", f"{single[name]:.9f}", f"{apart32:+.1e}")
    step = cnn_difference(batches, seed, folder)
    agree &= step <= tolerance_step
    console = Console(width=120)
    console.print(f"{steps} steps of {batch_size} images, lr {LR}; differences are relative, to pytorch in float64")
    console.print(table)
    console.print(f"CNN, relubench against pytorch, float32, one step: {step:.1e} of the largest update")
    limits = f"{tolerance64:g} in float64, {tolerance32:g} in float32, {tolerance_step:g} in a CNN's step"
    console.print(f"within {limits}: {'yes' if agree else 'NO'}")
    if not agree:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
