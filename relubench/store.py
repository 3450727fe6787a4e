"""The run store: a folder a run, which exists whole or not at all. Torch-free.

    ROOT/runs/ID/run.json, test_wrong.bin[, weights.safetensors]    what the same command gives again, bit for bit
    ROOT/stacks/ID/layer.json[, weights.safetensors, ...]           a pre-trained layer, which several runs may share
    ROOT/timings/ID.json                                            what the clock said of it
    ROOT/noise/ID/S.bin                                             which test examples it got wrong under noise S
    ROOT/partial/ID/...                                             the checkpoint of an unfinished run
    ROOT/locks/ID.lock                                              held by the process that trains it

A run is written into a temporary folder, flushed to the disk and moved into place by one rename. Several processes may
share a store.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from relubench import durable
from relubench.errors import ComputeError
from relubench.results import PretrainedLayer, RunResult, Timing

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK_SECONDS = 0.2
"""How long a process waits for another's lock before it asks whether it should go on waiting."""

LAYER, RECONSTRUCTIONS = "layer.json", "reconstructions.safetensors"
RUN, WRONG, WEIGHTS, CHECKPOINT = "run.json", "test_wrong.bin", "weights.safetensors", "checkpoint.safetensors"


class Busy(Exception):
    """Another process is training the run."""


class Store:
    """The runs under `root`; nothing is created before something is written."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, run: str) -> Path:
        """Where the finished run is, or would be."""
        return self.root / "runs" / run

    def ids(self) -> list[str]:
        """The finished runs."""
        return sorted(one.parent.name for one in self.root.glob(f"runs/[0-9a-f]*/{RUN}"))

    def unfinished(self) -> list[str]:
        """Runs with a checkpoint and no result."""
        started = {one.parent.name for one in self.root.glob(f"partial/*/{CHECKPOINT}")}
        return sorted(started - set(self.ids()))

    def result(self, run: str) -> RunResult | None:
        """The finished run's record; None if there is none. Raises ComputeError for a record that cannot be read."""
        path = self.folder(run) / RUN
        try:
            return RunResult.from_json(json.loads(path.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise ComputeError(f"the stored run {path} cannot be read", f"relubench runs delete {run}") from error

    def timing(self, run: str) -> Timing | None:
        """What the clock said of the run; None where that was lost."""
        try:
            return Timing.from_json(json.loads((self.root / "timings" / f"{run}.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def wrong(self, run: str) -> np.ndarray | None:
        """Which test examples the run got wrong, bool [N]; None if it has no test result."""
        result = self.result(run)
        path = self.folder(run) / WRONG
        if result is None or result.test_error_pct is None or not path.exists():
            return None
        packed = np.frombuffer(path.read_bytes(), dtype=np.uint8)
        return np.unpackbits(packed, count=result.test_examples).astype(bool)

    def noise(self, run: str, strength: float) -> np.ndarray | None:
        """Which test examples the run got wrong under noise of that standard deviation, bool [N]; None: not known."""
        result = self.result(run)
        path = self._noise(run, strength)
        if result is None or not path.exists():
            return None
        packed = np.frombuffer(path.read_bytes(), dtype=np.uint8)
        if packed.size != -(-result.test_examples // 8):
            return None
        return np.unpackbits(packed, count=result.test_examples).astype(bool)

    def put_noise(self, run: str, strength: float, wrong: np.ndarray) -> None:
        """Keep which test examples [N] a stored run got wrong under noise."""
        durable.write_atomically(self._noise(run, strength), np.packbits(wrong).tobytes())

    def _noise(self, run: str, strength: float) -> Path:
        return self.root / "noise" / run / f"{strength!r}.bin"

    def weights(self, run: str) -> Path | None:
        """The file of the run's weights, if they were kept."""
        path = self.folder(run) / WEIGHTS
        return path if path.exists() else None

    def kept(self, run: str) -> str:
        """Which weights are stored with the run: best, last or none."""
        path = self.weights(run)
        if path is None:
            return "none"
        with path.open("rb") as file:
            header = file.read(int.from_bytes(file.read(8), "little"))
        # As engine.checkpoint writes it; read here without torch.
        return str(json.loads(json.loads(header)["__metadata__"]["relubench"])["kept"])

    def checkpoint(self, run: str) -> Path:
        """Where the run's checkpoint is, or would be."""
        return self.root / "partial" / run / CHECKPOINT

    def put(self, result: RunResult, timing: Timing, wrong: np.ndarray | None, weights: bytes | None) -> None:
        """Store a finished run whole; one that is there already is replaced. Its checkpoint goes."""
        files: dict[str, bytes] = {RUN: _json(result.to_json())}
        if wrong is not None:
            files[WRONG] = np.packbits(wrong).tobytes()
        if weights is not None:
            files[WEIGHTS] = weights
        durable.write_atomically(self.root / "timings" / f"{result.id}.json", _json(timing.to_json()))
        self._write(self.folder(result.id), files)
        self.discard(result.id)

    def layer(self, layer: str) -> PretrainedLayer | None:
        """The pre-trained layer's record; None if there is none. Raises ComputeError for one that cannot be read."""
        path = self.root / "stacks" / layer / LAYER
        try:
            return PretrainedLayer.from_json(json.loads(path.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise ComputeError(f"the pre-trained layer {path} cannot be read", f"remove {path.parent}") from error

    def layer_weights(self, layer: str) -> Path:
        """The file of a finished layer's weights."""
        return self.root / "stacks" / layer / WEIGHTS

    def layer_reconstructions(self, layer: str) -> Path:
        """The file of a first layer's reconstructions: `images` and `reconstructions`, both [n, inputs]."""
        return self.root / "stacks" / layer / RECONSTRUCTIONS

    def put_layer(
        self, layer: PretrainedLayer, timing: Timing, weights: bytes | None, reconstructions: bytes | None = None
    ) -> None:
        """Store a pre-trained layer whole; one that is there already is replaced. Its checkpoint goes."""
        files = {LAYER: _json(layer.to_json())}
        files |= {WEIGHTS: weights} if weights is not None else {}
        files |= {RECONSTRUCTIONS: reconstructions} if reconstructions is not None else {}
        durable.write_atomically(self.root / "timings" / f"{layer.id}.json", _json(timing.to_json()))
        self._write(self.root / "stacks" / layer.id, files)
        self.discard(layer.id)

    def _write(self, place: Path, files: dict[str, bytes]) -> None:
        """Make a folder of these files in one move."""
        fresh = self._unique(place)
        try:
            for name, content in files.items():
                durable.write_durably(fresh / name, content)
            self._move(fresh, place)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise

    def _move(self, fresh: Path, place: Path) -> None:
        """Put the folder `fresh` at `place` by a rename; an old one steps aside first, and then goes."""
        old = self._unique(place)
        with contextlib.suppress(FileNotFoundError):
            place.rename(old)
        fresh.rename(place)
        durable.flush_folder(place.parent)
        shutil.rmtree(old, ignore_errors=True)

    def _unique(self, place: Path) -> Path:
        """A new folder beside `place`, whose name no run has."""
        fresh = place.parent / f".{place.name}-{uuid.uuid4().hex[:8]}"
        fresh.mkdir(parents=True)
        return fresh

    def discard(self, run: str) -> None:
        """Drop the run's checkpoint."""
        shutil.rmtree(self.checkpoint(run).parent, ignore_errors=True)

    def delete(self, run: str) -> None:
        """Drop a run, finished or not."""
        place = self.folder(run)
        if place.exists():
            aside = self._unique(place)
            place.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
        (self.root / "timings" / f"{run}.json").unlink(missing_ok=True)
        shutil.rmtree(self.root / "noise" / run, ignore_errors=True)
        self._lock(run).unlink(missing_ok=True)
        self.discard(run)

    def delete_stacks(self) -> None:
        """Drop every pre-trained layer."""
        shutil.rmtree(self.root / "stacks", ignore_errors=True)

    def sweep(self) -> None:
        """Remove temporary folders and files that killed processes left behind an hour ago or more."""
        import time

        for stale in (
            one for where in ("runs", "stacks", "timings", "partial/*") for one in self.root.glob(f"{where}/.*-*")
        ):
            with contextlib.suppress(OSError):
                if time.time() - stale.stat().st_mtime > 3600:
                    shutil.rmtree(stale) if stale.is_dir() else stale.unlink()

    @contextlib.contextmanager
    def lock(self, run: str, go_on: Callable[[], bool] = lambda: True) -> Iterator[BaseFileLock]:
        """Hold the run (or layer) for this process: whoever else wants to train it waits, then finds it finished.

        While another process has it, `go_on` is asked again and again; raises Busy once that says no.
        """
        from filelock import FileLock, Timeout

        path = self._lock(run)
        path.parent.mkdir(parents=True, exist_ok=True)
        held, wait = FileLock(path), 0.0
        while not held.is_locked:
            try:
                held.acquire(timeout=wait)
            except Timeout as error:
                wait = LOCK_SECONDS
                if not go_on():
                    raise Busy(run) from error
        try:
            yield held
        finally:
            held.release()

    def _lock(self, run: str) -> Path:
        return self.root / "locks" / f"{run}.lock"


def _json(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=1, allow_nan=False) + "\n").encode()
