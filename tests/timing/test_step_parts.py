"""What `speed --network` measures beside steps: stages, inference, memory, compiled forms, and any task's scores."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from relubench.errors import ComputeError
from relubench.runs import task
from relubench.timing import compiled_steps
from relubench.timing.inference import BATCH, LONE, forward_of, time_inference
from relubench.timing.networks import common_target, epochs_to
from relubench.timing.score_times import Point, front
from relubench.timing.stages import STAGES, time_stages
from relubench.timing.step_memory import from_events, measure_memory
from relubench.timing.steps import batches_of
from relubench.timing.stopwatch import Stopwatch
from relubench.training.images import Images
from relubench.training.population import Population
from specs import digits, runs

BATCH_SIZE, WIDTH = 10, 16


def population_of(act: str, *, seeds: int = 1, **sections: Any) -> Population:
    sections = {"model": {"name": f"mlp-2x{WIDTH}"}, "train": {"batch_size": BATCH_SIZE, "lr": 0.1}, **sections}
    choice, specs = runs(act, seeds=seeds, **sections)
    return Population(specs, choice, Images.open(digits(), device="cpu", flat=True))


class Gpu:
    """A device that reaches an event a second after the call that records it."""

    def __init__(self) -> None:
        self.now, self.reached = 0.0, 0.0

    def Event(self, enable_timing: bool) -> Any:
        event = SimpleNamespace(at=0.0)

        def record() -> None:
            self.now += 1.0
            event.at = self.now

        def synchronize() -> None:
            self.reached = event.at

        def elapsed_time(other: Any) -> float:
            assert self.reached >= other.at, "it was not waited for"
            return 1000.0 * (other.at - event.at)

        event.record, event.synchronize, event.elapsed_time = record, synchronize, elapsed_time
        return event


def test_moments_of_a_device_whose_calls_do_not_wait_are_events() -> None:
    stopwatch = Stopwatch("cuda", Gpu())
    first, _, third = stopwatch.moment(), stopwatch.moment(), stopwatch.moment()
    assert stopwatch.seconds(first, third) == 2.0


def test_the_stages_of_batched_networks_take_whole_batches() -> None:
    population = population_of("relu", seeds=2)
    shapes = []
    forward = population.layers[0].forward
    population.layers[0].forward = lambda x, training: (shapes.append(tuple(x.shape)), forward(x, training))[1]
    with torch.no_grad():
        x, y = (torch.cat([part, part]) for part in batches_of(population, 0, 3))
        stages = time_stages(population, lambda: (x, y, 3))
    assert set(stages) == set(STAGES) and all(value > 0 for value in stages.values())
    assert shapes == [(2, BATCH_SIZE, 64)] * 3


@pytest.mark.parametrize("seeds", [1, 2])
def test_inference_changes_nothing_and_gives_each_layer_a_lone_example_and_a_batch(seeds: int) -> None:
    population = population_of("gelu", seeds=seeds)
    before = {name: value.clone() for name, value in population.weights(0, best=False).items()}
    x = batches_of(population, 0, 1)[0].expand(*([2, -1, -1] if seeds > 1 else [-1, -1]))
    sizes = set()
    whole = forward_of(population)

    def forward(x: torch.Tensor) -> torch.Tensor:
        sizes.add(x.shape[-2])
        return whole(x)

    measured = time_inference(population, forward, x)
    assert set(measured) == {LONE, BATCH} and min(measured.values()) > 0
    assert sizes == {1, BATCH_SIZE}
    assert all(torch.equal(value, before[name]) for name, value in population.weights(0, best=False).items())


def test_a_record_of_allocations_becomes_a_peak_and_what_is_kept() -> None:
    def mark(ts: int, phase: str) -> dict[str, Any]:
        return {"name": f"relubench: {phase}", "ts": ts}

    def memory(ts: int, size: int) -> dict[str, Any]:
        return {"name": "[memory]", "ts": ts, "args": {"Bytes": size}}

    steps = [
        memory(0, 999),
        mark(1, "making"),
        memory(2, 400),
        memory(3, -300),
        mark(3, "forward"),
        memory(4, 70),
        memory(5, -20),
    ]
    steps += [mark(6, "backward"), memory(7, 40), memory(8, -90), mark(9, "end"), memory(10, 5000)]
    found = from_events(steps[::-1])
    assert (found.peak, found.kept) == (190, 50)


@pytest.mark.parametrize(("act", "kept_per_unit"), [("relu", 1), ("gelu", 2)])
def test_what_a_forward_pass_keeps_is_what_its_gradients_need(act: str, kept_per_unit: int) -> None:
    """relu's gradient needs its output, which the next layer has anyway; gelu's its input as well."""
    found = measure_memory(lambda: population_of(act), lambda population: batches_of(population, 0, 1))
    units = 2 * WIDTH * kept_per_unit + 10
    parameters = 64 * WIDTH + WIDTH + WIDTH * WIDTH + WIDTH + WIDTH * 10 + 10
    assert found.kept == 4 * BATCH_SIZE * units
    assert 4 * parameters + found.kept < found.peak < 10 * 4 * parameters


def compile_with(monkeypatch: pytest.MonkeyPatch, change: Callable[[torch.Tensor], torch.Tensor]) -> Population:
    """A population, compiled by what only changes the results."""
    monkeypatch.setattr(compiled_steps, "compiled", lambda function: lambda *values: change(function(*values)))
    population, plain = population_of("tanh"), population_of("tanh")
    compiled_steps.compile_steps(population, plain, *batches_of(plain, 0, 1))
    return population


def test_a_compiled_step_trains_in_the_engines_own_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    population = compile_with(monkeypatch, lambda result: (calls.append(1), result)[1])
    calls.clear()
    with torch.no_grad():
        population.train_steps(*batches_of(population, 0, 4), [1.0] * 4)
    assert len(calls) == 4


def test_a_compiled_step_with_other_numbers_is_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ComputeError, match=r"compiled, its training gives other numbers, by 0\.5"):
        compile_with(monkeypatch, lambda result: result + 0.5)


@pytest.fixture
def accuracy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task whose score is the better the higher it is."""
    row = replace(task.TASKS[task.CLASSIFICATION], name="hits", metric="hits", lower_is_better=False)
    monkeypatch.setitem(task.TASKS, "hits", row)


def test_where_higher_is_better_targets_and_fronts_are_the_other_way_round(accuracy: None) -> None:
    def run(*scores: float) -> Any:
        curve = [SimpleNamespace(epoch=place + 1, valid_score=score) for place, score in enumerate(scores)]
        return SimpleNamespace(spec={"task": "hits"}, curve=curve, valid_score=max(scores), outcome="ok")

    good, poor = run(0.2, 0.7, 0.9), run(0.1, 0.6)
    assert common_target([good, poor]) == 0.6
    assert (epochs_to(good, 0.6), epochs_to(poor, 0.6), epochs_to(poor, 0.7)) == (2, 2, None)
    scores = [(1.0, 0.2), (2.0, 0.7), (3.0, 0.5), (4.0, 0.9)]
    points = [Point(activation="a", epoch=1, seconds=at, valid_error_pct=None, valid_metric=y) for at, y in scores]
    assert [point.valid_metric for point in front(points, lower_is_better=False)] == [0.2, 0.7, 0.9]


@pytest.mark.slow
def test_compiled_networks_stand_beside_the_eager_ones(tmp_path: Path) -> None:
    import relubench

    table = relubench.speed(
        "relu,gelu",
        network=True,
        compiled=True,
        dataset="digits",
        model="mlp-2x16",
        epochs=2,
        budget=2,
        runs_dir=tmp_path,
    )
    rows = [(row["activation"], row["mode"], row["outcome"]) for row in table.rows]
    assert rows == [(act, mode, "ok") for act in ("relu", "gelu") for mode in ("eager", "compiled")]
    assert all((row["compile_seconds"] or 0) > 0 for row in table.rows if row["mode"] == "compiled")
