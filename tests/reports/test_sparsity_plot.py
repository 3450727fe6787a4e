"""The figure of an ablation of sparsity: a curve only where the table shows a change."""

from dataclasses import dataclass, field, replace

import pytest

from relubench.reports.plots.sparsity import plot_sparsity
from relubench.reports.training.sparsity import without_trend
from tests.reports.conftest import Lab


@dataclass
class Carried:
    """What of a study the figure asks for."""

    lab: Lab
    timings: dict = field(default_factory=dict)

    @property
    def results(self):
        return self.lab.results

    def mask_of(self, run):
        return self.lab.masks.get(run.id)


def ablation(scales, seeds):
    """Networks of rising strength, zeros and, by `scales`, error."""
    lab = Lab()
    for place, scale in enumerate(scales):
        start = len(lab.results)
        strength = {"l1": 0.01 * place, "l1_asked": 0.01 * place}
        lab.train("relu", seeds=seeds, scale=scale, epochs=2, batch_size=10, **strength)
        for number in range(start, len(lab.results)):
            zeros = 70.0 + 4 * place + 0.1 * number
            lab.results[number] = replace(lab.results[number], sparsity_pct=zeros)
    study = Carried(lab)
    study.timings = lab.timings
    # The specification holds the epochs too.
    for run in lab.results:
        run.spec["epochs"] = 2
    return study


@pytest.mark.parametrize(
    ("scales", "seeds", "is_fitted"),
    [((1, 1, 1, 1, 1), 3, False), ((1, 1, 1, 1.2, 4), 3, True), ((1, 2, 4, 6, 8), 1, True)],
)
def test_a_curve_is_fitted_only_where_the_table_shows_a_change(tmp_path, scales, seeds, is_fitted):
    study = ablation(scales, seeds)
    flat = without_trend(study)
    assert flat == ({} if is_fitted else {"relu": "all differences are noise"})
    path = tmp_path / "figure.svg"
    plot_sparsity(study.results, path, flat)
    text = path.read_text()
    assert ("relu: fit of degree 2" in text) == is_fitted
    assert ("relu: no curve is fitted (all differences are noise)" in text) != is_fitted


def test_networks_of_one_strength_each_have_a_curve_only_if_their_error_rises(tmp_path):
    study = ablation((1,), 12)
    assert without_trend(study) == {"relu": "no change of the error beyond noise"}
