"""The published and the article's numbers, and the lines that keep them apart."""

import pytest

from relubench import places
from relubench.errors import DataError
from relubench.reports import references
from relubench.reports.references import article, published
from relubench.results import SummaryRow


@pytest.mark.parametrize(
    ("name", "paper", "other"), [("relu", 1.43, 1.43), ("tanh", 1.57, 2.2), ("sigmoid", None, 2.94)]
)
def test_mnist_values(name, paper, other):
    found = published("mnist", "mlp-3x1000", name, "none")
    assert (found and found.error_pct) == paper
    assert found is None or found.source == "Glorot et al. 2011, Table 1"
    second = article("mnist", "mlp-3x1000", name, "none")
    assert second is not None and (second.error_pct, second.source) == (other, "article, table mnist")


def test_pretraining_is_denoising_in_the_paper_and_rbm_in_the_article():
    assert published("mnist", "mlp-3x1000", "relu", "dae").error_pct == 1.20
    assert published("mnist", "mlp-3x1000", "relu", "rbm") is None
    assert article("mnist", "mlp-3x1000", "relu", "rbm").error_pct == 1.5
    assert article("mnist", "mlp-3x1000", "relu", "dae") is None


def test_sparsity_is_published_for_rectifiers_only():
    assert published("mnist", "mlp-3x1000", "relu", "none").sparsity_pct == 83.4
    assert published("mnist", "mlp-3x1000", "tanh", "none").sparsity_pct is None


def test_names_of_the_same_network_match_and_others_do_not():
    assert published("mnist", "mlp-1000-1000-1000", "relu", "none").error_pct == 1.43
    assert published("mnist", "mlp-2x1000", "relu", "none") is None
    assert published("mnist", "cnn", "relu", "none") is None
    assert published("digits", "mlp-3x1000", "relu", "none") is None
    assert article("mnist", "cnn", "relu", "none").error_pct == 1.2


def test_softplus_by_beta():
    norb = ("norb-jittered-cluttered", "mlp-4000-2000")
    assert published("mnist", "mlp-3x1000", "softplus:beta=3", "none") is None
    assert published(*norb, "softplus", "none").source == "Glorot et al. 2011, Table 1"
    rescaled = published(*norb, "softplus:beta=3:threshold=20", "none")
    assert (rescaled.error_pct, rescaled.source) == (16.66, "Glorot et al. 2011, rescaled softplus")
    assert published(*norb, "softplus:beta=2.5", "none") is None
    assert published("mnist", "mlp-3x1000", "softplus:beta=1", "none").error_pct == 1.77
    assert published("mnist", "mlp-3x1000", "leaky_relu:slope=0", "none") is None


def test_article_by_penalty():
    assert article("mnist", "mlp-3x1000", "relu", "none", l1=0.01).error_pct == 1.52
    assert article("mnist", "mlp-3x1000", "relu", "none", l1=1.0).sparsity_pct == 99
    assert article("mnist", "mlp-3x1000", "relu", "none").sparsity_pct is None
    assert article("norb", "mlp-3x1000", "abs_tanh", "none") is None  # named there, without a value


def test_footnotes_name_sources_and_the_other_value():
    row = SummaryRow(
        activation="sigmoid", dataset="mnist", model="mlp-3x1000", article_error_pct=2.94, published_sparsity_pct=None
    )
    (note,) = references.footnotes([row])
    assert references.ARTICLE_TITLE in note and "not in the published paper" in note
    assert "sigmoid it also gives 2.2" in note
    norb = references.footnotes([SummaryRow(activation="relu", dataset="norb", model="mlp-3x1000")])
    assert len(norb) == 1 and "jittered-cluttered" in norb[0]


def test_missing_presets_name_the_fix(monkeypatch, tmp_path):
    monkeypatch.setattr(places, "__file__", str(tmp_path / "a" / "places.py"))
    with pytest.raises(DataError, match="presets are missing"):
        places.presets_folder()


def test_one_table_alone():
    norb = ("norb-jittered-cluttered", "mlp-4000-2000")
    assert published(*norb, "relu", "none", "rescaled-softplus").source == "Glorot et al. 2011, rescaled softplus"
    assert published(*norb, "softplus:beta=2", "none", "table1") is None
    assert published(*norb, "tanh", "none", "figure4", 10_000).error_pct == 44.3
    assert published(*norb, "tanh", "none", "figure4").error_pct == 19.3
    assert published(*norb, "tanh", "none", "figure4", 20_000) is None
    assert published(*norb, "tanh", "none", "table1", 10_000) is None
    assert article("mnist", "mlp-3x1000", "sigmoid", "none", table="architectures").error_pct == 2.2
    assert article("mnist", "cnn", "sigmoid", "none", table="mnist") is None


def test_the_articles_nistp_stands_beside_the_rebuild_with_a_note():
    assert article("nistp-like", "mlp-3x1000", "relu", "none").error_pct == 8.8
    assert published("nistp-like", "mlp-3x1000", "relu", "none") is None
    row = SummaryRow(activation="relu", dataset="nistp-like", model="mlp-3x1000", article_error_pct=8.8)
    assert references.footnotes([row])[-1] == references.NISTP_NOTE
