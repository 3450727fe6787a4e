"""The figure of learning curves: written in three formats, the same each time, refusing what it cannot do."""

from dataclasses import replace

import pytest

from relubench.errors import ComputeError, UsageError
from relubench.reports.plots import plot_curves

STARTS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.mark.parametrize("suffix", STARTS)
def test_written_by_suffix_and_reproducible(lab, tmp_path, suffix):
    lab.train("relu").train("tanh", epochs=1, seeds=1).train("selu").spoil("selu", "diverged", seeds=(1,))
    one = lab.results[5]
    points = [*one.curve[:3], replace(one.curve[3], valid_error_pct=None, train_loss=None)]
    lab.results[5] = replace(one, curve=points)
    lab.timings[lab.results[0].id] = None
    files = [tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"]
    for file in files:
        plot_curves(lab.results, lab.timings, file)
    assert files[0].read_bytes().startswith(STARTS[suffix])
    assert files[0].read_bytes() == files[1].read_bytes()


def test_unknown_suffix_is_refused(lab, tmp_path):
    with pytest.raises(UsageError, match="suffix") as caught:
        plot_curves(lab.train("relu").results, lab.timings, tmp_path / "a.jpeg")
    assert ".png, .svg, .pdf" in caught.value.hint


def test_nothing_to_plot_is_an_error(lab, tmp_path):
    lab.train("relu", seeds=1)
    with pytest.raises(ComputeError, match="no run has a learning curve"):
        plot_curves([replace(lab.results[0], curve=[])], lab.timings, tmp_path / "a.png")


def test_unwritable_file_is_an_error(lab, tmp_path):
    with pytest.raises(ComputeError, match="cannot write"):
        plot_curves(lab.train("relu").results, lab.timings, tmp_path / "missing" / "a.png")
