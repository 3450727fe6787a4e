"""A Transformer on a text through the whole program: table, store, sample, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from relubench.__main__ import run
from relubench.executors.inline import InlineExecutor
from relubench.experiments import executor_choice

TEXT = "".join(f"The square of {number} is {number**2}.\n" for number in range(700))


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A text; jobs are carried out in this process."""
    monkeypatch.setattr(executor_choice, "LocalExecutor", lambda device, store, note: InlineExecutor(store))
    path = tmp_path / "corpus.txt"
    path.write_text(TEXT)
    return path


def arguments(corpus: Path, *more: str) -> list[str]:
    command = f"train --dataset {corpus} --model transformer-1x16 --context 32 --epochs 2 --batch-size 8 --quiet"
    return [*command.split(), "--runs-dir", str(corpus.parent / "runs"), *more]


def printed(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    assert run(list(words)) == 0
    return capfd.readouterr().out


def test_a_text_gives_a_table_in_bits_a_store_and_a_sample(
    corpus: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    command = arguments(corpus, "--act", "relu,swiglu", "--seeds", "2", "--format", "json")
    content: dict[str, Any] = json.loads(printed(capfd, *command))
    for row in content["rows"]:
        assert row["task"] == "language" and row["metric"] == "bits_per_character" and row["lower_is_better"] is True
        assert (
            row["outcome"] == "ok" and 0 < row["test_metric_ci_low"] < row["test_metric"] < row["test_metric_ci_high"]
        )
        assert row["test_error_pct"] is None and row["valid_metric"] < 4.5
    relu, swiglu = content["rows"]
    assert relu["sparsity_pct"] > 5 and swiglu["metric_difference_ci_low"] < swiglu["metric_difference_ci_high"]
    assert abs(relu["parameters"] / swiglu["parameters"] - 1) < 0.01
    spec = content["runs"][0]["spec"]
    assert spec["input_shape"] == [32] and spec["heads"] == 1 and spec["norm"] == "rms"
    assert spec["protocol"] == "transformer" and spec["departures"] == ["batch size 8", "context 32", "2 epochs"]
    monkeypatch.setattr(InlineExecutor, "run", lambda self, jobs: pytest.fail("nothing is left to compute"))
    assert json.loads(printed(capfd, *command))["rows"] == content["rows"]
    show = ["show", "run", content["runs"][0]["id"], "--runs-dir", str(corpus.parent / "runs"), "--quiet"]
    sample = printed(capfd, *show)
    assert len(sample) > 500 and sample == printed(capfd, *show)
    # Characters that the text has not are hardly drawn by a network that has learned something.
    assert sum(character in TEXT for character in sample) > 0.8 * len(sample)


def test_a_network_that_learns_nothing_has_stalled(corpus: Path, capfd: pytest.CaptureFixture[str]):
    content = json.loads(printed(capfd, *arguments(corpus, "--act", "relu", "--lr", "1e-9", "--format", "json")))
    (stalled,) = content["runs"]
    assert stalled["outcome"] == "stalled"
    assert stalled["message"].endswith("is no better than always giving the frequencies of the characters")


def test_a_table_for_people_speaks_of_bits(
    corpus: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "160")
    table = printed(capfd, *arguments(corpus, "--act", "relu,gelu", "--format", "table", "--epochs", "1"))
    assert "test bits per character" in table and "error" not in table


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--model", "mlp-2x16"], 2, "corpus.txt is a text, and --model mlp-2x16 reads none"),
        (["--model", "cnn"], 2, "is a text, and --model cnn reads none"),
        (["--dataset", "digits"], 2, "--model transformer-1x16 reads texts, and digits has images of 1x8x8"),
        (["--context", "30000"], 3, "training part of .* characters, which is less than a context of 30000"),
        (["--context", "0"], 2, "--context should be greater than or equal to 1"),
        (["--heads", "3"], 2, "--heads 3 does not divide the 16 features of transformer-1x16"),
        (["--heads", "16"], 2, "--heads 16 does not divide the 16 features .* into heads of an even width"),
        (["--model", "transformer-2x15"], 2, "a Transformer has 1 to 200 blocks of an even number of features"),
        (["--norm", "batch"], 2, "--norm batch does not fit transformer-1x16"),
        (["--augment", "flip"], 2, "--augment flip needs a convolutional network"),
        (["--set", "data.test_noise=[0.1]"], 2, "data.test_noise is for images"),
        (["--set", "data.train_size=100000"], 2, "train_size 100000 is more than the"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_cure(
    corpus: Path, capfd: pytest.CaptureFixture[str], more: list[str], code: int, message: str
):
    words = arguments(corpus, "--act", "relu")
    if more[0] in words:
        place = words.index(more[0])
        words[place : place + 2] = []
    if "digits" in more:
        place = words.index("--context")
        words[place : place + 2] = []
    assert run([*words, *more]) == code
    error, hint = capfd.readouterr().err.strip().splitlines()[-2:]
    assert error.startswith("error: ") and hint.startswith("hint: ")
    assert re.search(message, error)


def test_heads_and_context_mean_nothing_to_an_mlp(capfd: pytest.CaptureFixture[str]):
    assert run(["train", "--act", "relu", "--dataset", "digits", "--heads", "2", "--quiet"]) == 2
    assert "--heads 2 means nothing to mlp-3x128: it has no attention" in capfd.readouterr().err
    assert run(["train", "--act", "relu", "--dataset", "digits", "--context", "16", "--quiet"]) == 2
    assert "--context belongs to texts, and digits is none" in capfd.readouterr().err
