"""Tasks whose targets are numbers: steps against autograd, scores against formulas, and runs that are killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from relubench.data import PreparedData, prepare
from relubench.runs.store import Store
from relubench.runs.task import PICTURE, REGRESSION, SMALLEST_ERROR, decibels, r_squared, task_called
from relubench.training.images import Images
from relubench.training.losses import objective_of
from relubench.training.population import Population
from specs import finish, job, runs

STEPS = 100
RNG = np.random.default_rng(3)


@pytest.fixture
def heights(tmp_path: Path) -> str:
    """Small images with two numbers each: where their light lies, and how much of it there is."""
    arrays: dict[str, np.ndarray] = {}
    for part, count in (("train", 240), ("test", 40)):
        x = RNG.random((count, 8, 8), dtype=np.float32)
        arrays |= {f"x_{part}": x, f"y_{part}": np.stack([x[:, :4].mean((1, 2)), 50 * x.mean((1, 2))], axis=1)}
    path = tmp_path / "heights.npz"
    np.savez(path, **arrays)
    return str(path)


def plain_mlp(sizes: list[int]) -> nn.Sequential:
    hidden = [layer for pair in pairwise(sizes[:-1]) for layer in (nn.Linear(*pair), nn.Tanh())]
    return nn.Sequential(*hidden, nn.Linear(sizes[-2], sizes[-1]))


def plain_cnn(outputs: int) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 5, padding=2), nn.Tanh(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 5, padding=2), nn.Tanh(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(64 * 4, 256), nn.Tanh(), nn.Linear(256, outputs)),
    )


def check_steps(plain: nn.Module, population: Population, lr: float, size: int) -> None:
    """100 steps of plain autograd and SGD from the same weights on the same batches give the same losses."""
    with torch.no_grad():
        for own, parameter in zip(plain.parameters(), population.parameters, strict=True):
            own.copy_(parameter.value.reshape(own.shape))
    data = population.data
    order = torch.randperm(data.n_train, generator=torch.Generator().manual_seed(5)).repeat(STEPS)
    optimizer, objective = torch.optim.SGD(plain.parameters(), lr=lr), population.objective
    ours, theirs = [], []
    for step in range(STEPS):
        x, y = data.train_batch(order[step * size : (step + 1) * size])
        with torch.no_grad():
            population.update.set_factor(1.0)
            target = objective.targets(y, y.shape[-1])
            record = population.train_step(x.clone(), target)
            ours.append(float(objective.total(record, target, torch.float64)) / size)
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(plain(x), y)
        loss.backward()
        optimizer.step()
        theirs.append(loss.item())
    torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs), rtol=2e-3, atol=2e-4)
    assert theirs[-1] < 0.9 * theirs[0]


@pytest.mark.parametrize(
    ("backend", "name", "sizes"), [("auto", "", [64, 32, 32, 2]), ("torch", "diabetes", [10, 32, 32, 1])]
)
def test_100_steps_of_an_mlp_are_autograds(heights: str, backend: str, name: str, sizes: list[int]) -> None:
    train = {"batch_size": 20, "lr": 0.05, "backend": backend}
    choice, specs = runs("tanh", data={"name": name or heights}, model={"name": "mlp-2x32"}, train=train)
    population = Population(specs, choice, Images.open(prepare(name or heights), device="cpu", flat=True))
    check_steps(plain_mlp(sizes), population, 0.05, 20)


def test_100_steps_of_a_cnn_are_autograds(heights: str) -> None:
    train = {"batch_size": 16, "lr": 0.02}
    choice, specs = runs("tanh", data={"name": heights}, model={"name": "cnn"}, train=train)
    population = Population(specs, choice, Images.open(prepare(heights), device="cpu", flat=False))
    check_steps(plain_cnn(2), population, 0.02, 16)


def test_the_gradient_is_autograds() -> None:
    objective = objective_of(REGRESSION)
    output = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    y = torch.arange(15.0).reshape(5, 3)
    gradient, record = objective.gradient(output.detach(), y)
    losses = objective.losses(output[None], y)
    torch.testing.assert_close(losses.mean(), nn.functional.mse_loss(output, y))
    (expected,) = torch.autograd.grad(losses.mean(), output)
    torch.testing.assert_close(gradient, expected)
    torch.testing.assert_close(objective.total(record, y, torch.float32), losses.sum().detach())


def trained(act: str, data: PreparedData, store: Path, **sections: Any) -> tuple[Any, np.ndarray]:
    """A run's result, and what is stored of each test example."""
    finished = job(act, store, data={"name": data.name}, **sections)
    finish(finished)
    result, scores = Store(store).result(finished.specs[0].id), Store(store).wrong(finished.specs[0].id)
    assert result is not None and scores is not None
    return result, scores


def outputs_of(store: Path, run: str, x: Tensor) -> Tensor:
    """What the stored weights of an mlp of tanh units give for rows [N, F]."""
    from safetensors.torch import load_file

    path = Store(store).weights(run)
    assert path is not None
    weights = load_file(path)
    layers = len(weights) // 2
    for place in range(layers):
        x = x @ weights[f"{place}.weight"].T + weights[f"{place}.bias"]
        x = torch.tanh(x) if place < layers - 1 else x
    return x


def test_the_score_is_the_mean_squared_error_of_the_tested_weights(tmp_path: Path) -> None:
    data = prepare("diabetes")
    result, losses = trained("tanh", data, tmp_path, model={"name": "mlp-1x16"}, train={"epochs": 5, "lr": 0.02})
    x, y = (torch.from_numpy(np.asarray(part)) for part in (np.load(data.folder / f"{name}_test.npy") for name in "xy"))
    errors = (outputs_of(tmp_path, result.id, x) - y).square().squeeze(1).numpy()
    np.testing.assert_allclose(losses, errors, rtol=1e-4, atol=1e-6)
    assert result.test_metric == pytest.approx(errors.mean(), rel=1e-5) and result.test_error_pct is None
    (r2,) = [value for value in result.measured if value.name == "r2"]
    assert r2.value == pytest.approx(1 - errors.mean() / y.numpy().var(), rel=1e-5) and r2.epoch == result.best_epoch


def test_the_score_of_a_picture_is_its_psnr(tmp_path: Path) -> None:
    data = prepare("image:flower")
    train = {"epochs": 1, "lr": 0.1, "batch_size": 64}
    result, values = trained("tanh", data, tmp_path, model={"name": "mlp-1x16"}, train=train)
    x, y = (torch.from_numpy(np.load(data.folder / f"{name}_test.npy")) for name in "xy")
    errors = (outputs_of(tmp_path, result.id, x) - y).square().mean(dim=1).numpy()
    assert result.test_metric == pytest.approx(-10 * np.log10(errors.mean()), rel=1e-5)
    assert values.mean(dtype=float) == pytest.approx(result.test_metric, rel=1e-6) and 8 < result.test_metric < 30
    # A pixel that is fitted better has a higher value.
    assert np.corrcoef(values, errors)[0, 1] == pytest.approx(-1)


def test_decibels_are_the_psnr_and_its_derivative() -> None:
    errors = RNG.gamma(0.5, 0.01, 1000)
    values = decibels(errors).astype(float)
    assert values.mean() == pytest.approx(-10 * np.log10(errors.mean()))
    # Leaving out a pixel moves the PSNR by (PSNR - its value) / (N - 1), to first order.
    for pixel in (0, int(errors.argmax())):
        moved = -10 * np.log10(np.delete(errors, pixel).mean()) - values.mean()
        assert moved == pytest.approx((values.mean() - values[pixel]) / 999, rel=0.02, abs=1e-6)
    assert decibels(np.zeros(5)).mean() == pytest.approx(-10 * np.log10(SMALLEST_ERROR))
    assert not np.isfinite(decibels(np.array([0.1, np.inf]))).all() and r_squared(0.5, np.array([[-1.0], [1.0]])) == 0.5


@pytest.mark.parametrize("task", [REGRESSION, PICTURE])
def test_a_constant_prediction_is_at_chance_and_a_better_one_is_not(task: str) -> None:
    row, targets = task_called(task), RNG.random((500, 3)).astype(np.float32)
    errors = np.square(targets - targets.mean(axis=0)).mean(axis=1)
    values = row.values or (lambda scores: scores)
    assert row.is_at_chance(row.score(values(errors)), targets)
    assert row.is_at_chance(row.score(values(errors + 0.01)), targets)
    assert not row.is_at_chance(row.score(values(0.5 * errors)), targets)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_killed_runs_end_in_the_same_bytes(tmp_path: Path) -> None:
    train = {"epochs": 12, "batch_size": 10, "lr": 0.02}
    jobs = [job("tanh", tmp_path / "whole", data={"name": "diabetes"}, model={"name": "mlp-2x32"}, train=train)]
    finish(jobs[0])
    (tmp_path / "jobs.json").write_text(json.dumps([jobs[0].to_json()]))
    killing = [sys.executable, "-m", "killing", str(tmp_path / "jobs.json"), str(tmp_path / "broken"), "7", "4"]
    done = subprocess.run(killing, capture_output=True, text=True, timeout=600, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) == 4
    run = jobs[0].specs[0].id
    for path in sorted((tmp_path / "whole" / "runs" / run).iterdir()):
        assert (tmp_path / "broken" / "runs" / run / path.name).read_bytes() == path.read_bytes()
