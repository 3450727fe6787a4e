"""PyTorch on the device, images in its memory: an eager loop, torch.compile, and a CUDA graph captured by hand.

Several networks are trained one after another, of many only a few: their images a second are the same.
"""

from __future__ import annotations

import runpy
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.gpu.data import CLASSES, Dataset
from benchmarks.gpu.setting import Row
from benchmarks.gpu.task import LR, Training, rate_row

Step = Callable[[Tensor], None]
"""One update on the images at an index [B]."""

VALID_BATCH = 2000
FEW, MANY = 4, 20
"""Of a population so many are trained, of a larger one than that half as many."""
WARM_UP = 3


def build(training: Training, shape: tuple[int, ...], seed: int) -> nn.Module:
    """The network, its input rows [B, F] or images."""
    torch.manual_seed(seed)
    if ":" in training.model:
        file, _, name = training.model.rpartition(":")
        return runpy.run_path(file)[name](num_classes=CLASSES)
    if training.data == "colour":
        from torchvision.models import get_model

        from relubench.models.external import stems

        # For small images relubench changes the first layers: the same network is to be compared.
        return stems.build(training.model, partial(get_model, training.model, num_classes=CLASSES), shape)[0]
    if training.model == "cnn":
        from benchmarks.peers.pytorch_cnn import build as build_cnn

        return build_cnn()
    features = 1
    for size in shape:
        features *= size
    widths = (features, *training.hidden, CLASSES)
    layers = [module for pair in pairwise(widths) for module in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


class Bench:
    """The images on the device, in the layout that the network likes, and one network after another."""

    def __init__(self, training: Training, data: Dataset, device: str, layout: str = "channels-last") -> None:
        self.training, self.data, self.device = training, data, device
        self.layout = torch.channels_last if layout == "channels-last" else torch.contiguous_format
        self.images = training.model != "mlp"
        self.x, self.x_valid = (self._laid_out(x) for x in (data.images.x_train, data.images.x_valid))
        self.y, self.y_valid = (torch.from_numpy(y).to(device) for y in (data.images.y_train, data.images.y_valid))
        tf32 = training.precision == "tf32"
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32

    def _laid_out(self, x) -> Tensor:
        tensor = torch.from_numpy(x).to(self.device)
        if not self.images:
            return tensor
        return tensor.view(-1, *self.data.shape).contiguous(memory_format=self.layout)

    def network(self, seed: int) -> nn.Module:
        model = build(self.training, self.data.shape, seed).to(self.device)
        return model.to(memory_format=self.layout) if self.images else model

    def measure(self, peer: str, prepare: Callable[[Bench, nn.Module], Step]) -> Row:
        """The row of a way to train; compilation and capture have a column of their own."""
        members = min(self.training.members, FEW if self.training.members <= MANY else FEW // 2)
        preparation = seconds = train_seconds = 0.0
        for seed in range(members):
            model = self.network(seed)
            begun = time.perf_counter()
            step = prepare(self, model)
            self._wait()
            preparation += time.perf_counter() - begun
            trained, passed = self._epochs(model, step)
            seconds, train_seconds = seconds + passed, train_seconds + trained
        return rate_row(
            self.training,
            peer,
            seconds,
            train_seconds,
            len(self.y),
            members=members,
            preparation_seconds=round(preparation, 2),
        )

    def _epochs(self, model: nn.Module, step: Step) -> tuple[float, float]:
        """Seconds of training, and of all."""
        trained, begun = 0.0, time.perf_counter()
        for _ in range(self.training.epochs):
            started = time.perf_counter()
            model.train()
            for index in torch.randperm(len(self.y), device=self.device).split(self.training.batch):
                step(index)
            self._wait()
            trained += time.perf_counter() - started
            self._validate(model)
        return trained, time.perf_counter() - begun

    @torch.no_grad()
    def _validate(self, model: nn.Module) -> float:
        model.eval()
        wrong = torch.zeros((), device=self.device)
        for x, y in zip(self.x_valid.split(VALID_BATCH), self.y_valid.split(VALID_BATCH), strict=True):
            wrong += (model(x).argmax(dim=1) != y).sum()
        return float(wrong)

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()


def eager(bench: Bench, model: nn.Module) -> Step:
    """What an experienced user writes first."""
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, fused=bench.device == "cuda")

    def step(index: Tensor) -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(bench.x[index]), bench.y[index]).backward()
        optimizer.step()

    _warm_up(bench, model, step)
    return step


def compiled(bench: Bench, model: nn.Module) -> Step:
    """torch.compile of the forward and backward pass, which makes CUDA graphs of them; the update is fused."""
    mode = {"mode": "reduce-overhead"} if bench.device == "cuda" else {}
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, fused=bench.device == "cuda")

    @torch.compile(dynamic=False, **mode)
    def loss(x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(model(x), y)

    def step(index: Tensor) -> None:
        optimizer.zero_grad()
        loss(bench.x[index], bench.y[index]).backward()
        optimizer.step()

    _warm_up(bench, model, step)
    return step


def graphed(bench: Bench, model: nn.Module) -> Step:
    """A whole step, gathering and update included, captured once and replayed; the last, smaller batch goes eagerly."""
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, fused=True)
    static = torch.arange(bench.training.batch, device=bench.device) % len(bench.y)

    def whole(index: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(bench.x[index]), bench.y[index]).backward()
        optimizer.step()

    before = {name: value.clone() for name, value in model.state_dict().items()}
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            whole(static)
    torch.cuda.current_stream().wait_stream(side)
    optimizer.zero_grad(set_to_none=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        whole(static)
    model.load_state_dict(before)

    def step(index: Tensor) -> None:
        if len(index) == len(static):
            static.copy_(index)
            graph.replay()
        else:
            whole(index)

    return step


def _warm_up(bench: Bench, model: nn.Module, step: Step) -> None:
    """Steps of every size of batch, whose effect is undone."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    total = len(bench.y)
    model.train()
    for size in {min(bench.training.batch, total), total % bench.training.batch or bench.training.batch}:
        for _ in range(WARM_UP):
            step(torch.arange(size, device=bench.device) % total)
    model.load_state_dict(before)


PEERS = {"PyTorch": eager, "PyTorch, CUDA graph by hand": graphed, "PyTorch, torch.compile": compiled}
"""Name -> what makes a step of a network; what takes longest to prepare comes last."""
