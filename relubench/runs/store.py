"""The run store: a folder a run, which exists whole or not at all. Torch-free.

    ROOT/runs/ID/run.json, test_wrong.bin[, weights.safetensors]    what the same command gives again, bit for bit
    ROOT/stacks/ID/layer.json[, weights.safetensors, ...]           a pre-trained layer, which several runs may share
    ROOT/timings/ID.json                                            what the clock said of it
    ROOT/noise/ID/S.bin                                             which test examples it got wrong under noise S
    ROOT/partial/ID/...                                             the checkpoint of an unfinished run, and its specs
    ROOT/locks/ID.lock                                              held by the process that trains it

A run is written into a temporary folder, flushed to the disk and moved into place by one rename. Several processes may
share a store. Every file is checked against a SHA-256 before it is believed: `run.json` and `layer.json` carry their
own and those of the files beside them, timings their own, and the other files begin with theirs.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from relubench.runs.record_folders import Damaged, RecordFolders, restored
from relubench.runs.result import PretrainedLayer, RunResult, Timing
from relubench.system import files as durable
from relubench.system import integrity

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK_SECONDS = 0.2
"""How long a process waits for another's lock before it asks whether it should go on waiting."""

LAYER, RECONSTRUCTIONS = "layer.json", "reconstructions.safetensors"
SPECS = "specs.json"
RUN, WRONG, WEIGHTS, CHECKPOINT = "run.json", "test_wrong.bin", "weights.safetensors", "checkpoint.safetensors"


class Busy(Exception):
    """Another process is training the run."""


class Store:
    """The runs under `root`; nothing is created before something is written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.damaged: set[str] = set()
        """Runs that were found damaged, each of which is noted once."""
        self._runs = RecordFolders(root / "runs", RUN, "the stored run", "relubench runs delete {name}")
        self._layers = RecordFolders(root / "stacks", LAYER, "the pre-trained layer", "remove {folder}")

    def folder(self, run: str) -> Path:
        """Where the finished run is, or would be."""
        return self._runs.folder(run)

    def ids(self) -> list[str]:
        """The finished runs."""
        return self._runs.names()

    def unfinished(self) -> list[str]:
        """Runs with a checkpoint and no result."""
        started = {one.parent.name for one in self.root.glob(f"partial/*/{CHECKPOINT}")}
        return sorted(started - set(self.ids()))

    def result(self, run: str) -> RunResult | None:
        """The finished run's record; None if there is none. Raises Damaged for one that is not what was written."""
        values = self._runs.record(run)
        return None if values is None else RunResult.from_json(values)

    def believed(self, run: str, note: Callable[[str], None] = lambda text: None) -> RunResult | None:
        """The finished run's record; None, and once a note, where it or its test results are damaged."""
        try:
            self.wrong(run)
            return self.result(run)
        except Damaged as error:
            if run not in self.damaged:
                note(f"warning: {error.message}; it is trained again")
            self.damaged.add(run)
            return None

    def has(self, run: str) -> bool:
        """Whether the finished run is stored, and its record and its test results are whole."""
        return self.believed(run) is not None

    def timing(self, run: str) -> Timing | None:
        """What the clock said of the run; None where that was lost or damaged."""
        try:
            content = durable.read_plain(self.root / "timings" / f"{run}.json")
            return Timing.from_json(integrity.read_json(content, run))
        except (OSError, ValueError, TypeError):
            return None

    def wrong(self, run: str) -> np.ndarray | None:
        """Which test examples the run got wrong, bool [N]; None if it has no test result. Raises Damaged."""
        result = self.result(run)
        if result is None or result.test_error_pct is None:
            return None
        content = self._runs.file(run, WRONG)
        if content is None:
            return None
        if len(content) != -(-result.test_examples // 8):
            raise self._runs.damaged(run, WRONG, "it does not hold the run's test examples")
        return _unpacked(content, result.test_examples)

    def noise(self, run: str, strength: float) -> np.ndarray | None:
        """Which test examples the run got wrong under noise of that standard deviation, bool [N].

        None where that is not known or the file is damaged: it is measured again.
        """
        result, path = self.result(run), self._noise(run, strength)
        try:
            content = integrity.read(durable.read_plain(path), f"{run}/{path.name}")
        except (OSError, ValueError):
            return None
        return None if result is None else _unpacked(content, result.test_examples)

    def put_noise(self, run: str, strength: float, wrong: np.ndarray) -> None:
        """Keep which test examples [N] a stored run got wrong under noise."""
        path = self._noise(run, strength)
        durable.write_atomically(path, integrity.sealed(np.packbits(wrong).tobytes(), f"{run}/{path.name}"))

    def _noise(self, run: str, strength: float) -> Path:
        return self.root / "noise" / run / f"{strength!r}.bin"

    def weights(self, run: str) -> Path | None:
        """The file of the run's weights, if they were kept; `weights_of` checks what it holds."""
        path = self.folder(run) / WEIGHTS
        return path if path.exists() else None

    def weights_of(self, run: str) -> bytes | None:
        """The content of the file of the run's weights; None if they were not kept. Raises Damaged."""
        return self._runs.file(run, WEIGHTS)

    def kept(self, run: str) -> str:
        """Which weights are stored with the run: best, last or none. Raises Damaged."""
        content = self.weights_of(run)
        if content is None:
            return "none"
        # As engine.checkpoint writes it; read here without torch.
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return str(json.loads(header["__metadata__"]["relubench"])["kept"])

    def put_unfinished(self, run: str, specs: list[dict[str, Any]]) -> None:
        """Keep beside a checkpoint what it is of: the specifications of its runs, for `unfinished_specs`."""
        path = self.checkpoint(run).with_name(SPECS)
        if not path.exists():
            durable.write_atomically(path, json.dumps(specs).encode())

    def unfinished_specs(self, run: str) -> list[dict[str, Any]]:
        """The specifications of an unfinished run, or of all that are trained together; none if not known."""
        try:
            specs = json.loads(durable.read_plain(self.checkpoint(run).with_name(SPECS)))
        except (OSError, ValueError, RecursionError):
            return []
        return [spec for spec in specs if isinstance(spec, dict)] if isinstance(specs, list) else []

    def checkpoint(self, run: str) -> Path:
        """Where the run's checkpoint is, or would be."""
        return self.root / "partial" / run / CHECKPOINT

    def put_checkpoint(self, run: str, content: bytes) -> None:
        """Keep the state of a run, or of a layer, that is being trained."""
        durable.write_atomically(self.checkpoint(run), integrity.sealed(content, run))

    def checkpoint_of(self, run: str) -> bytes:
        """What `put_checkpoint` was given; raises FileNotFoundError, and ValueError for a file that is damaged."""
        return integrity.read(durable.read_plain(self.checkpoint(run)), run)

    def put(self, result: RunResult, timing: Timing, wrong: np.ndarray | None, weights: bytes | None) -> None:
        """Store a finished run whole; one that is there already is replaced. Its checkpoint goes."""
        files: dict[str, bytes] = {}
        if wrong is not None:
            files[WRONG] = np.packbits(wrong).tobytes()
        if weights is not None:
            files[WEIGHTS] = weights
        self._put_timing(result.id, timing)
        self._runs.put(result.id, result.to_json(), files)
        self.discard(result.id)

    def layer(self, layer: str) -> PretrainedLayer | None:
        """The pre-trained layer's record; None if there is none. Raises Damaged."""
        values = self._layers.record(layer)
        return None if values is None else PretrainedLayer.from_json(values)

    def has_layer(self, layer: str) -> bool:
        """Whether the pre-trained layer is stored, and its record and its weights are whole."""
        try:
            self._layers.file(layer, WEIGHTS)
            return self.layer(layer) is not None
        except Damaged:
            return False

    def layer_weights(self, layer: str) -> bytes | None:
        """The content of the file of a finished layer's weights; None for a layer without. Raises Damaged."""
        return self._layers.file(layer, WEIGHTS)

    def layer_reconstructions(self, layer: str) -> bytes | None:
        """The file of a first layer's reconstructions, `images` and `reconstructions` [n, inputs]. Raises Damaged."""
        return self._layers.file(layer, RECONSTRUCTIONS)

    def put_layer(
        self, layer: PretrainedLayer, timing: Timing, weights: bytes | None, reconstructions: bytes | None = None
    ) -> None:
        """Store a pre-trained layer whole; one that is there already is replaced. Its checkpoint goes."""
        files = {WEIGHTS: weights} if weights is not None else {}
        files |= {RECONSTRUCTIONS: reconstructions} if reconstructions is not None else {}
        self._put_timing(layer.id, timing)
        self._layers.put(layer.id, layer.to_json(), files)
        self.discard(layer.id)

    def _put_timing(self, run: str, timing: Timing) -> None:
        path = self.root / "timings" / f"{run}.json"
        durable.write_atomically(path, integrity.sealed_json(timing.to_json(), run))

    def discard(self, run: str) -> None:
        """Drop the run's checkpoint."""
        shutil.rmtree(self.checkpoint(run).parent, ignore_errors=True)

    def delete(self, run: str) -> None:
        """Drop a run, finished or not."""
        self._runs.delete(run)
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
                if time.time() - stale.stat().st_mtime > 3600 and not restored(stale):
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


def _unpacked(content: bytes, examples: int) -> np.ndarray:
    """The bits of a file as bool [examples]."""
    return np.unpackbits(np.frombuffer(content, dtype=np.uint8), count=examples).astype(bool)
