"""A run that is killed over and over, and then resumed to its end: are its bits those of a run that nobody disturbed?

The attempts are forked processes: this one has imported torch and touched no device. Each writes a checkpoint after
every chunk of steps, and is killed a random time after its first step, whatever it is doing then.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.gpu.data import dataset
from benchmarks.gpu.setting import Row, Setting

KILLS, SMALL_KILLS = 30, 4
LEAST_SECONDS = 0.02
PATIENCE = 60.0
"""Seconds until a process that has made no step is given up."""


def rows(setting: Setting) -> Iterator[Row]:
    """The undisturbed run, then one row after every kill, then the comparison."""
    begun, values = time.monotonic(), _values(setting)
    plain, killed = setting.folder / "undisturbed", setting.folder / "killed"
    _, seconds = _attempt(values, setting, plain, None)
    yield {"what": "undisturbed", "seconds_after_the_first_step": round(seconds, 3)}
    chance, kills = random.Random(0), 0
    wanted = SMALL_KILLS if setting.small else KILLS
    slowest = 0.0
    while kills < wanted and time.monotonic() - begun < setting.seconds - 3 * slowest - 2 * seconds:
        started = time.monotonic()
        after = chance.uniform(LEAST_SECONDS, max(2 * LEAST_SECONDS, min(1.0, 0.5 * seconds)))
        was_killed, _ = _attempt(values, setting, killed, after)
        slowest = max(slowest, time.monotonic() - started)
        kills += was_killed
        if not was_killed:
            # It ended before its death: begin anew.
            _forget(killed)
    _attempt(values, setting, killed, None)
    expected, resumed = _content(plain), _content(killed)
    interruptions = _interruptions(killed)
    same = expected == resumed and bool(expected)
    yield {
        "what": "killed and resumed",
        "kills": kills,
        "kills_wanted": wanted,
        "interruptions_in_its_clock": interruptions,
        "same_bits": same,
        **({} if same else {"error": f"other bits after {kills} kills"}),
    }


def _attempt(values: Row, setting: Setting, store: Path, kill_after: float | None) -> tuple[bool, float]:
    """Whether the process was killed, and how many seconds it lived after its first step."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            os.close(reading)
            _train(values, setting, store, writing)
            code = 0
        os._exit(code)
    os.close(writing)
    ready, _, _ = select.select([reading], [], [], PATIENCE)
    first = time.monotonic()
    if not ready:
        os.kill(child, signal.SIGKILL)
    elif kill_after is not None:
        time.sleep(kill_after)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    os.close(reading)
    _, status = os.waitpid(child, 0)
    if not ready:
        raise RuntimeError("a training made no step")
    if kill_after is None and status:
        raise RuntimeError(f"the training ended with wait status {status}")
    return os.WIFSIGNALED(status), time.monotonic() - first


def _train(values: Row, setting: Setting, folder: Path, announce: int) -> None:
    """Carry the run out, in this process; a byte says that the first step is done."""
    import relubench.training.driver
    from relubench.executors.inline import InlineExecutor
    from relubench.experiments.config import experiment
    from relubench.experiments.study import Study

    relubench.training.driver.CHECKPOINT_SECONDS = 0.0
    relubench.training.driver.PROGRESS_SECONDS = 0.0
    study = Study.open(experiment(values), runs_dir=folder, executor=InlineExecutor, data_dir=_data(setting))
    announced = False
    for event in study.run():
        if event.kind == "failed":
            raise RuntimeError(event.message)
        if not announced and event.kind not in ("started", "cached"):
            announced = True
            os.write(announce, b".")


def _values(setting: Setting) -> dict[str, Any]:
    train = {"lr": 0.05, "batch_size": 100, "epochs": 3 if setting.small else 6, "optimizer": "sgd", "momentum": 0.9}
    return {
        "act": ["relu"],
        "seeds": [0, 1],
        "device": setting.device,
        "data": {"name": dataset("grey", setting).name},
        "model": {"name": "mlp-2x32" if setting.small else "mlp-3x500", "norm": "batch"},
        "train": train,
    }


def _data(setting: Setting) -> Path | None:
    return Path(setting.data_dir) if setting.data_dir else None


def _runs(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "runs").glob("*") if path.is_dir())


def _content(folder: Path) -> dict[str, bytes]:
    """Every file of the stored runs; times are kept elsewhere."""
    return {f"{run.name}/{file.name}": file.read_bytes() for run in _runs(folder) for file in sorted(run.iterdir())}


def _interruptions(folder: Path) -> int:
    import json

    return sum(json.loads(file.read_text()).get("interruptions", 0) for file in folder.glob("timings/*.json"))


def _forget(folder: Path) -> None:
    """Delete the finished runs, so that the next attempt begins anew."""
    from relubench.runs.store import Store

    for run in _runs(folder):
        Store(folder).delete(run.name)
