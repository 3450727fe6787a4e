"""Lessons: each is a preset that can be run, says what to see, and has a notebook that runs."""

import json
from pathlib import Path

import pytest

import relubench
from relubench.experiments.presets.catalogue import LESSONS, lessons, load_lesson
from relubench.reports.figures.table import FIGURES

FOLDER = Path(__file__).parents[1] / "docs" / "lessons"
WARMUP_EPOCHS = 6
"""Of the lesson on dying units: no lesson can be shorter."""


def notebook(name):
    return json.loads((FOLDER / f"{LESSONS.index(name) + 1}-{name}.ipynb").read_text("utf-8"))


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_is_offline_and_says_what_to_look_at_and_to_expect(name):
    preset = load_lesson(name)
    assert preset.lesson and preset.lesson["look"] and preset.lesson["expect"]
    assert {variant.config.data.name for variant in preset.variants} == {"digits"}
    assert preset.question.endswith("?") and set(preset.figure) <= set(FIGURES) and preset.runs <= 60
    texts = [" ".join(preset.lesson[key].split()) for key in ("look", "expect")]
    cells = " ".join("".join(cell["source"]) for cell in notebook(name)["cells"])
    assert all(text in cells for text in texts)


def test_the_list_has_all_lessons_in_their_order():
    assert [row["name"] for row in lessons()] == list(LESSONS)


@pytest.mark.slow
@pytest.mark.parametrize("name", LESSONS)
def test_a_notebook_runs(name, monkeypatch, tmp_path):
    pytest.importorskip("pandas")
    run = relubench.run
    monkeypatch.setattr(
        relubench,
        "run",
        lambda preset: run(preset, seeds=1, settings={"train": {"epochs": WARMUP_EPOCHS}}, runs_dir=tmp_path),
    )
    values = {}
    for cell in notebook(name)["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), values)
    assert values["result"].rows and "<img" in values["result"]._repr_html_()
