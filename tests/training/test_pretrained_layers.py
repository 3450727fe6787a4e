"""Pre-trained stacks in the store: shared, resumed to the same bits, kept when a later layer diverges."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import relubench.training.driver
from relubench.errors import DataError, UsageError
from relubench.executors.messages import Done, Message, Progress
from relubench.executors.tasks import carry_out, never
from relubench.experiments.pretraining_search import shared_stacks
from relubench.runs import pretrained_file
from relubench.runs.clock import Clock
from relubench.runs.layer_id import layer_id
from relubench.runs.store import Store
from relubench.training.driver import Interrupted
from relubench.training.pretraining.layers import export_layers
from specs import StoredJob, finish, job, notes

SECTIONS: dict[str, Any] = {
    "train": {"epochs": 3, "batch_size": 10, "lr": 0.05},
    "model": {"name": "mlp-40-24"},
    "pretrain": {"methods": ["rbm"], "epochs": 2, "lr": 0.01},
}


def of(method: str, store: Path, act: str = "relu", data: dict[str, Any] | None = None, **pretrain: Any) -> StoredJob:
    sections = {**SECTIONS, "pretrain": {**SECTIONS["pretrain"], "methods": [method], **pretrain}}
    return job(act, store, **sections, data=data or {})


def stages(messages: Iterable[Message]) -> list[str]:
    """The stages of pre-training that are reported."""
    return [message.stage for message in messages if isinstance(message, Progress)]


def contents(root: Path) -> dict[str, bytes]:
    files = [one for folder in ("runs", "stacks") for one in (root / folder).rglob("*") if one.is_file()]
    return {str(one.relative_to(root)): one.read_bytes() for one in sorted(files)}


@pytest.mark.parametrize(("method", "act"), [("rbm", "relu"), ("dae", "nrelu")])
def test_stopped_in_the_second_layer_and_resumed_it_ends_in_the_same_bytes(tmp_path: Path, method: str, act: str):
    whole, broken = of(method, tmp_path / "whole", act), of(method, tmp_path / "broken", act)
    finish(whole)
    reported: list[Message] = []
    with pytest.raises(Interrupted):
        for message in carry_out(
            broken, Store(broken.store), lambda: any("layer 2" in stage for stage in stages(reported))
        ):
            reported.append(message)
    store, spec = Store(tmp_path / "broken"), broken.specs[0]
    assert store.layer(layer_id(spec, 0)) is not None
    assert store.unfinished() == [layer_id(spec, 1)]
    finish(broken)
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")
    assert store.unfinished() == []
    timing = store.timing(layer_id(spec, 1))
    assert timing is not None and timing.interruptions == 1


def test_fine_tunings_share_a_stack_and_count_its_seconds(tmp_path: Path):
    first = of("rbm", tmp_path)
    finish(first)
    second = replace(first, specs=[replace(first.specs[0], lr=0.01)])
    messages = finish(second)
    assert not any("layer" in stage for stage in stages(messages))
    store = Store(tmp_path)
    timings = [store.timing(one.specs[0].id) for one in (first, second)]
    assert timings[0] is not None and timings[1] is not None
    assert timings[0].pretraining_seconds == timings[1].pretraining_seconds > 0
    assert timings[1].seconds > timings[1].pretraining_seconds


def test_fine_tuning_starts_from_the_stack_and_sees_the_same_batches(tmp_path: Path):
    from relubench.training.images import Images
    from relubench.training.population import Population
    from relubench.training.pretraining.layers import PretrainedLayers

    one = of("dae", tmp_path)
    spec = one.specs[0]
    stack = PretrainedLayers()
    assert list(stack.obtain(spec, one.choice, one.prepared, Store(tmp_path), fresh=False, stop=never))
    data = Images.open(one.prepared, device="cpu", flat=True)
    plain, started = (Population([spec], one.choice, data) for _ in range(2))
    started.start_from(0, stack.weights)
    for a, b in zip(plain.parameters, started.parameters, strict=True):
        output = a.name.startswith("2.")
        assert torch.equal(a.value, b.value) == output, a.name
        assert output or torch.equal(b.value, stack.weights[b.name])
    for population in (plain, started):
        next(population.train())
    assert torch.equal(plain.order_PN, started.order_PN)


def test_a_layer_that_diverges_ends_the_run_and_keeps_what_is_finished(tmp_path: Path):
    one = of("dae", tmp_path, reconstruction="linear", tied=False)
    spec = one.specs[0]
    assert spec.stack is not None
    one = replace(one, specs=[replace(spec, stack=spec.stack.with_rates((0.001, 500.0)))])
    messages = finish(one)
    assert isinstance(messages[-1], Done)
    store, run = Store(tmp_path), one.specs[0]
    result = store.result(run.id)
    assert result is not None
    assert (result.outcome, result.test_error_pct) == ("diverged", None)
    assert result.message.startswith("pre-training of layer 2 diverged in epoch 1")
    assert store.layer_weights(layer_id(run, 0)) is not None
    assert store.layer_weights(layer_id(run, 1)) is None
    finish(replace(one, specs=[replace(run, lr=0.01)]))


def test_a_damaged_checkpoint_starts_the_layer_anew(tmp_path: Path):
    one = of("rbm", tmp_path)
    path = Store(tmp_path).checkpoint(layer_id(one.specs[0], 0))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a checkpoint at all")
    assert "cannot be used" in "".join(notes(finish(one)))


def test_checkpoints_are_written_once_a_minute_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    written: list[str] = []
    monkeypatch.setattr(Store, "put_checkpoint", lambda store, run, content: written.append(run))
    finish(of("rbm", tmp_path))
    assert written == []
    assert relubench.training.driver.CHECKPOINT_SECONDS == 60.0


def test_an_exported_stack_serves_another_run(tmp_path: Path):
    one = of("rbm", tmp_path / "a")
    finish(one)
    path = tmp_path / "stack.safetensors"
    path.write_bytes(export_layers(one.specs[0], Store(tmp_path / "a")))
    file = pretrained_file.read(path)
    assert file.facts["method"] == "rbm"
    assert file.spec.origin == "rbm, relu, digits"
    pretrained_file.check_fit(file, (1, 8, 8), (40, 24), 1)
    pretrained_file.check_fit(file, (1, 8, 8), (40, 24, 9), 1)
    for hidden in ((40,), (40, 25), (24, 40)):
        with pytest.raises(UsageError, match=r"does not fit the network|has 2 layers, the network 1"):
            pretrained_file.check_fit(file, (1, 8, 8), hidden, 1)


def test_what_is_no_stack_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="cannot be read"):
        pretrained_file.read(tmp_path / "missing")
    (tmp_path / "junk").write_bytes(b"12345678junk")
    with pytest.raises(DataError, match="is no safetensors file"):
        pretrained_file.read(tmp_path / "junk")
    import numpy as np
    from safetensors.numpy import save

    (tmp_path / "other").write_bytes(save({"encoder": np.zeros(3)}))
    with pytest.raises(DataError, match="is no layer's tensor"):
        pretrained_file.read(tmp_path / "other")
    (tmp_path / "gap").write_bytes(save({"1.weight": np.zeros(3)}))
    with pytest.raises(DataError, match="lacks a layer"):
        pretrained_file.read(tmp_path / "gap")


def test_few_labels_are_pretrained_on_all_images_and_share_the_stack_of_all_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    images: list[int] = []
    timing = Clock.timing
    monkeypatch.setattr(Clock, "timing", lambda clock, *members: images.append(clock.images) or timing(clock, *members))
    few, fewer, all_ = (of("rbm", tmp_path, data={"labels": labels}) for labels in (100, 60, None))
    messages = finish(few)
    layers = [layer_id(one.specs[0], layer) for one in (few, fewer, all_) for layer in (0, 1)]
    assert layers[0:2] == layers[2:4] == layers[4:6]
    assert len({one.specs[0].id for one in (few, fewer, all_)}) == 3
    # Two epochs of all 1,077 images, not of the 100 with a label.
    assert images[:2] == [2 * 1077, 2 * 1077]
    assert any("layer 1" in stage for stage in stages(messages))
    for other in (fewer, all_):
        assert not any("layer" in stage for stage in stages(finish(other)))
    result = Store(tmp_path).result(few.specs[0].id)
    assert result is not None and result.test_error_pct is not None
    assert result.spec["labels"] == 100


def test_a_stack_that_several_runs_start_from_is_trained_before_them(tmp_path: Path):
    few, all_ = of("rbm", tmp_path, data={"labels": 100}), of("rbm", tmp_path)
    store, alone = Store(tmp_path), of("dae", tmp_path)
    runs = [one.specs[0] for one in (few, all_, alone)]
    assert shared_stacks(runs, store, fresh=False) == [runs[0]]
    finish(replace(few, pretrain_only=True))
    assert store.result(runs[0].id) is None
    assert shared_stacks(runs, store, fresh=False) == []
    assert shared_stacks(runs, store, fresh=True) == [runs[0], runs[2]]


def test_fresh_trains_a_shared_stack_once(tmp_path: Path):
    few, all_ = of("rbm", tmp_path, data={"labels": 100}), of("rbm", tmp_path)
    stage = "rbm layer 1"
    told = finish(replace(few, pretrain_only=True, fresh=True))
    assert any(stage in text for text in stages(told))
    before = contents(tmp_path)
    told = [message for one in (few, all_) for message in finish(replace(one, fresh=True))]
    assert not any(stage in text for text in stages(told))
    assert before.items() <= contents(tmp_path).items()
    told = finish(replace(few, pretrain_only=True, fresh=True))
    assert any(stage in text for text in stages(told))
