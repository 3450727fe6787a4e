from __future__ import annotations

from pathlib import Path

import pytest

from relubench.data import prepare
from relubench.data.files.locate import data_roots, roots_of, search
from relubench.data.table import TABLE
from relubench.errors import UsageError

NAMES = [role[0] for role in TABLE["mnist"].file_sets[0]]


def put(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def test_roots_in_order(monkeypatch, tmp_path):
    cached = tmp_path / "cache" / "data"
    assert data_roots(None) == (cached,)
    for name in ("flag", "env"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("RELUBENCH_DATA_DIR", str(tmp_path / "env"))
    assert data_roots(tmp_path / "flag") == (tmp_path / "flag", tmp_path / "env", cached)
    assert data_roots(tmp_path / "env") == (tmp_path / "env", cached)


def test_a_data_dir_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"--data-dir .*file is not a folder"):
        data_roots(tmp_path / "file")


def test_a_mistyped_data_dir_is_refused_with_near_names_and_never_made(tmp_path):
    (tmp_path / "datasets").mkdir()
    for name in ("digits", "mnist", "norb", "digits+nistp"):
        with pytest.raises(UsageError, match=r"--data-dir: there is no folder .*datastes") as caught:
            prepare(name, data_dir=tmp_path / "datastes")
        assert caught.value.exit_code == 2
        assert f"did you mean {tmp_path / 'datasets'}?" in caught.value.hint
        assert f"mkdir -p {tmp_path / 'datastes'}" in caught.value.hint
    assert not (tmp_path / "datastes").exists()


def test_an_environment_variable_that_cannot_be_a_folder_is_refused(monkeypatch):
    monkeypatch.setenv("RELUBENCH_DATA_DIR", "~nobody-of-this-name/data")
    with pytest.raises(UsageError, match="~nobody-of-this-name/data: there is no user"):
        prepare("mnist")


@pytest.mark.parametrize("name", ["x" * 5000, "~nobody-of-this-name/data", "a\0b"])
def test_a_data_dir_that_cannot_be_a_folder_is_refused(name):
    with pytest.raises(UsageError, match=r"--data-dir|there is no user") as caught:
        prepare("digits", data_dir=Path(name))
    assert caught.value.hint


@pytest.mark.parametrize("inner", ["MNIST/raw", "mnist", "."])
def test_mnist_lies_in_any_of_three_folders(tmp_path, inner):
    put(tmp_path / inner, NAMES)
    found = search(TABLE["mnist"], [tmp_path / "nothing", tmp_path]).source
    assert found is not None and found.folder == tmp_path / inner and found.root == tmp_path


def test_gz_is_preferred_and_may_be_mixed_with_uncompressed(tmp_path):
    put(tmp_path, [*NAMES[:2], "train-images-idx3-ubyte", "t10k-images-idx3-ubyte", "t10k-labels.idx1-ubyte"])
    found = search(TABLE["mnist"], [tmp_path]).source
    assert found is not None
    assert [path.name for _, path in found.files] == [*NAMES[:2], "t10k-images-idx3-ubyte", "t10k-labels.idx1-ubyte"]
    assert [label for label, _ in found.files] == NAMES


def test_an_incomplete_folder_is_remarked_and_passed_over(tmp_path):
    put(tmp_path / "a", NAMES[:3])
    put(tmp_path / "b", NAMES)
    result = search(TABLE["mnist"], [tmp_path / "a", tmp_path / "b"])
    assert result.source is not None and result.source.root == tmp_path / "b"
    assert result.remarks == (f"{tmp_path / 'a'} lacks t10k-labels-idx1-ubyte.gz",)


def test_fashion_is_not_looked_for_where_it_cannot_be_told_from_mnist(tmp_path):
    put(tmp_path, NAMES)
    assert search(TABLE["fashion-mnist"], [tmp_path]).source is None


def test_digits_lie_in_the_package():
    found = search(TABLE["digits"], roots_of(TABLE["digits"], None)).source
    assert found is not None and found.files[0][1].name == "digits.csv.gz"
