"""The gate on times: what is a regression, what could not be seen, and what the command makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relubench.errors import UsageError
from relubench.reports.report import listing
from relubench.reports.speed.gate import gated_speed, has_slowed, read_speed_rows
from relubench.statistics.speed_gate import parse_speed_gate
from relubench.statistics.timings import ratio
from tests.cli.fakes import Cli


def row(activation: str, value: float | None, width: float = 0.01, **more: Any) -> dict[str, Any]:
    ends = (None, None) if value is None else (value * (1 - width), value * (1 + width))
    names = {"elements": 4096, "dtype": "fp32", "mode": "eager", "pass": "forward", "outcome": "ok"}
    interval = dict(zip(("ratio_to_relu_ci_low", "ratio_to_relu_ci_high"), ends, strict=True))
    return {"activation": activation, **names, "ratio_to_relu": value, **interval, **more}


def judged(now: dict[str, Any], before: dict[str, Any], gate: str = "slower:5%") -> Any:
    report = gated_speed(listing("speed", [now], title=""), [before], parse_speed_gate(gate))
    return report.rows[0]["gate"]


def test_a_clear_slowdown_is_a_regression() -> None:
    assert judged(row("gelu", 1.5), row("gelu", 1.2)) == "regression"
    assert judged(row("gelu", 1.2), row("gelu", 1.2)) == "passed"
    assert judged(row("gelu", 1.26, width=0.05), row("gelu", 1.2)) == "inconclusive"
    assert judged(row("gelu", 1.0), row("gelu", 1.5)) == "passed"
    assert judged(row("gelu", 1.0), row("gelu", 1.5), "faster:5%") == "regression"
    assert judged(row("gelu", 1.0), row("gelu", 1.5), "any") == "regression"


def test_what_failed_since_then_is_a_regression() -> None:
    assert judged(row("gelu", None, outcome="failed"), row("gelu", 1.2)) == "regression"
    assert judged(row("gelu", None, outcome="failed"), row("gelu", None, outcome="failed")) == "inconclusive"


def test_the_sentence_says_what_could_not_be_seen() -> None:
    report = gated_speed(
        listing("speed", [row("gelu", 1.26, width=0.05)], title=""), [row("gelu", 1.2)], parse_speed_gate("slower:5%")
    )
    assert "1 inconclusive (gelu; the smallest change that could be seen is 6.1 %)" in report.sentence
    assert not has_slowed(report)


def test_an_aa_passes_and_a_planted_slowdown_stops() -> None:
    """100 pairs of timings of the same code, and of code that is 20 % slower; each a median of 40 rounds' ratios."""
    rng = np.random.default_rng(0)

    def timed(factor: float) -> dict[str, Any]:
        base, own = rng.lognormal(0, 0.05, 40), factor * 1.3 * rng.lognormal(0, 0.05, 40)
        estimate = ratio(own.tolist(), base.tolist())
        ends = {"ratio_to_relu_ci_low": estimate.low, "ratio_to_relu_ci_high": estimate.high}
        return {**row("gelu", estimate.median), **ends}

    same = [judged(timed(1.0), timed(1.0)) for _ in range(100)]
    slower = [judged(timed(1.2), timed(1.0)) for _ in range(100)]
    assert same.count("regression") <= 5
    assert slower.count("regression") >= 95


@pytest.mark.parametrize("text", ["", "higher", "slower:x", "slower:-1%", "slower:5%%", "slower:"])
def test_any_other_gate_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--fail-on"):
        parse_speed_gate(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [("[", "is no JSON"), ("{}", "holds no timing"), ('{"rows": [{"activation": "relu"}]}', "operators or networks")],
)
def test_a_file_without_timings_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "before.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=message):
        read_speed_rows(path)


def test_the_command_ends_with_the_gate(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "before.json"
    argv = ["speed", "--act", "tanh", "--size", "4096", "--pass", "forward", "--device", "cpu", "--budget", "1s", "-q"]
    assert cli(*argv, "--output", str(path)).code == 0
    content = json.loads(path.read_text())
    for saved in content["rows"]:
        for key in list(saved):
            if key.startswith(("ratio_to_relu", "ns_per_element")) and saved[key] is not None:
                saved[key] /= 10
    path.write_text(json.dumps(content))
    ended = cli(*argv, "--baseline", str(path), "--fail-on", "slower:50%", "--format", "json")
    gates = {entry["activation"]: entry["gate"] for entry in json.loads(ended.out)["rows"]}
    # On a busy machine a second may be too short for an interval.
    assert gates["tanh"] in ("regression", "inconclusive")
    assert ended.code == (4 if "regression" in gates.values() else 0)
    assert "--fail-on and --baseline belong together" in cli(*argv, "--fail-on", "slower").err


def test_strict_makes_a_failed_row_an_error(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def broken(x): raise ValueError('no luck')\n")
    argv = ["speed", "--act", f"{tmp_path}/mine.py:broken", "--act", "tanh", "--size", "512", "--device", "cpu", "-q"]
    argv += ["--pass", "forward", "--budget", "0.5s", "--strict"]
    assert cli(*argv).code == 1
    assert cli(*argv[:2], "tanh", *argv[5:]).code == 0
