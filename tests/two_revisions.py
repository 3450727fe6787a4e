"""Trains the same small networks at two revisions on this machine, and compares what they store, byte by byte.

`python -m tests.two_revisions A B`, each of them a git revision or `.`, the working tree. For each training it prints
"equal" or the first difference; exit 0 only if all are equal. It takes about three minutes on two quiet cores; `--only
WORD` tries the trainings with that word in their names.

Every revision is asked by its command line alone, with a store and a cache of its own, so modules may lie elsewhere in
the other one. Compared are the names of the folders (run ids and layer ids), the records, the masks of the test
examples, the weights, the pre-trained layers and the exported files; all but the fields in
`stored_differences.NOT_COMPARED`.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.small_trainings import NETWORK, TRAININGS, Training, pretrained_layers
from tests.stored_differences import difference

ROOT = Path(__file__).resolve().parents[1]

COMPARED_FOLDERS = ("runs", "stacks", "noise")
"""Folders of a store whose files are compared; the others hold times, locks and unfinished runs."""

KILL_SECONDS = 120
"""How long the workers of a killed command may take to write their checkpoints and end."""


KILL_ATTEMPTS = 4
"""A command that ends before it is killed is begun anew and killed earlier, so often at most in all."""


class Unusable(Exception):
    """A training could not be compared: its command failed, or was not killed where it should have been."""


class Ended(Exception):
    """A command had trained all before it could be killed."""


@dataclass(frozen=True, slots=True)
class Tree:
    """The source of one revision, and where its trainings happen."""

    source: Path
    """The folder that holds the package `relubench` and the presets."""
    work: Path
    """The working folder of its commands; stores and caches lie below."""

    def store(self, training: Training) -> Path:
        """The store of that training."""
        return self.work / "stores" / training.name.replace(" ", "-")

    def environment(self, training: Training) -> dict[str, str]:
        """The environment of its command: this source first, and nobody's settings."""
        own = {key: value for key, value in os.environ.items() if not key.startswith("RELUBENCH_")}
        folders = {"RELUBENCH_RUNS_DIR": self.store(training), "RELUBENCH_CACHE_DIR": self.work / "cache"}
        own |= {key: str(value) for key, value in folders.items()}
        return {**own, "RELUBENCH_OFFLINE": "1", "PYTHONPATH": str(self.source), "PYTHONDONTWRITEBYTECODE": "1"}

    def prepare(self) -> None:
        """Make the working folder; raises Unusable where Python would take another relubench than this one."""
        self.work.mkdir(parents=True)
        (self.work / "net.py").write_text(NETWORK)
        (self.work / "layers.safetensors").write_bytes(pretrained_layers())
        script = "import relubench; print(relubench.__file__)"
        environment = self.environment(TRAININGS[0])
        told = subprocess.run(
            [sys.executable, "-c", script], cwd=self.work, env=environment, capture_output=True, text=True, check=False
        )
        if not Path(told.stdout.strip()).is_relative_to(self.source):
            raise Unusable(f"{self.source} is not what Python imports: {told.stdout.strip()}{told.stderr[-500:]}")

    def start(self, training: Training, device: str) -> subprocess.Popen[str]:
        """The command of the training, in a process group of its own."""
        words = [sys.executable, "-m", "relubench", *shlex.split(training.command), "--device", device]
        return subprocess.Popen(
            words,
            cwd=self.work,
            env=self.environment(training),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def train(self, training: Training, device: str = "cpu") -> None:
        """Carry the training out; raises Unusable where it fails, or is not resumed although it was killed."""
        if training.killed:
            self.kill_twice(training, device)
        running = self.start(training, device)
        _, said = running.communicate()
        if running.returncode != 0:
            raise Unusable(f"exit {running.returncode} in {self.source}: {said[-2000:]}")
        timings = [json.loads(path.read_text()) for path in self.store(training).glob("timings/*.json")]
        if training.killed and not any(one["interruptions"] for one in timings):
            raise Unusable(f"was killed and not resumed in {self.source}: it began anew")

    def kill_twice(self, training: Training, device: str) -> None:
        """Begin the training twice and kill it; raises Unusable where it ends too fast for that again and again."""
        for attempt in range(KILL_ATTEMPTS):
            # At first once it has told of an epoch, then this long after its run was begun.
            seconds = 2.0**-attempt if attempt else None
            try:
                # The command alone first: its workers notice, and write a checkpoint. Then all of them in the midst.
                self.kill(training, self.start(training, device), seconds, everyone=False)
                self.kill(training, self.start(training, device), seconds, everyone=True)
                return
            except Ended:
                shutil.rmtree(self.store(training))
        raise Unusable(f"ended {KILL_ATTEMPTS} times in {self.source} before it could be killed")

    def kill(
        self, training: Training, running: subprocess.Popen[str], seconds: float | None, *, everyone: bool
    ) -> None:
        """SIGKILL the command alone, or all of its processes, in the midst of the training; waits for their end.

        With None once it has told of an epoch, else so many seconds after a run of it was begun; raises Ended where it
        had done all before.
        """
        begun, lines = time.time(), list[str]()

        def read() -> None:
            assert running.stderr is not None
            for line in running.stderr:
                lines.append(line)

        with ThreadPoolExecutor(1) as pool:
            pool.submit(read)
            while running.poll() is None and not self.in_the_midst(training, begun, lines, seconds):
                time.sleep(0.02)
            self.end(running, everyone=everyone)
        if running.returncode == 0:
            raise Ended
        if running.returncode > 0:
            raise Unusable(f"ended (exit {running.returncode}) in {self.source}: {''.join(lines)[-2000:]}")

    def in_the_midst(self, training: Training, begun: float, lines: Sequence[str], seconds: float | None) -> bool:
        """Whether it is time to kill the command that was begun then and has said these lines."""
        if seconds is None:
            return any("epoch" in line for line in list(lines))
        locked = [path.stat().st_mtime for path in self.store(training).glob("locks/*.lock")]
        return any(begun <= moment <= time.time() - seconds for moment in locked)

    def end(self, running: subprocess.Popen[str], *, everyone: bool) -> None:
        """SIGKILL the command alone, or all of its processes, and wait until none of them is left."""
        if everyone and running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
        running.kill()
        running.wait()
        end = time.monotonic() + KILL_SECONDS
        while group_is_alive(running.pid):
            if time.monotonic() > end:
                os.killpg(running.pid, signal.SIGKILL)
                raise Unusable(f"workers outlived their command by {KILL_SECONDS} s in {self.source}")
            time.sleep(0.05)

    def files(self, training: Training) -> dict[str, bytes]:
        """What the training left behind that is compared, by path; record folders are named by their ids."""
        store = self.store(training)
        stored = [path for name in COMPARED_FOLDERS for path in store.glob(f"{name}/*/*") if path.is_file()]
        names = {str(path.relative_to(store)): path for path in stored if not path.parent.name.startswith(".")}
        words = shlex.split(training.command)
        exported = [words[place + 1] for place, word in enumerate(words) if word == "--export"]
        names |= {name: self.work / name for name in exported}
        return {name: names[name].read_bytes() for name in sorted(names)}


def group_is_alive(group: int) -> bool:
    """Whether any process of the group is there."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def checked_out(repository: Path, revision: str, folder: Path) -> Path:
    """The source of a revision, unpacked into the folder; of `.` the working tree itself."""
    if revision == ".":
        return repository
    archive = subprocess.run(
        ["git", "-C", str(repository), "archive", "--format=tar", revision, "relubench", "presets"],
        capture_output=True,
        check=False,
    )
    if archive.returncode != 0:
        raise Unusable(f"git archive {revision}: {archive.stderr.decode(errors='replace').strip()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as packed:
        packed.extraction_filter = getattr(tarfile, "data_filter", None)
        packed.extractall(folder)
    return folder


def verdict(trees: tuple[Tree, Tree], training: Training, device: str = "cpu") -> str:
    """Carry the training out at both revisions at once: 'equal, ...', or the first difference."""
    try:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda tree: tree.train(training, device), trees))
    except Unusable as error:
        return f"failed: {error}"
    first, second = (tree.files(training) for tree in trees)
    if (told := difference(first, second)) is not None:
        return f"DIFFERS: {told}"
    paths = {json.loads(content)["path"] for name, content in first.items() if name.endswith("/run.json")}
    return f"equal ({len(first)} files; {'; '.join(sorted(paths))})"


def main(argv: Sequence[str] | None = None, repository: Path = ROOT) -> int:
    """0 if every training is equal at both revisions, 1 if not, 2 if nothing could be compared."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.two_revisions", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("revisions", nargs=2, metavar="REVISION", help="a git revision, or . for the working tree")
    parser.add_argument("--only", default="", metavar="WORD", help="the trainings with this word in their names")
    parser.add_argument("--device", default="cpu", help="where to train (default: cpu)")
    parser.add_argument("--keep", action="store_true", help="keep the folders of both revisions, and say where")
    asked = parser.parse_args(argv)
    trainings = [one for one in TRAININGS if asked.only in one.name]
    folder = Path(tempfile.mkdtemp(prefix="two-revisions-"))
    try:
        sources = [checked_out(repository, one, folder / f"source-{n}") for n, one in enumerate(asked.revisions)]
        trees = Tree(sources[0], folder / "work-0"), Tree(sources[1], folder / "work-1")
        for tree in trees:
            tree.prepare()
        verdicts = []
        for training in trainings:
            verdicts.append(verdict(trees, training, asked.device))
            print(f"{training.name}: {verdicts[-1]}", flush=True)
    except Unusable as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        if asked.keep:
            print(f"kept: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    equal = sum(one.startswith("equal") for one in verdicts)
    print(f"{equal} of {len(verdicts)} trainings are equal")
    return 0 if verdicts and equal == len(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
