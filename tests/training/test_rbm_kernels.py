"""RBMs by kernels against the same steps written out, and against published random numbers."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from llvmlite import ir
from torch import Tensor

from relubench.models.kernels.compiled import host_features, numbers_of
from relubench.models.kernels.emit import I32, Kernel
from relubench.models.kernels.object_code import engine_for
from relubench.models.kernels.rbm import philox, sigmoid
from relubench.models.random_streams import stream
from relubench.training.pretraining.rbm import ContrastiveDivergence, Rbm
from relubench.training.pretraining.rbm_kernels import KernelDivergence
from relubench.training.pretraining.units import HIDDEN

INPUTS, UNITS, BATCH = 71, 45, 14


def random_bits(counter: np.ndarray, key: int) -> np.ndarray:
    """Philox-4x32-10 of counters [4, n], written after Salmon et al. 2011, section 3.3."""
    c, k = counter.astype(np.uint64), [key & 0xFFFFFFFF, key >> 32 & 0xFFFFFFFF]
    low = np.uint64(0xFFFFFFFF)
    for turn in range(10):
        keys = [np.uint64((one + turn * more) & 0xFFFFFFFF) for one, more in zip(k, WEYL, strict=True)]
        one, other = (c[place] * np.uint64(factor) for place, factor in ((0, 0xD2511F53), (2, 0xCD9E8D57)))
        high = np.uint64(32)
        c = np.stack([other >> high ^ c[1] ^ keys[0], other & low, one >> high ^ c[3] ^ keys[1], one & low])
    return c


WEYL = (0x9E3779B9, 0xBB67AE85)

PUBLISHED = [
    (0x0, 0x0, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    (0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
]
"""Known answers of the Random123 library: every counter, key, bits."""


def drawn_as_by_kernels(x: Tensor, mean: Tensor, generator: torch.Generator) -> Tensor:
    """What a kernel draws with the generator's next key: number (sample, column) is output sample % 4 of a counter."""
    key = int(torch.zeros((), dtype=torch.int64).random_(generator=generator))
    samples, columns = mean.shape
    found = np.empty((samples, columns), np.float32)
    for sample in range(samples):
        counter = np.zeros((4, columns), np.uint64)
        counter[0], counter[1] = np.arange(columns), sample // 4 * 4
        found[sample] = (random_bits(counter, key)[sample % 4] >> np.uint64(8)).astype(np.float32) * 2.0**-24
    return (torch.from_numpy(found) < mean).to(mean)


def trainer(hidden: str, visible: str, **settings: Any) -> ContrastiveDivergence:
    draw = stream(1, "test")
    parts = [torch.empty(shape).normal_(std=0.2, generator=draw) for shape in ((UNITS, INPUTS), (UNITS,), (INPUTS,))]
    rbm = Rbm(*parts, hidden=hidden, visible=visible)
    return ContrastiveDivergence(rbm, rate=0.05, generator=stream(2, "test"), **settings)


def batches(sizes: tuple[int, ...] = (BATCH, BATCH, 9, BATCH)) -> list[Tensor]:
    """Numbers of which seven in ten are zero; the first inputs are always."""
    draw = stream(3, "test")
    shapes = [(size, INPUTS) for size in sizes]
    found = [
        torch.empty(one).uniform_(generator=draw) * (torch.empty(one).uniform_(generator=draw) < 0.3) for one in shapes
    ]
    for one in found:
        one[:, :5] = 0.0
    return found


def trained(one: ContrastiveDivergence, workers: int, *, sparse: bool = True) -> list[float]:
    kernels = KernelDivergence(one, BATCH, workers, sparse=sparse)
    errors = []
    for batch in batches():
        # Every batch gives the weights back and takes them again.
        with kernels.working():
            errors.append(float(kernels.step(batch)))
    return errors


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize(
    ("hidden", "visible", "settings"),
    [
        ("bernoulli", "bernoulli", {}),
        ("bernoulli", "bernoulli", {"momentum": 0.5, "weight_decay": 0.01}),
        ("bernoulli", "gaussian", {"weight_decay": 0.01}),
        ("bipolar", "bernoulli", {"k": 3}),
        ("bipolar", "bipolar", {"momentum": 0.9}),
        ("nrelu", "gaussian", {}),
        ("stepped", "bernoulli", {"momentum": 0.5}),
    ],
)
def test_steps_are_those_written_out(hidden: str, visible: str, settings: dict[str, Any], sparse: bool):
    plain, fast = (trainer(hidden, visible, **settings) for _ in range(2))
    if settings.get("k", 1) > 1:
        in_the_kernels_order(plain)
    if hidden == "bernoulli":
        plain.rbm.hidden = replace(HIDDEN["bernoulli"], sample=drawn_as_by_kernels)
    expected = [float(plain.step(one)) for one in batches()]
    assert trained(fast, 2, sparse=sparse) == pytest.approx(expected, rel=1e-4)
    for (name, one), other in zip(fast.tensors().items(), plain.tensors().values(), strict=True):
        assert torch.allclose(one, other, atol=2e-5), name


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_sampled_chains_are_those_written_out(visible: str):
    plain, fast = (trainer("bernoulli", visible, k=2, sampled=True) for _ in range(2))
    plain.rbm.hidden = replace(HIDDEN["bernoulli"], sample=drawn_as_by_kernels)
    in_the_kernels_order(plain)
    expected = [float(plain.step(one)) for one in batches()]
    assert trained(fast, 1) == pytest.approx(expected, rel=1e-4)
    assert torch.allclose(fast.rbm.weight, plain.rbm.weight, atol=2e-5)


def in_the_kernels_order(one: ContrastiveDivergence) -> None:
    """Kernels have the visible units [I, B]: they draw in that order."""
    units = one.rbm.visible
    one.rbm.visible = replace(
        units, sample=lambda a, mean, generator: units.sample(a.t().contiguous(), mean.t().contiguous(), generator).t()
    )


def test_who_draws_is_of_no_account():
    """With one thread and with three, what is drawn is the same."""
    one, three = (trainer("bernoulli", "bernoulli") for _ in range(2))
    assert trained(one, 1) == pytest.approx(trained(three, 3), rel=1e-4)
    assert torch.allclose(one.rbm.weight, three.rbm.weight, atol=2e-5)


@pytest.mark.parametrize("size", [1, 2, 7, 10, 12, 13, 33, 100])
def test_every_size_of_batch_is_cut_right(size: int):
    plain, fast = (trainer("bipolar", "bernoulli") for _ in range(2))
    kernels = KernelDivergence(fast, size, 2, sparse=True)
    for batch in batches((size, size)):
        with kernels.working():
            found = float(kernels.step(batch))
        assert found == pytest.approx(float(plain.step(batch)), rel=1e-4)
    assert torch.allclose(fast.rbm.weight, plain.rbm.weight, atol=2e-5)


def test_a_number_that_is_none_spreads():
    one = trainer("bernoulli", "bernoulli")
    one.rbm.weight[3, 9] = torch.nan
    assert all(np.isnan(trained(one, 2)))


def function(emit: Callable[[Kernel, Any], None]) -> Callable[[int], None]:
    """A kernel of one argument, compiled."""
    numbers = numbers_of(host_features(), double=False)
    module = ir.Module("test")
    k = Kernel(module, "tried", numbers, ("at",))
    emit(k, numbers)
    k.b.ret_void()
    engine = engine_for(str(module), lambda: module)
    call = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64)(engine.get_function_address("tried"))

    def run(address: int, engine: Any = engine) -> None:
        words = np.array([address], np.int64)
        call(words.ctypes.data, 0)

    return run


@pytest.mark.parametrize(("counter", "key", "bits"), PUBLISHED)
def test_random_bits_are_the_published_ones(counter: int, key: int, bits: list[int]):
    lanes = numbers_of(host_features(), double=False).lanes
    assert random_bits(np.full((4, 1), counter), key)[:, 0].tolist() == bits

    def emit(k: Kernel, numbers: Any) -> None:
        vector = ir.VectorType(I32, lanes)
        counters = [ir.Constant(vector, [counter] * lanes)] * 4
        keys = [ir.Constant(I32, key & 0xFFFFFFFF), ir.Constant(I32, key >> 32)]
        for place, one in enumerate(philox(k, counters, keys)):
            k.store_vector(
                k.b.bitcast(one, numbers.vector), k.numbers_at("at"), ir.Constant(ir.IntType(64), place * lanes)
            )

    found = np.zeros((4, lanes), np.uint32)
    function(emit)(found.ctypes.data)
    assert found.tolist() == [[one] * lanes for one in bits]


def test_sigmoid_is_the_formula_to_a_few_last_bits():
    x = torch.cat(
        [torch.linspace(-100, 100, 4001), torch.tensor([0.0, -0.0, 1e-30, -1e30, 1e30, torch.inf, -torch.inf])]
    )
    lanes = numbers_of(host_features(), double=False).lanes
    found = torch.nn.functional.pad(x, (0, -len(x) % lanes)).contiguous()

    def emit(k: Kernel, numbers: Any) -> None:
        at, word = k.numbers_at("at"), ir.IntType(64)

        def vector(place: Any, _: list[Any]) -> None:
            k.store_vector(sigmoid(k, k.load_vector(at, place)), at, place)

        k.loop(ir.Constant(word, 0), ir.Constant(word, len(found)), lanes, vector)

    function(emit)(found.data_ptr())
    expected = torch.sigmoid(x.double())
    assert torch.allclose(found[: len(x)].double(), expected, rtol=4e-7, atol=1e-37)


def test_a_units_share_of_draws_is_its_mean():
    """Units of all means up to 1, drawn 100,000 times: within five standard deviations of the mean."""
    one = trainer("bernoulli", "bernoulli")
    kernels = KernelDivergence(one, 100, 1, sparse=False)
    wanted = torch.arange(1, UNITS + 1) / UNITS
    total = torch.zeros(UNITS, dtype=torch.float64)
    kernels._load(torch.zeros(100, INPUTS))
    kernels.y[:100, :UNITS] = torch.logit(wanted)
    with kernels.team.working():
        for _ in range(1000):
            kernels._draw(kernels.h0, 100)
            total += kernels.samples[:100, :UNITS].sum(dim=0)
    deviation = (wanted * (1 - wanted) / 100_000).sqrt()
    assert ((total / 100_000 - wanted).abs() <= 5 * deviation + 1e-6).all()
