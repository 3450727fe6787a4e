"""The published and the article's numbers, and the lines that keep them apart."""

import csv
import hashlib
from pathlib import Path

import pytest

from relubench.errors import DataError
from relubench.experiments import references
from relubench.experiments.reference_catalogue import catalogue
from relubench.experiments.references import article, published
from relubench.experiments.rows import SummaryRow
from relubench.system import paths


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


def test_the_norb_sets_have_the_numbers_of_their_own_source():
    small, large = ("norb", "mlp-4000-2000"), ("norb-jittered-cluttered", "mlp-4000-2000")
    assert (published(*small, "relu", "none"), article(*small, "relu", "none").error_pct) == (None, 16.4)
    assert article(*small, "sigmoid", "rbm").error_pct == 16.5
    assert article("norb", "mlp-3x1000", "relu", "none").error_pct == 16.4
    assert article("norb", "mlp-2000-2000", "relu", "none") is None
    assert (published(*large, "relu", "none").error_pct, article(*large, "relu", "none")) == (16.40, None)
    assert published(*large, "relu", "none").sparsity_pct == 73.8
    generated = ("norb-generated", "mlp-4000-2000", "relu", "none")
    assert (published(*generated), article(*generated)) == (None, None)
    (note,) = references.footnotes([SummaryRow(activation="relu", dataset="norb-generated", model="mlp-4000-2000")])
    assert "it is not NORB" in note


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
    monkeypatch.setattr(paths, "PACKAGE", tmp_path / "a" / "relubench")
    with pytest.raises(DataError, match="presets are missing"):
        paths.presets_folder()


SHA256 = {
    "article": "0bc4de3094de2016a02fd39d20457f025c6b175dd3ca11bf77d0711a492c9039",
    "glorot2011": "ced5e8b140a9173a60351e3fefb568505330067ab2e30e57caedf08f2f1b1463",
    "glorot2011_figure3": "74bb8e7e8c6d68f4d3c6aa60ac4edb69ab8a41538aa385739a79b92e90072cf8",
}


@pytest.mark.parametrize("name", SHA256)
def test_shipped_numbers_are_the_checked_ones(name):
    content = (paths.presets_folder() / "reference" / f"{name}.csv").read_bytes()
    assert hashlib.sha256(content).hexdigest() == SHA256[name]


@pytest.mark.parametrize("name", SHA256)
def test_shipped_numbers_are_those_of_the_project_s_notes(name):
    notes = Path(__file__).parents[3] / "shared" / "reference" / f"{name}.csv"
    if not notes.is_file():
        pytest.skip("needs the notes that the project was built from, in shared/reference beside it")
    with (
        notes.open(newline="") as theirs,
        (paths.presets_folder() / "reference" / f"{name}.csv").open(newline="") as ours,
    ):
        assert list(csv.DictReader(ours)) == list(csv.DictReader(theirs))


TABLE_1 = {
    "dae": {
        "relu": {"mnist": 1.20, "cifar10": 49.96, "nistp": 32.86, "norb": 16.46},
        "tanh": {"mnist": 1.16, "cifar10": 50.79, "nistp": 35.89, "norb": 17.66},
        "softplus": {"mnist": 1.17, "cifar10": 49.52, "nistp": 33.27, "norb": 19.19},
    },
    "none": {
        "relu": {"mnist": 1.43, "cifar10": 50.86, "nistp": 32.64, "norb": 16.40},
        "tanh": {"mnist": 1.57, "cifar10": 52.62, "nistp": 36.46, "norb": 19.29},
        "softplus": {"mnist": 1.77, "cifar10": 53.20, "nistp": 35.48, "norb": 17.68},
    },
}
SPARSITY = {"mnist": 83.4, "cifar10": 72.0, "nistp": 68.0, "norb": 73.8}
RESCALED = [("1.3", 17.53), ("2", 16.9), ("3", 16.66), ("6", 16.54)]
NETWORKS = {"norb": ("norb-jittered-cluttered", "mlp-4000-2000")}


def test_every_value_of_the_papers_table_is_found():
    for pretraining, by_activation in TABLE_1.items():
        for activation, values in by_activation.items():
            for dataset, error in values.items():
                found = published(*NETWORKS.get(dataset, (dataset, "mlp-3x1000")), activation, pretraining)
                assert found.error_pct == error
                assert found.sparsity_pct == (SPARSITY[dataset] if activation == "relu" else None)


@pytest.mark.parametrize(("alpha", "error"), RESCALED)
def test_every_rescaled_softplus_is_found(alpha, error):
    assert published(*NETWORKS["norb"], f"softplus:beta={alpha}", "none").error_pct == error


def test_the_catalogue_names_every_number_once_with_its_source():
    rows = catalogue()
    assert len({row["name"] for row in rows}) == len(rows) > 250
    assert all(row["source"] and row["metric"] for row in rows)
    assert all(row["protocol"] for row in rows)
    # The article and READMEs have no pages; what was read in a page about a source has none of the source's.
    modern = {entry.source for entry in references.entries("modern") if not entry.page}
    unpaged = {row["name"].split(":")[0] for row in rows if not row["page"]} - modern
    assert unpaged == {"article", "misra2019", "caffenet-benchmark", "clevert2015", "xu2015"}
    assert not modern & {"shazeer2020", "so2021", "ramachandran2017"}
    opentable = [row for row in rows if row["dataset"] == "opentable"]
    assert opentable and all(row["note"].startswith("data not public") for row in opentable)


@pytest.mark.parametrize(
    ("dataset", "model", "activation", "metric", "value"),
    [
        ("norb-jittered-cluttered", "mlp-4000-2000", "nrelu", "test_error", {17.6, 16.5, 15.2}),
        ("cifar10", "WRN-28-10", "silu", "accuracy", {95.5}),
        ("cifar100", "ResNet-164", "softplus", "accuracy", {76.0}),
        ("cifar10", "SqueezeNet", "sigmoid", "accuracy", {74.82}),
        ("imagenet", "14 layers", "relu", "top1_error", {33.82}),
        ("cifar10", "9-layer CNN", "gelu", "test_error", {7.89}),
        ("imagenet-128", "CaffeNet", "elu", "top1_accuracy", {48.8, 49.8}),
    ],
)
def test_values_of_the_wider_family(dataset, model, activation, metric, value):
    found = {
        one.value
        for one in references.entries("others")
        if (one.dataset, one.model, one.activation, one.metric) == (dataset, model, activation, metric)
    }
    assert found == value


@pytest.mark.parametrize("file", ["others", "modern"])
def test_nothing_from_memory_is_shipped(file):
    assert {one.mark for one in references.entries(file)} == {"A", "B"}
    assert all(one.citation and one.protocol for one in references.entries(file))


@pytest.mark.parametrize(
    ("source", "condition", "activation", "metric", "value"),
    [
        ("shazeer2020", "steps=524288", "geglu", "log_perplexity", 1.633),
        ("shazeer2020", "steps=65536", "relu", "log_perplexity", 1.997),
        ("so2021", "Tensor2Tensor on TPUv2", "relu", "perplexity", 35.44),
        ("krizhevsky2012", "", "relu", "speed_ratio_to_tanh", 6.0),
        ("srivastava2014", "dropout + max-norm", "relu", "test_error", 1.05),
        ("pytorch-ao-1920", "", "squared_relu", "ffn_sparsity", 85.0),
    ],
)
def test_values_of_today_s_networks(source, condition, activation, metric, value):
    (found,) = {
        one.value
        for one in references.entries("modern")
        if (one.source, one.condition, one.activation, one.metric) == (source, condition, activation, metric)
        and one.model in ("T5-base FFN", "Transformer") + (() if source.startswith(("sh", "so")) else (one.model,))
    }
    assert found == value


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
