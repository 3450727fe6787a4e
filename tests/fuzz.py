"""Hostile input for every boundary where a user's text or file comes in: refused in words, or taken, and nothing else.

`python -m tests.fuzz --minutes 10` tries new input for that long, and prints how much of it each boundary took and
refused; `--seed` repeats a run. The test suite tries a few hundred of each.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from relubench.activations import select
from relubench.activations.builder import build
from relubench.errors import RelubenchError
from relubench.experiments.config import experiment, known_keys, parse_assignments
from relubench.experiments.presets.document import read_document
from relubench.experiments.presets.resolve import resolve
from relubench.reports import saved
from relubench.runs.result import RunResult, Timing
from relubench.runs.store import Store
from tests.data.fuzzing import check_npz, hostile_npz

MOST_MESSAGE = 3000
"""Characters of an error, with its hint."""
MOST_SECONDS = 5.0
"""What one input may take, on a busy machine."""

_PLAIN = "null ~ true '' 0 -1 1e400 -.inf .nan 2001-99-99 1:30 &a *a << - { [ ] } : # %YAML | 1 2 5 10 0.1 0.01 digits"
_TAGS = '!!int \'\';!!bool maybe;!!float x;!!python/name:os.system;&a x;- -;? a;"\\ud800";"\\x00";[0.1, 0.01];[1, 2]'
SCALARS = (*_PLAIN.split(), *_TAGS.split(";"), "0x" + "f" * 50, "9" * 900, "9" * 5000, "é😀", "relu", "x*sigmoid(x)")
SCALARS += ("mlp-1x8", "paper", "none", "cpu", "all")
"""What stands in the place of a YAML value."""
VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 10**400, 1e308, "", "x", "relu", [], {}, [[]], [None], {"a": None}, "\x00", "é😀", [1, "2"]),
    *(float("nan"), float("inf"), 2**63, -(2**63), "9" * 5000, "../../etc/passwd", {"": {"": {}}}),
)
"""What stands in the place of a JSON value."""


# -- YAML --------------------------------------------------------------------------------------------------------------


def yaml_value(rng: random.Random, depth: int = 0) -> str:
    """A value as a user might type it, or as nobody would."""
    kind = rng.random()
    if kind < 0.5 or depth > 3:
        return rng.choice(SCALARS)
    if kind < 0.7:
        return "[" + ", ".join(yaml_value(rng, depth + 1) for _ in range(rng.randrange(4))) + "]"
    if kind < 0.9:
        keys = [rng.choice(("a", "label", "train", "lr", "", "null", "1")) for _ in range(rng.randrange(4))]
        return "{" + ", ".join(f"{key}: {yaml_value(rng, depth + 1)}" for key in keys) + "}"
    return rng.choice("[{") * rng.randrange(1, 500)


def assignment(rng: random.Random) -> str:
    path = rng.choice([*known_keys(), "train", "a.b", ".", "train.", "x" * rng.randrange(1, 400)])
    return path + rng.choice(("=", "=", "=", "", " = ")) + yaml_value(rng)


def check_assignment(text: str, folder: Path) -> str:
    config = experiment(parse_assignments([text]), {"act": ["relu"]})
    return f"taken as {type(config).__name__}"


def preset(rng: random.Random) -> str:
    keys = ("description", "act", "scales", "variants", "grid", "baseline", "reference", "as_published", "claim")
    keys += ("seeds", "device", "keep", "data", "model", "train", "pretrain", "data: {name: digits}\nx", "no key")
    lines = ["description: x", "act: [relu]"] if rng.random() < 0.8 else []
    for key in rng.sample(keys, rng.randrange(1, 4)):
        lines.append(f"{key}: {yaml_value(rng)}" if rng.random() < 0.8 else f"{key}:\n  - {yaml_value(rng)}")
    text = "\n".join(lines)
    if rng.random() < 0.2:
        place = rng.randrange(len(text) + 1)
        text = text[:place] + rng.choice(("\t", "\x00", "---\n", "\ufeff", "\r", "\x85", "'", '"', "- ")) + text[place:]
    return text


def check_preset(text: str, folder: Path) -> str:
    path = folder / "fuzzed.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    resolve(read_document(path, "fuzzed.yaml"), "fuzzed")
    return "taken"


# -- JSON --------------------------------------------------------------------------------------------------------------


def mutated(rng: random.Random, value: Any) -> Any:
    """The JSON value with something else in a few places of it."""
    if rng.random() < 0.04:
        return rng.choice(VALUES)
    if isinstance(value, dict):
        kept = {key: mutated(rng, inner) for key, inner in value.items() if rng.random() > 0.01}
        return {**kept, "more": rng.choice(VALUES)} if rng.random() < 0.02 else kept
    if isinstance(value, list):
        return [mutated(rng, inner) for inner in value]
    return value


def spoiled(rng: random.Random, content: bytes) -> bytes:
    """The bytes with some of them changed, gone, repeated or added."""
    start = rng.randrange(len(content) + 1)
    stop = min(len(content), start + rng.choice((1, 1, 2, 8, 100, 10**6)))
    others = (b"", b"\x00", rng.randbytes(3), b"[" * 3000, content[start:stop][::-1], b"\xff\xfe", b"9" * 5000)
    return content[:start] + rng.choice(others) + content[stop:]


def table(rng: random.Random) -> bytes:
    """A file for `compare`."""
    spec = {"activation": "relu", "dataset": "digits", "model": "mlp-1x8", "seed": 0, "data_digest": "d"}
    run = {"id": "a", "spec": spec, "outcome": "ok", "test_error_pct": 10.0, "test_examples": 10, "test_wrong": "wAA="}
    row = {"activation": "relu", "dataset": "digits", "model": "mlp-1x8", "pretraining": "none", "n": 1}
    row |= {"test_error_pct": 10.0, "test_error_ci_low_pct": 5.0, "test_error_ci_high_pct": 15.0, "outcome": "ok"}
    whole = {"command": "train", "version": "0.1.0", "device": "cpu", "rows": [row], "runs": [run]}
    text = json.dumps(mutated(rng, whole)).encode()
    return spoiled(rng, text) if rng.random() < 0.3 else text


def check_table(content: bytes, folder: Path) -> str:
    from relubench.reports.comparison import compare

    path = folder / "fuzzed.json"
    path.write_bytes(content)
    tables = [saved.read_table(path), saved.read_table(path)]
    compare(tables)
    return "taken"


RESULT = RunResult(
    id="abc",
    spec={"activation": "relu"},
    outcome="ok",
    parameters=1,
    path="cpu, 1 thread",
    epochs=1,
    best_epoch=1,
    valid_error_pct=1.0,
    test_error_pct=20.0,
    test_examples=10,
    sparsity_pct=None,
)
TIMING = Timing(seconds=1.0, epoch_seconds=[1.0], images_per_second=9.0, host="h", finished="2026-01-01T00:00:00+00:00")
WRONG = "runs/abc/test_wrong.bin"


def store_damage(rng: random.Random) -> tuple[str, bytes]:
    """A file of a store, and what stands in it instead."""
    name = rng.choice(("runs/abc/run.json", WRONG, "timings/abc.json", "noise/abc/0.1.bin", "partial/abc/x"))
    if rng.random() < 0.5:
        return name, json.dumps(mutated(rng, RESULT.to_json())).encode()
    return name, rng.randbytes(rng.choice((0, 1, 2, 32, 34, 500)))


def check_store(damage: tuple[str, bytes], folder: Path) -> str:
    """Whatever stands in a file of the store, what is read is what was written, or nothing."""
    import numpy as np

    shutil.rmtree(folder / "store", ignore_errors=True)
    store, wrong = Store(folder / "store"), np.arange(10) < 2
    store.put(RESULT, TIMING, wrong, None)
    store.put_noise("abc", 0.1, wrong)
    name, content = damage
    path = store.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    notes: list[str] = []
    result = store.believed("abc", notes.append)
    assert result == RESULT or (result is None and len(notes) == 1)
    assert store.timing("abc") in (TIMING, None)
    noise = store.noise("abc", 0.1) if result else None
    assert noise is None or np.array_equal(noise, wrong)
    return "noticed" if result is None else "of no consequence"


# -- the command line --------------------------------------------------------------------------------------------------


_WORDS = "relu x maxout:pieces= ( ) * ** , : = 1e999 exp max ./a.py:f [ swish:beta=nan ~ ? b~1 .. ' |x| x^2 -x é"
_WORDS += (
    " torch. np. .clamp( min= lambda√ σ π ² ⁻ · − ½ \\frac{ } where( ax swish( quick_gelu( 'tanh' None ; => ,b=2 ,a~0"
)
_WHOLE = "x*sigmoid(x) max(x,0) exp(-x**2) leaky_relu:negative_slope=0.2 relu,tanh *elu all x/2 softplus:beta=3 gelu"
_WHOLE += " torch.where(x>0,x,0.1*x) x.clamp(min=0) a*x+sin(b*x)**2/b,a=1,b~1 |x| nn.Tanh()(x) lambertw(exp(x)) ax²"


def activation(rng: random.Random) -> str:
    if rng.random() < 0.5:
        before, after = (
            rng.choice(("", "", "-", "2*", "(")),
            rng.choice(("", "", "+x", ")", ":", "**9**9", ", b~1", ":a=2", "²", "(x)")),
        )
        return before + rng.choice(_WHOLE.split()) + after
    words = (*_WORDS.split(), "x" * 300, "\x00", " ")
    return "".join(rng.choice(words) for _ in range(rng.randrange(1, 12)))


def check_activation(text: str, folder: Path) -> str:
    choice = select([text])[0]
    assert select([choice.label]) == [choice]
    if choice.kind == "formula":
        x = torch.linspace(-3, 3, 13)
        h = build(choice).function(x)
        assert (h.shape, h.dtype) == (x.shape, x.dtype)
    return f"taken as {choice.kind}"


Boundary = tuple[Callable[[random.Random], Any], Callable[[Any, Path], str]]
BOUNDARIES: dict[str, Boundary] = {
    "--set": (assignment, check_assignment),
    "preset file": (preset, check_preset),
    "compare file": (table, check_table),
    "store": (store_damage, check_store),
    "--act": (activation, check_activation),
    "npz file": (hostile_npz, check_npz),
}
"""By name: what makes an input, and what takes it; that raises RelubenchError for a refusal."""


def attempt(boundary: Boundary, rng: random.Random, folder: Path) -> str:
    """What came of one input; raises AssertionError for a refusal that is too long, and whatever is no refusal."""
    make, check = boundary
    given = make(rng)
    start = time.monotonic()
    try:
        outcome = check(given, folder)
    except RelubenchError as error:
        assert len(error.message) + len(error.hint) < MOST_MESSAGE, f"{given!r:.200}: {error.message[:200]}"
        outcome = "refused"
    except Exception as error:
        raise AssertionError(f"{given!r:.2000}: {type(error).__name__}: {error}") from error
    seconds = time.monotonic() - start
    assert seconds < MOST_SECONDS, f"{given!r:.200} took {seconds:.1f} s"
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(description="Try hostile input on every boundary.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None, help="Default: another one each time.")
    asked = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if asked.seed is None else asked.seed
    rng, end = random.Random(seed), time.monotonic() + 60 * asked.minutes
    counts: dict[str, Counter[str]] = {name: Counter() for name in BOUNDARIES}
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < end:
            for name, boundary in BOUNDARIES.items():
                try:
                    counts[name][attempt(boundary, rng, Path(folder))] += 1
                except AssertionError:
                    failures += 1
                    counts[name]["FAILED"] += 1
                    traceback.print_exc()
    print(f"seed {seed}, {asked.minutes:g} minutes")
    for name, found in counts.items():
        print(
            f"{name}: {found.total():,} tried; "
            + ", ".join(f"{number:,} {what}" for what, number in found.most_common())
        )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
