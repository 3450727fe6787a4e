"""Operators, schedule and rows: with a clock that reads nothing but what the test says, and once for real."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from relubench.activations import ACTIVATIONS, build, select
from relubench.timing import operators, rows, schedule, traffic
from relubench.timing.buffers import Buffers
from relubench.timing.clocks import EventClock, HostClock
from relubench.timing.request import PASSES, Request, Size

SMALL = (Size("cache", 256),)


class FakeClock:
    """Seconds by rule: 1 ns an element, and twice that in the last third of the samples if it `slows`."""

    name = "fake"

    def __init__(self, noise: float = 0.0, slows: bool = False) -> None:
        self.generator = torch.Generator().manual_seed(3)
        self.noise, self.slows, self.calls = noise, slows, 0

    def sample(self, call: Callable[[], object], number: int, *, cold: bool) -> float:
        call()
        self.calls += 1
        jitter = 1 + self.noise * float(torch.rand((), generator=self.generator))
        return 256e-9 * jitter


def session(acts: list[str], clock: FakeClock, **asked: object) -> schedule.Session:
    made = Request(sizes=SMALL, **{"budget_s": 1000.0, **asked})  # type: ignore[arg-type]
    return schedule.prepare(made, select(acts), device="cpu", last_cache=2**25, clock=clock)


def finish(one: schedule.Session, ticks: float = 1.0) -> schedule.Session:
    now = iter(ticks * k for k in range(10**6))
    one.now = lambda: next(now)
    with torch.no_grad():
        for _ in one.run():
            pass
    return one


@pytest.mark.parametrize("name", PASSES)
def test_every_activation_has_every_pass_or_says_that_it_has_none(name: str) -> None:
    made = session(["all"], FakeClock(), passes=(name,))
    candidates = {one.label: one for one in made.cells[0].candidates}
    for label in ACTIVATIONS:
        one = candidates[label]
        assert one.timed_call is not None or (name == "inplace" and one.skipped), (label, one.failure)
    storage = {
        label: candidates[label].timed_call.storage for label in ("relu", "prelu") if candidates[label].timed_call
    }  # type: ignore[union-attr]
    assert (
        storage
        == {
            "forward": {"relu": "existing", "prelu": "allocating"},
            "allocating": {"relu": "allocating", "prelu": "allocating"},
            "backward": {"relu": "existing", "prelu": "allocating"},
            "forward+backward": {"relu": "existing", "prelu": "allocating"},
            "inplace": {"relu": "in place"},
        }[name]
    )


def test_tasks_compute_what_they_say() -> None:
    arena = Buffers.make(1000, 2, torch.float32, "cpu", 0, pool=True)
    z, grad = arena.z[:1000].clone(), arena.grad_source.clone()
    gelu = build(select(["gelu"])[0])
    for name in ("forward", "forward+backward", "backward"):
        one = operators.timed_call(gelu, name, arena)
        one.refill()
        one.call()
        if "forward" in name:
            assert torch.equal(arena.h, torch.nn.functional.gelu(z))
        if "backward" in name:
            assert torch.allclose(arena.grad, torch.ops.aten.gelu_backward(grad, z))
    one = operators.timed_call(build(select(["tanh"])[0]), "inplace", arena)
    one.refill()
    one.call()
    assert one.calls == len(arena.pool) > 1
    assert all(torch.equal(copy, z.tanh()) for copy in arena.pool)
    assert torch.equal(arena.z[:1000], z)


@pytest.mark.parametrize(
    ("label", "kept"), [("relu", 4), ("gelu", 4), ("glu", 8), ("maxout:pieces=3", 12), ("x*sigmoid(x)", 8)]
)
def test_bytes_kept_for_backward(label: str, kept: float) -> None:
    arena = Buffers.make(512, 3, torch.float32, "cpu", 0, pool=False)
    assert operators.timed_call(build(select([label])[0]), "forward+backward", arena).kept_bytes == kept


def test_equal_times_are_no_difference_and_end_at_the_interval() -> None:
    done = finish(session(["relu", "tanh"], FakeClock(noise=0.001)))
    assert done.ended == "interval"
    assert 6 <= done.rounds <= 12
    made = {row.activation: row for row in rows.rows(done) if row.pass_ == "forward"}
    assert made["relu"].ratio_to_relu == 1.0
    assert made["tanh"].ratio_to_relu == pytest.approx(1.0, abs=0.002)
    assert made["tanh"].verdict == "no difference"
    assert made["tanh"].ns_per_element == pytest.approx(1.0, abs=0.002)
    assert made["tanh"].gb_per_s == pytest.approx(8.0, abs=0.02)
    assert made["tanh"].roof_share == pytest.approx(1.0, abs=0.002)
    assert rows.against_itself(done).cells == 2


def test_noise_ends_at_the_budget() -> None:
    done = finish(session(["relu", "tanh"], FakeClock(noise=1.0), budget_s=60.0))
    assert done.ended == "budget"
    assert done.seconds <= 65


def test_one_round_is_measured_however_small_the_budget() -> None:
    done = finish(session(["relu"], FakeClock(), budget_s=0.001))
    assert done.rounds == 1
    assert all(row.ns_per_element is not None and row.ns_per_element_ci_low is None for row in rows.rows(done))


def test_order_changes_every_round_and_comes_from_the_seed() -> None:
    first, again, other = (
        [one.positions for one in finish(session(["relu", "tanh", "gelu"], FakeClock(), seed=seed)).cells[0].candidates]
        for seed in (0, 0, 1)
    )
    assert first == again != other
    assert all(len(set(positions)) > 1 for positions in first)


def test_what_raises_is_a_failed_row_and_the_others_are_measured(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\ndef broken(x): raise ValueError('no luck')\ndef halved(x): return x[:len(x)//2]\n"
        "def late(x, n=[0]):\n    n[0] += 1\n    assert n[0] < 8, 'tired'\n    return x\n"
    )
    mine = [f"{tmp_path}/mine.py:{name}" for name in ("broken", "halved", "late")]
    done = finish(session([*mine, "tanh"], FakeClock(noise=0.1), passes=("forward",), budget_s=60.0))
    made = {row.activation.rpartition(":")[2]: row for row in rows.rows(done)}
    assert (made["broken"].outcome, made["broken"].message) == ("failed", "ValueError: no luck")
    assert made["halved"].message == "it gives shape (128,) for shape (256,)"
    assert (made["late"].outcome, made["late"].message) == ("failed", "AssertionError: tired")
    assert (made["tanh"].outcome, made["tanh"].rounds > 8) == ("ok", True)


def test_gated_traffic_counts_both_columns() -> None:
    arena = Buffers.make(64, 2, torch.float32, "cpu", 0, pool=False)
    forward = operators.timed_call(build(select(["swiglu"])[0]), "forward", arena).traffic
    assert traffic.bytes_per_element(forward, 4) == 12
    assert traffic.patterns(forward) == {"two reads and a write"}
    assert traffic.roof_ns((traffic.Traffic(reads=3, writes=2),), {"two reads and a write": 3.0}) == pytest.approx(5.0)


def test_what_hands_its_gradient_on_has_no_backward_traffic() -> None:
    arena = Buffers.make(64, 1, torch.float32, "cpu", 0, pool=False)
    identity = build(select(["identity"])[0])
    assert operators.timed_call(identity, "backward", arena).traffic == ()
    assert operators.timed_call(identity, "forward+backward", arena).traffic == (traffic.Traffic(reads=1, writes=1),)
    done = finish(session(["identity"], FakeClock(), passes=("backward",)))
    row = next(row for row in rows.rows(done) if row.activation == "identity")
    assert (row.gb_per_s, row.roof_share) == (None, None)
    assert row.ns_per_element == pytest.approx(1.0)


def test_the_share_of_the_roof_is_taken_within_rounds() -> None:
    """Roof and activation slow down together: their quotient does not move, though their medians might."""
    done = session(["relu"], FakeClock(), passes=("forward",))
    cell = done.cells[0]
    for one in cell.candidates:
        one.samples = [2.0, 4.0, 8.0, 16.0] if one.role == "roof" else [4.0, 8.0, 16.0]
    assert rows.rows(done)[0].roof_share == 0.5


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("name", ["forward", "allocating", "backward", "forward+backward"])
def test_compiled_forms_compute_the_same_and_can_be_called_again(name: str) -> None:
    arena = Buffers.make(256, 1, torch.float32, "cpu", 0, pool=False)
    silu = build(select(["silu"])[0])
    one = operators.timed_call(silu, name, arena, compiled=True)
    assert one.compile_s is not None
    assert one.compile_s > 0
    for _ in range(3):
        one.refill()
        made = one.call()
    z = arena.z[:256]
    expected = torch.nn.functional.silu(z)
    if "backward" in name:
        expected = torch.ops.aten.silu_backward(arena.grad_source, z)
        made = made[0]  # type: ignore[index]
    assert isinstance(made, torch.Tensor)
    assert torch.allclose(made, expected, rtol=1e-5, atol=1e-6)


def test_host_clock_times_and_skips_warm_up_where_it_is_of_no_use() -> None:
    calls: list[int] = []
    clock = HostClock(1)
    assert clock.sample(lambda: calls.append(1), 1, cold=True) > 0
    assert len(calls) == 1
    clock.sample(lambda: calls.append(1), 5, cold=False)
    assert len(calls) > 6


class FakeCuda:
    """torch.cuda, as far as EventClock needs it: what was done, in order."""

    def __init__(self, captures: bool) -> None:
        self.log: list[str] = []
        self.captures = captures

    def Event(self, enable_timing: bool) -> FakeCuda:
        return self

    def Stream(self) -> FakeCuda:
        return self

    def CUDAGraph(self) -> FakeCuda:
        return self

    def record(self) -> None:
        self.log.append("record")

    def elapsed_time(self, end: FakeCuda) -> float:
        return 6.0

    def synchronize(self) -> None:
        pass

    def current_stream(self) -> FakeCuda:
        return self

    def wait_stream(self, other: FakeCuda) -> None:
        pass

    def stream(self, side: FakeCuda) -> FakeCuda:
        return self

    def graph(self, graph: FakeCuda) -> FakeCuda:
        if not self.captures:
            raise RuntimeError("operation not permitted when stream is capturing")
        return self

    def replay(self) -> None:
        self.log.append("replay")

    def __enter__(self) -> None:
        pass

    def __exit__(self, *problem: object) -> None:
        pass


def test_event_clock_replays_a_graph_and_flushes_before_a_cold_sample() -> None:
    cuda = FakeCuda(captures=True)
    clock = EventClock(cuda)

    class Flush:
        def zero_(self) -> None:
            cuda.log.append("flush")

    clock.flush = Flush()
    assert clock.sample(lambda: None, 3, cold=True) == pytest.approx(0.002)
    assert cuda.log == ["flush", "record", "replay", "replay", "replay", "record"]
    cuda.log.clear()
    clock.sample(lambda: None, 1, cold=False)
    assert cuda.log == ["replay", "record", "replay", "record"]


def test_event_clock_says_what_it_could_not_capture() -> None:
    clock = EventClock(FakeCuda(captures=False))
    calls: list[int] = []
    clock.sample(lambda: calls.append(1), 2, cold=False)
    assert len(calls) == 3 + 1 + 2
    assert "call by call" in clock.name
