"""The run store: a folder a run, which exists whole or not at all. Torch-free.

    ROOT/runs/ID/run.json, test_wrong.bin[, weights.safetensors]    what the same command gives again, bit for bit
                           (test_losses.bin where a task scores examples by numbers)
    ROOT/stacks/ID/layer.json[, weights.safetensors, ...]           a pre-trained layer, which several runs may share
    ROOT/timings/ID.json                                            how long the run took
    ROOT/noise/ID/S.bin                                             what became of each test example under noise S
    ROOT/partial/ID/...                                             the checkpoint of an unfinished run, and its specs
    ROOT/locks/ID.lock                                              held by the process that trains it
    ROOT/index.sqlite                                               what `relubench runs` lists: see `runs/index.py`

A run is written into a temporary folder, flushed to the disk and moved into place by one rename. Several processes may
share a store. Every file is checked against a SHA-256 before it is used: `run.json` and `layer.json` contain their own
and those of the files beside them, timings their own, and the other files begin with theirs.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relubench.runs.record_folders import Damaged, RecordFolders, restored
from relubench.runs.result import PretrainedLayer, RunResult, Timing
from relubench.statistics.example_scores import Scores, from_bytes, to_bytes
from relubench.system import integrity
from relubench.system.files import read_plain, time_of_change, write_atomically

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK_SECONDS = 0.2
"""Seconds that a process waits for another's lock before it asks whether it should go on waiting."""

LAYER, RECONSTRUCTIONS = "layer.json", "reconstructions.safetensors"
SPECS = "specs.json"
RUN, WEIGHTS, CHECKPOINT = "run.json", "weights.safetensors", "checkpoint.safetensors"
WRONG, LOSSES = "test_wrong.bin", "test_losses.bin"
"""What became of each test example: a run has one of the two, bits or numbers."""


class Busy(Exception):
    """Another process is training the run."""


class Store:
    """The runs under `root`; nothing is created before something is written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.damaged: set[str] = set()
        """Ids of damaged runs, each of which is reported once."""
        self._runs = RecordFolders(root / "runs", RUN, "the stored run", "relubench runs delete {name}")
        self._layers = RecordFolders(root / "stacks", LAYER, "the pre-trained layer", "remove {folder}")

    def folder(self, run: str) -> Path:
        """The folder of the finished run, existing or not."""
        return self._runs.folder(run)

    def ids(self) -> list[str]:
        """The ids of the finished runs."""
        return self._runs.names()

    def unfinished(self) -> list[str]:
        """The ids of the runs with a checkpoint and no result."""
        started = {checkpoint.parent.name for checkpoint in self.root.glob(f"partial/*/{CHECKPOINT}")}
        return sorted(started - set(self.ids())) if started else []

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
        """How long the run took; None where that was lost or damaged."""
        try:
            content = read_plain(self.root / "timings" / f"{run}.json")
            return Timing.from_json(integrity.read_json(content, run))
        except (OSError, ValueError, TypeError):
            return None

    def wrong(self, run: str) -> Scores | None:
        """The run's score of each test example [N]: bool, True where it was wrong, or float32.

        None if the run has no test result. Raises Damaged.
        """
        result = self.result(run)
        if result is None or result.test_score is None:
            return None
        file, content = WRONG, self._runs.file(run, WRONG)
        if content is None:
            file, content = LOSSES, self._runs.file(run, LOSSES)
        try:
            return None if content is None else from_bytes(content, result.test_examples)
        except ValueError as error:
            raise self._runs.damaged(run, file, "it does not hold the run's test examples") from error

    def noise(self, run: str, strength: float) -> Scores | None:
        """The run's score of each test example under noise of that standard deviation, as `wrong` gives them.

        None where the file is missing or damaged: the caller measures it again.
        """
        result, path = self.result(run), self._noise(run, strength)
        try:
            content = integrity.read(read_plain(path), f"{run}/{path.name}")
            return None if result is None else from_bytes(content, result.test_examples)
        except (OSError, ValueError):
            return None

    def put_noise(self, run: str, strength: float, wrong: Scores) -> None:
        """Store what a stored run made of each test example [N] under noise."""
        path = self._noise(run, strength)
        write_atomically(path, integrity.sealed(to_bytes(wrong), f"{run}/{path.name}"))

    def _noise(self, run: str, strength: float) -> Path:
        return self.root / "noise" / run / f"{strength!r}.bin"

    def weights(self, run: str) -> Path | None:
        """The path of the run's weights, None if they were not kept; `weights_of` checks the content."""
        path = self.folder(run) / WEIGHTS
        return path if path.exists() else None

    def weights_of(self, run: str) -> bytes | None:
        """The content of the run's weights file; None if they were not kept. Raises Damaged."""
        return self._runs.file(run, WEIGHTS)

    def kept(self, run: str) -> str:
        """Which weights are stored with the run: best, last or none. Raises Damaged."""
        content = self.weights_of(run)
        if content is None:
            return "none"
        # As runs.checkpoint writes it; read here without torch.
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return str(json.loads(header["__metadata__"]["relubench"])["kept"])

    def put_unfinished(self, run: str, specs: list[dict[str, Any]]) -> None:
        """Store the specifications of a checkpoint's runs beside it, for `unfinished_specs`."""
        path = self.checkpoint(run).with_name(SPECS)
        if not path.exists():
            write_atomically(path, json.dumps(specs).encode())

    def unfinished_specs(self, run: str) -> list[dict[str, Any]]:
        """The specifications of an unfinished run and of those trained together with it; [] where they are lost."""
        try:
            specs = json.loads(read_plain(self.checkpoint(run).with_name(SPECS)))
        except (OSError, ValueError, RecursionError):
            return []
        return [spec for spec in specs if isinstance(spec, dict)] if isinstance(specs, list) else []

    def checkpoint(self, run: str) -> Path:
        """The path of the run's checkpoint, existing or not."""
        return self.root / "partial" / run / CHECKPOINT

    def put_checkpoint(self, run: str, content: bytes) -> None:
        """Store the state of a run, or of a layer, that is being trained."""
        write_atomically(self.checkpoint(run), integrity.sealed(content, run))

    def checkpoint_of(self, run: str) -> bytes:
        """The state that `put_checkpoint` stored; raises FileNotFoundError, and ValueError for a damaged file."""
        return integrity.read(read_plain(self.checkpoint(run)), run)

    def put(self, result: RunResult, timing: Timing, wrong: Scores | None, weights: bytes | None) -> None:
        """Store a finished run; a stored one with its id is replaced, and its checkpoint is removed."""
        files: dict[str, bytes] = {}
        if wrong is not None:
            files[WRONG if wrong.dtype == bool else LOSSES] = to_bytes(wrong)
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
        """The content of a finished layer's weights file; None for a layer without weights. Raises Damaged."""
        return self._layers.file(layer, WEIGHTS)

    def layer_reconstructions(self, layer: str) -> bytes | None:
        """The file of a first layer's reconstructions, `images` and `reconstructions` [n, inputs]. Raises Damaged."""
        return self._layers.file(layer, RECONSTRUCTIONS)

    def put_layer(
        self, layer: PretrainedLayer, timing: Timing, weights: bytes | None, reconstructions: bytes | None = None
    ) -> None:
        """Store a pre-trained layer; a stored one with its id is replaced, and its checkpoint is removed."""
        files = {WEIGHTS: weights} if weights is not None else {}
        files |= {RECONSTRUCTIONS: reconstructions} if reconstructions is not None else {}
        self._put_timing(layer.id, timing)
        self._layers.put(layer.id, layer.to_json(), files)
        self.discard(layer.id)

    def _put_timing(self, run: str, timing: Timing) -> None:
        path = self.root / "timings" / f"{run}.json"
        write_atomically(path, integrity.sealed_json(timing.to_json(), run))

    def discard(self, run: str) -> None:
        """Remove the run's checkpoint."""
        shutil.rmtree(self.checkpoint(run).parent, ignore_errors=True)

    def delete(self, run: str) -> None:
        """Remove a run, finished or not."""
        self._runs.delete(run)
        (self.root / "timings" / f"{run}.json").unlink(missing_ok=True)
        shutil.rmtree(self.root / "noise" / run, ignore_errors=True)
        self._lock(run).unlink(missing_ok=True)
        self.discard(run)

    def delete_stacks(self) -> None:
        """Remove every pre-trained layer."""
        shutil.rmtree(self.root / "stacks", ignore_errors=True)

    def sweep(self) -> None:
        """Remove temporary folders and files that killed processes left behind an hour ago or more.

        It is the file system's hour: what a machine with another clock is just writing is young.
        """
        temporary = [
            path for name in ("runs", "stacks", "timings", "partial/*") for path in self.root.glob(f"{name}/.*-*")
        ]
        with contextlib.suppress(OSError):
            now = time_of_change(self.root) if temporary else 0.0
            for stale in temporary:
                with contextlib.suppress(OSError):
                    if now - stale.stat().st_mtime > 3600 and not restored(stale):
                        shutil.rmtree(stale) if stale.is_dir() else stale.unlink()

    @contextlib.contextmanager
    def lock(self, run: str, go_on: Callable[[], bool] = lambda: True) -> Iterator[BaseFileLock]:
        """Hold the lock of the run (or layer) for this process: others that would train it wait, then find it finished.

        While another process holds it, `go_on` is called again and again; raises Busy once it returns False.
        """
        from filelock import FileLock, Timeout

        path = self._lock(run)
        path.parent.mkdir(parents=True, exist_ok=True)
        file_lock, wait = FileLock(path), 0.0
        while not file_lock.is_locked:
            try:
                file_lock.acquire(timeout=wait)
            except Timeout as error:
                wait = LOCK_SECONDS
                if not go_on():
                    raise Busy(run) from error
        try:
            yield file_lock
        finally:
            file_lock.release()

    def _lock(self, run: str) -> Path:
        return self.root / "locks" / f"{run}.lock"
