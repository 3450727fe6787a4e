"""The presets that come along: each is right at each scale, and those that can be are trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from relubench.activations import select
from relubench.data import outline, prepare
from relubench.errors import UsageError
from relubench.experiments.plan import data_options
from relubench.experiments.presets.catalogue import listing, load, names, open_preset
from relubench.experiments.presets.export import as_yaml
from relubench.experiments.presets.resolve import Preset
from relubench.experiments.presets.schema import SCALES, is_beside_rows
from relubench.experiments.variants import Part, lay_out
from relubench.reports.training.summary import Summary, summarize
from relubench.runs.result import RunResult
from relubench.system.device import resolve

NAMES = names()


def test_the_promised_presets_are_there():
    tables = {f"glorot2011-table1-{one}" for one in ("mnist", "cifar10", "nistp", "norb")}
    article = {"mnist", "norb", "norb-failed-baselines", "cifar10", "nistp", "architectures"}
    others = {"glorot2011-rescaled-softplus", "glorot2011-figure4", "modern-activations", "initialisation"}
    others |= {"normalisation", "depth", "noise-robustness", "cnn-zoo", "dying-relu", "vanishing-gradients"}
    others |= {"pretraining-three-ways"}
    assert set(NAMES) >= tables | {f"article-{one}" for one in article} | others


OFFLINE = ("breast-cancer", "wine", "diabetes", "image:china", "digits", "digits+nistp", "norb-generated", "docs")
"""What no smoke test has to download."""


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", NAMES)
def test_each_preset_is_right_at_each_scale(name: str, scale: str, tmp_path: Path):
    preset = open_preset(name, scale)
    assert preset.runs >= 2
    assert preset.description and preset.source
    if scale == "smoke":
        assert preset.stand_in is not None and "stands in for" in preset.stand_in
        assert all(one.config.data.name in OFFLINE for one in preset.variants)
    printed = tmp_path / f"{name}.yaml"
    printed.write_text(as_yaml(preset))
    assert open_preset(str(printed), None) == preset


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", NAMES)
def test_each_preset_can_be_trained_at_each_scale(name: str, scale: str):
    """Every network with every setting, on data of the table's size: what the plan refuses is refused here."""
    preset = open_preset(name, scale)
    assert len(lay_out(parts_of(preset), resolve("cpu"))) == preset.runs


def parts_of(preset: Preset) -> list[Part]:
    return [
        Part(
            one,
            select(one.config.act),
            outline(one.config.data.name, data_options(one.config.data))
            or prepare(one.config.data.name, options=data_options(one.config.data)),
        )
        for one in preset.variants
    ]


REFERRING = [name for name in NAMES if any(map(is_beside_rows, open_preset(name, "paper").references))]


@pytest.mark.parametrize("name", REFERRING)
def test_each_published_number_judges_the_row_it_stands_beside(name: str):
    """What comes of a whole experiment, were every network wrong on a fifth of the test examples."""
    preset = open_preset(name, "paper", [{"seeds": [0, 1]}])
    rows = tabled(preset).rows
    assert any(row.published_error_pct or row.article_error_pct for row in rows) or "nistp" in name
    beyond = {"a rebuild of NISTP, which is not public", "the article does not describe its cnn"}
    for row in rows:
        if row.published_error_pct is not None or row.article_error_pct is not None:
            assert row.verdict != "not comparable" or row.verdict_reason in beyond, row


def tabled(preset: Preset) -> Summary:
    """The table of the preset's runs, with test results out of a generator."""
    results, masks = [], {}
    for number, (part, spec) in enumerate(lay_out(parts_of(preset), resolve("cpu"))):
        wrong = np.random.default_rng(number).random(part.prepared.n_test) < 0.2
        masks[str(number)] = wrong
        results.append(
            RunResult(
                id=str(number),
                spec={**spec.to_json(), "lr": 0.1},
                outcome="ok",
                parameters=1,
                path="",
                epochs=1,
                best_epoch=1,
                valid_error_pct=20.0,
                test_error_pct=100 * float(wrong.mean()),
                test_examples=wrong.size,
                sparsity_pct=None,
                curve=[],
            )
        )
    timings = dict.fromkeys(masks, None)
    return summarize(results, timings, lambda one: masks[one.id], comparison=preset.comparison)


def test_what_a_source_claims_without_a_table_is_carried_along():
    assert "30 to 50 %" in (open_preset("dying-relu", "smoke").claim or "")
    assert open_preset("depth", "smoke").claim is None


def test_the_list_counts_runs():
    rows = {row["name"]: row for row in listing()}
    row = rows["glorot2011-table1-mnist"]
    assert (row["smoke_runs"], row["quick_runs"], row["paper_runs"]) == (18, 12, 90)
    assert list(row) == ["name", "description", "source", "smoke_runs", "quick_runs", "paper_runs"]


def test_unknown_presets_bring_near_ones(tmp_path: Path):
    with pytest.raises(UsageError, match="there is no preset called 'article-mnsit'") as refused:
        load("article-mnsit")
    assert "did you mean article-mnist" in refused.value.hint
    (tmp_path / "mine.yaml").write_text("description: x\n")
    with pytest.raises(UsageError, match=r"there is no file .*mien\.yaml") as refused:
        load(str(tmp_path / "mien.yaml"))
    assert "did you mean mine.yaml" in refused.value.hint
    assert load(str(tmp_path / "mine.yaml"))[0] == "mine"


@pytest.mark.parametrize("name", ["article-mnist", "dying-relu"])
def test_only_a_smoke_test_concludes_nothing(name: str) -> None:
    assert [open_preset(name, scale).comparison.smoke for scale in ("smoke", "quick", "paper")] == [True, False, False]
