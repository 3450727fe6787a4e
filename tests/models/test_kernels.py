"""The generated kernels of dense layers: their values, the order of their sums, what they leave out, who uses them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from relubench.models.backend import backend_of, route, uses_kernels
from relubench.models.builder import Builder
from relubench.models.kernels import compiled, layer, sparse
from relubench.models.kernels.compiled import host_features, numbers_of
from relubench.models.kernels.layer import CompiledKernels, KernelLinear
from relubench.models.kernels.layout import MANY, TILE, choose_tiling
from relubench.models.layers.activation import AnalyticActivation
from relubench.models.optimizers import Parameter, Sgd
from relubench.runs.spec import RunSpec
from relubench.training.images import Images
from relubench.training.population import Population
from specs import digits, runs

RATE = 0.1


class Trial:
    """A layer by kernels, and what one step of it must come to, in float64."""

    def __init__(
        self,
        batch: int,
        inputs: int,
        outputs: int,
        *,
        workers: int = 1,
        first: bool = False,
        dtype: Any = torch.float32,
        layers: Sequence[int] = (),
    ) -> None:
        generator = torch.Generator().manual_seed(batch)
        w = torch.randn(outputs, inputs, generator=generator, dtype=torch.float64)
        self.w, self.b = w / inputs**0.5, torch.randn(outputs, generator=generator, dtype=torch.float64)
        self.x, self.grad = (
            torch.randn(batch, size, generator=generator, dtype=torch.float64) for size in (inputs, outputs)
        )
        self.x[:, ::3] = 0.0
        weight, bias = (Parameter(name, one.to(dtype), True) for name, one in (("w", self.w), ("b", self.b)))
        self.parameters, self.dtype, self.first = (weight, bias), dtype, first
        self.update = Sgd(self.parameters, [RATE], 0.0, 0.0, batched=False)
        self.kernels = CompiledKernels(batch, workers, list(layers) or [outputs])
        self.passes = KernelLinear(weight, bias, self.kernels, "torch", first)

    def step(self, rows: int | None = None) -> list[Tensor]:
        """z, the gradient below, W and b after a step on the first `rows` of the batch."""
        with self.kernels.working():
            z = self.passes.forward(self.x[:rows].to(self.dtype)).clone()
            below = self.passes.backward(self.grad[:rows].to(self.dtype), self.update, self.first).clone()
        self.kernels.synchronise()
        return [z, below, *(one.value.clone() for one in self.parameters)]

    def expected(self, rows: int | None = None) -> list[Tensor]:
        x, grad = self.x[:rows], self.grad[:rows]
        below = grad if self.first else grad @ self.w
        return [x @ self.w.t() + self.b, below, self.w - RATE * grad.t() @ x, self.b - RATE * grad.sum(dim=0)]


def test_the_vectors_are_as_wide_as_the_option_says(pytestconfig: pytest.Config):
    vector_bytes = pytestconfig.getoption("--vector-bytes")
    lanes = numbers_of(host_features(), double=False).lanes
    assert lanes == vector_bytes // 4 if vector_bytes else lanes in (4, 8, 16)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize(
    ("batch", "inputs", "outputs"),
    [(1, 40, 24), (3, 37, 10), (10, 100, 33), (12, 64, 64), (13, 50, 70), (40, 31, 17), (1000, 31, 17)],
)
def test_a_step_is_the_products(batch: int, inputs: int, outputs: int, first: bool, dtype: torch.dtype):
    trial = Trial(batch, inputs, outputs, first=first, dtype=dtype)
    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 1e-12, "atol": 1e-12}
    for found, expected in zip(trial.step(), trial.expected(), strict=True):
        torch.testing.assert_close(found.double(), expected, **close)


@pytest.mark.parametrize(("batch", "rows"), [(10, 3), (30, 11), (40, 1)])
def test_the_last_batch_of_an_epoch_is_smaller(batch: int, rows: int):
    trial = Trial(batch, 30, 20, dtype=torch.float64)
    trial.step()
    trial.w, trial.b = (one.value.clone() for one in trial.parameters)
    for found, expected in zip(trial.step(rows), trial.expected(rows), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("batch", [10, 40])
@pytest.mark.parametrize("outputs", [83, 10])
def test_more_threads_change_last_bits_of_the_gradient_below_only_and_always_alike(
    batch: int, outputs: int, first: bool
):
    # With 10 outputs there are workers without a column.
    alone, *others = (Trial(batch, 101, outputs, workers=workers, first=first) for workers in (1, 2, 2, 5, 5))
    for _ in range(3):
        expected = alone.step()
        found = [other.step() for other in others]
        for one in found:
            assert all(torch.equal(one[place], expected[place]) for place in (0, 2, 3))
            torch.testing.assert_close(one[1], expected[1], rtol=1e-4, atol=1e-5)
        for one, other in ((found[0], found[1]), (found[2], found[3])):
            assert torch.equal(one[1], other[1])


@pytest.mark.parametrize("batch", [10, 40])
def test_what_no_helper_begins_the_caller_does(batch: int):
    with_helpers, without = (Trial(batch, 101, 83, workers=3) for _ in range(2))
    without.kernels.team.awake = True  # So that none are started.
    for _ in range(3):
        for found, expected in zip(without.step(), with_helpers.step(), strict=True):
            assert torch.equal(found, expected)


def test_inputs_that_are_zero_in_the_whole_batch_are_left_out_without_a_trace():
    left_out, dense = (Trial(10, 60, 40, first=first) for first in (True, False))
    for _ in range(3):
        found, expected = left_out.step(), dense.step()
        assert all(torch.equal(found[place], expected[place]) for place in (0, 2, 3))


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_what_is_not_finite_is_passed_on(value: float):
    trial = Trial(10, 40, 30, first=True)
    trial.x[4, 7] = value
    z, _, w, _ = trial.step()
    assert not torch.isfinite(z[4]).any() and torch.isfinite(z[:4]).all()
    assert not torch.isfinite(w[:, 7]).any() and torch.isfinite(w[:, :7]).all()


# -- zeros left out one by one -----------------------------------------------------------------------------------------


def thin_trial(monkeypatch: pytest.MonkeyPatch, enough: int, *, zeros: float = 0.8, **given: Any) -> Trial:
    """A layer with that share of zeros in x and in the gradient; `enough` per cent of them are left out."""
    monkeypatch.setattr(sparse, "ENOUGH", enough)
    trial = Trial(**given)
    generator = torch.Generator().manual_seed(1)
    for one in (trial.x, trial.grad):
        one.normal_(generator=generator)
        one[torch.rand(one.shape, generator=generator) < zeros] = 0.0
    return trial


NEVER = 101
"""More zeros than there can be."""


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize(
    ("batch", "inputs", "outputs", "workers", "dtype"),
    [
        *((13, 300, 40, 1, torch.float32), (50, 200, 300, 2, torch.float32), (130, 230, 83, 3, torch.float32)),
        *((70, 64, 1040, 2, torch.float32), (40, 210, 10, 2, torch.float32), (33, 250, 90, 2, torch.float64)),
    ],
)
def test_leaving_out_zeros_changes_no_bit(
    monkeypatch: pytest.MonkeyPatch, batch: int, inputs: int, outputs: int, workers: int, dtype: Any, first: bool
):
    given: dict[str, Any] = {"batch": batch, "inputs": inputs, "outputs": outputs, "workers": workers}
    by_zeros, dense = (
        thin_trial(monkeypatch, enough, **given, dtype=dtype, first=first) for enough in (sparse.ENOUGH, NEVER)
    )
    assert by_zeros.passes.codes != dense.passes.codes
    for rows in (None, batch - 5, None):
        for found, expected in zip(by_zeros.step(rows), dense.step(rows), strict=True):
            assert torch.equal(found, expected)


def test_zeros_are_left_out_only_where_there_are_enough(monkeypatch: pytest.MonkeyPatch):
    # What is not finite shows whether it was multiplied by a zero.
    ways = {}
    for name, zeros in (("many", 0.8), ("few", 0.2)):
        trial = thin_trial(monkeypatch, sparse.ENOUGH, zeros=zeros, batch=40, inputs=250, outputs=60)
        trial.x[:, 7] = 0.0
        trial.grad[:, 9] = 0.0
        trial.parameters[0].value = trial.parameters[0].value.clone()
        trial.parameters[0].value[:, 7] = float("inf")
        trial.parameters[0].value[9, :] = float("inf")
        z, below, *_ = trial.step()
        ways[name] = bool(torch.isfinite(z[:, :9]).all()), bool(torch.isfinite(below[:, 8:]).all())
    assert ways == {"many": (True, True), "few": (False, False)}


@pytest.mark.parametrize("lanes", [2, 4, 8, 16])
def test_a_group_of_rows_is_whole_tiles(lanes: int):
    # Else the rows behind a group are updated with it, and once more with their own: seen with four lanes, where the
    # gradient had many zeros and the inputs had few.
    for hidden in ([300, 300, 10], [128, 10], [1000, 1000, 1000, 10], [37, 10], [10]):
        for registers in (16, MANY):
            assert sparse.in_strips_of(choose_tiling(50, registers), hidden, 1, lanes).tall * lanes % TILE == 0


@pytest.mark.parametrize("outputs", [[300], [300, 300, 10]])
@pytest.mark.parametrize("batch", [16, 50])
def test_many_zeros_in_the_gradient_and_few_in_the_inputs(batch: int, outputs: list[int]):
    trial = Trial(batch, 300, 300, layers=outputs)
    generator = torch.Generator().manual_seed(1)
    trial.grad[torch.rand(trial.grad.shape, generator=generator) < 0.8] = 0.0
    for found, expected in zip(trial.step(), trial.expected(), strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


def test_columns_are_cut_into_strips_of_nearly_one_width():
    assert sparse.in_strips_of(choose_tiling(128, MANY), [1000, 1000, 10], 2, 16).strips == (11, 10)
    for columns in range(1, 2000, 37):
        tiling = sparse.in_strips_of(choose_tiling(128, MANY), [columns, 10], 1, 16)
        vectors = -(-columns // 16)
        count = -(-vectors // sparse.STRIP)
        assert set(tiling.strips) >= {vectors // count, -(-vectors // count)} - {1}
        assert 1 <= tiling.tall <= sparse.STRIP


def test_an_exchanged_value_is_laid_out_anew():
    trial = Trial(10, 20, 30, dtype=torch.float64)
    trial.step()
    trial.w, trial.b = trial.w * 2.0, trial.b - 1.0
    trial.parameters[0].value, trial.parameters[1].value = trial.w.clone(), trial.b.clone()
    for found, expected in zip(trial.step(), trial.expected(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_blocks_of_samples_leave_little_over():
    for batch, registers in itertools.product(range(1, 1025), (16, MANY)):
        tiling = choose_tiling(batch, registers)
        assert batch <= tiling.padded < batch + tiling.block and tiling.block <= 12
        assert tiling.panels == (registers == 16 and batch > 12)
    assert choose_tiling(10, MANY).padded == 10 and choose_tiling(128, MANY).padded <= 132
    assert choose_tiling(128, 16).padded == 128


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize(
    ("batch", "inputs", "outputs", "workers", "zeros", "dtype"),
    [
        *((13, 300, 40, 1, 0.2, torch.float32), (130, 230, 83, 3, 0.8, torch.float32)),
        *(
            (40, 610, 300, 2, 0.1, torch.float32),
            (33, 250, 90, 2, 0.6, torch.float64),
            (10, 90, 1300, 1, 0.3, torch.float32),
        ),
        *(
            (7, 50, 700, 2, 0.3, torch.float64),
            (100, 31, 10, 2, 0.9, torch.float32),
            (1000, 31, 17, 1, 0.3, torch.float32),
        ),
    ],
)
def test_few_registers_change_no_bit(
    monkeypatch: pytest.MonkeyPatch,
    batch: int,
    inputs: int,
    outputs: int,
    workers: int,
    zeros: float,
    dtype: Any,
    first: bool,
):
    # The same vectors, with few registers and with many: other tiles, other orders in memory, the same sums.
    steps = []
    for registers in (16, MANY):

        def with_registers(features: frozenset[str], double: bool, registers: int = registers) -> Any:
            return replace(numbers_of(features, double), registers=registers)

        for module in (compiled, layer):
            monkeypatch.setattr(module, "numbers_of", with_registers)
        compiled.compiled.cache_clear()
        given: dict[str, Any] = {"batch": batch, "inputs": inputs, "outputs": outputs, "workers": workers}
        trial = thin_trial(monkeypatch, sparse.ENOUGH, zeros=zeros, **given, dtype=dtype, first=first)
        assert trial.kernels.tiling.panels == (registers == 16 and batch > 12)
        steps.append([trial.step(rows) for rows in (None, batch - 5, None)])
    compiled.compiled.cache_clear()
    for few_step, many_step in zip(*steps, strict=True):
        assert all(torch.equal(one, other) for one, other in zip(few_step, many_step, strict=True))


# -- a network ---------------------------------------------------------------------------------------------------------


def network(activation: str = "relu", **sections: Any) -> tuple[Any, RunSpec]:
    train = {"epochs": 2, **sections.pop("train", {})}
    choice, (spec,) = runs(activation, train=train, model={"name": "mlp-2x300"}, **sections)
    return choice, replace(spec, backend="kernels")


def trained(spec: RunSpec, choice: Any) -> Population:
    population = Population([spec], choice, Images.open(digits(), device="cpu", flat=True))
    for _ in population.train():
        continue
    return population


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch_size", [10, 50, 600])
def test_a_network_learns_the_same_as_without_kernels(batch_size: int, threads: int):
    choice, spec = network(train={"batch_size": batch_size})
    spec = replace(spec, threads=threads)
    by, without = trained(spec, choice), trained(replace(spec, backend="torch"), choice)
    assert by.kernels is not None and without.kernels is None
    for mine, theirs in zip(by.members[0].curve, without.members[0].curve, strict=True):
        assert mine.train_loss == pytest.approx(theirs.train_loss, rel=1e-2)
        assert mine.valid_error_pct == pytest.approx(theirs.valid_error_pct, abs=1.2)


BESIDES: list[dict[str, Any]] = [
    *({}, {"l1": 0.01}, {"dropout": 0.4}, {"norm": "batch"}, {"sign_flip": True}, {"batch_size": 50})
]
"""What may lie between a layer's products and the next one's."""


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "leaky_relu:negative_slope=0.3"])
@pytest.mark.parametrize(
    "more", [{}, {"l1": 0.01}, {"dropout": 0.4}, {"norm": "batch"}, {"sign_flip": True}, {"batch_size": 50}]
)
@pytest.mark.parametrize("threads", [1, 3])
def test_kernels_that_do_the_activations_work_change_no_bit(
    monkeypatch: pytest.MonkeyPatch, activation: str, more: dict[str, Any], threads: int
):
    choice, spec = network(activation, train={"batch_size": 7, "epochs": 1})
    spec = replace(spec, threads=threads, **more)
    by_kernels_alone = trained(spec, choice)
    done = [one.forward_fused for one in by_kernels_alone.layers if isinstance(one, AnalyticActivation)]
    assert len(done) == 2 and all(done) == ("norm" not in more)
    monkeypatch.setattr(Builder, "_join", lambda *_: None)
    apart = trained(spec, choice)
    assert by_kernels_alone.members[0].curve == apart.members[0].curve
    for one, other in zip(by_kernels_alone.parameters, apart.parameters, strict=True):
        assert torch.equal(one.value, other.value)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_network_ends_in_the_same_bits_when_resumed(threads: int):
    choice, spec = network(train={"batch_size": 7})
    spec = replace(spec, threads=threads)
    whole = trained(spec, choice)
    halves = Population([spec], choice, Images.open(digits(), device="cpu", flat=True))
    halves.batch_chunk = 50
    next(halves.train())
    tensors, values = halves.state()
    resumed = Population([spec], choice, Images.open(digits(), device="cpu", flat=True))
    resumed.load({key: one.clone() for key, one in tensors.items()}, values)
    for _ in resumed.train():
        continue
    assert resumed.members[0].curve == whole.members[0].curve
    for one, other in zip(resumed.parameters, whole.parameters, strict=True):
        assert torch.equal(one.value, other.value)


def test_within_an_epoch_the_weights_are_those_that_the_kernels_have():
    choice, spec = network(train={"batch_size": 7})
    population = Population([spec], choice, Images.open(digits(), device="cpu", flat=True))
    population.batch_chunk = 50
    before = {name: one.clone() for name, one in population.weights(0, best=False).items()}
    next(population.train())
    now, (tensors, _) = population.weights(0, best=False), population.state()
    for name, one in now.items():
        assert torch.equal(one, tensors[name]) and not torch.equal(one, before[name])
    population.evaluate("test", best=True)
    assert all(torch.equal(one, now[name]) for name, one in population.weights(0, best=False).items())


def test_a_network_that_diverges_is_seen_to():
    choice, spec = network(train={"lr": 1e6})
    assert trained(spec, choice).members[0].stopped == "diverged"


def test_the_route_is_a_function_of_the_specification():
    _, spec = network()
    assert uses_kernels(spec) and route(spec, 1) == "cpu, 1 thread, kernels"
    assert route(replace(spec, backend="onednn", threads=2), 1) == "cpu, 2 threads"


def test_a_processor_that_the_package_knows_needs_no_backend_in_a_specification():
    _, spec = network()
    spec = replace(spec, backend=None, device_name="AMD EPYC (AVX512)")
    assert uses_kernels(spec) and backend_of(spec) == "kernels+onednn"
    others: list[dict[str, Any]] = [
        *({"optimizer": "adam"}, {"momentum": 0.9}, {"weight_decay": 1e-4}, {"precision": "bf16"}),
        *({"hidden": (64, 64)}, {"model": "cnn", "channels": (32, 64)}, {"batch_size": 1025}, {"device": "cuda"}),
    ]
    for other in others:
        assert not uses_kernels(replace(spec, **other)), other
    assert backend_of(replace(spec, batch_size=1025)) == "onednn"
    # What has to be measured is not known by a name.
    assert backend_of(replace(spec, device_name="AMD EPYC (AVX2)")) == "torch"
    intel = replace(spec, device_name="Intel(R) Xeon(R) Processor (AVX512)")
    assert backend_of(intel) == "torch" and backend_of(replace(intel, hidden=(64, 64), threads=1)) == "turned"
