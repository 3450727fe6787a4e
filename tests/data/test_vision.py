from __future__ import annotations

import bz2
import dataclasses
import hashlib
import pickle
import tarfile

import numpy as np
import pytest

from relubench.data import DataOptions, arrays, preparation, prepare
from relubench.data.source_row import Division
from relubench.errors import DataError


def md5_of(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def draw(*shape):
    return np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(params=["cifar10", "cifar100"])
def cifar(request, shrink, tmp_path, monkeypatch):
    """Tiny batches in the true format: (name, class, images, labels, folder of the batches)."""
    from torchvision import datasets

    shrink(request.param, n_train=12, n_valid=3, n_test=4)
    cls = getattr(datasets, request.param.upper())
    key = "labels" if request.param == "cifar10" else "fine_labels"
    folder = tmp_path / "data" / cls.base_folder
    folder.mkdir(parents=True)
    names = [name for name, _ in (*cls.train_list, *cls.test_list)]
    counts = [15 // len(cls.train_list)] * len(cls.train_list) + [4]
    x, y = draw(19, 3, 32, 32), np.arange(19) % 10
    place = 0
    for name, n in zip(names, counts, strict=True):
        batch = {"data": x[place : place + n].reshape(n, -1), key: y[place : place + n].tolist()}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
        place += n
    (folder / cls.meta["filename"]).write_bytes(pickle.dumps({cls.meta["key"]: ["a", "b"]}, protocol=2))
    monkeypatch.setattr(cls, "train_list", [[name, md5_of(folder / name)] for name in names[:-1]])
    monkeypatch.setattr(cls, "test_list", [[names[-1], md5_of(folder / names[-1])]])
    monkeypatch.setattr(cls, "meta", {**cls.meta, "md5": md5_of(folder / cls.meta["filename"])})
    return request.param, cls, x, y, folder


def check_cifar(prepared, x, y):
    x_train, y_train = arrays(prepared, "train")
    x_test, y_test = arrays(prepared, "test")
    assert prepared.input_shape == (3, 32, 32) and (prepared.n_train, prepared.n_valid, prepared.n_test) == (12, 3, 4)
    assert np.array_equal(x_train, x[:12]) and y_train.tolist() == y[:12].tolist()
    assert np.array_equal(arrays(prepared, "valid")[0], x[12:15])
    assert np.array_equal(x_test, x[15:]) and y_test.tolist() == y[15:].tolist()


def test_cifar_from_its_batches(cifar, tmp_path):
    name, _, x, y, _ = cifar
    check_cifar(prepare(name, data_dir=tmp_path / "data"), x, y)


@pytest.fixture
def archive(cifar, tmp_path, monkeypatch):
    """The file of the batches as it is published, in a folder of its own."""
    _, cls, _, _, folder = cifar
    (tmp_path / "packed").mkdir()
    archive = tmp_path / "packed" / cls.filename
    with tarfile.open(archive, "w:gz") as out:
        out.add(folder, arcname=cls.base_folder)
    monkeypatch.setattr(cls, "tgz_md5", md5_of(archive))
    return archive


def test_cifar_from_its_archive_alone(cifar, archive, tmp_path):
    name, cls, x, y, _ = cifar
    check_cifar(prepare(name, data_dir=tmp_path / "packed"), x, y)
    archive.write_bytes(archive.read_bytes()[:-2000])
    with pytest.raises(DataError, match=rf"{cls.filename} is truncated"):
        prepare(name, data_dir=tmp_path / "packed")


def test_cifar_is_downloaded(cifar, archive, tmp_path, monkeypatch, serve):
    name, cls, x, y, _ = cifar
    monkeypatch.setattr(cls, "url", serve(archive.parent)[0] + cls.filename)
    monkeypatch.setenv("RELUBENCH_OFFLINE", "0")
    check_cifar(prepare(name), x, y)
    assert (tmp_path / "cache" / "data" / name / cls.base_folder).is_dir()


def test_an_altered_cifar_batch_is_named_before_it_is_unpickled(cifar, tmp_path):
    name, cls, _, _, folder = cifar
    path = folder / cls.train_list[-1][0]
    path.write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR.")
    with pytest.raises(DataError, match=rf"{path.name} is altered: its md5 is"):
        prepare(name, data_dir=tmp_path / "data")
    assert not (tmp_path / "ran").exists()


@pytest.fixture
def svhn(shrink, tmp_path, monkeypatch):
    from scipy.io import savemat
    from torchvision.datasets import SVHN

    shrink("svhn", n_train=10, n_valid=2, n_test=5)
    x, y, lists = {}, {}, {}
    (tmp_path / "data" / "svhn").mkdir(parents=True)
    for split, n in (("train", 12), ("test", 5)):
        x[split], y[split] = draw(32, 32, 3, n), (np.arange(n) % 10 + 1).astype(np.uint8)
        path = tmp_path / "data" / "svhn" / f"{split}_32x32.mat"
        savemat(path, {"X": x[split], "y": y[split][:, None]})
        lists[split] = [f"http://127.0.0.1:9/{path.name}", path.name, md5_of(path)]
    monkeypatch.setattr(SVHN, "split_list", lists)
    return x, y, tmp_path / "data" / "svhn"


def test_svhn_reads_label_10_as_digit_0(svhn, tmp_path):
    x, _, _ = svhn
    prepared = prepare("svhn", data_dir=tmp_path / "data")
    assert (prepared.n_train, prepared.n_valid, prepared.n_test) == (10, 2, 5)
    assert np.array_equal(arrays(prepared, "test")[0], x["test"].transpose(3, 2, 0, 1))
    assert arrays(prepared, "train")[1].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]


def test_an_altered_svhn_file_is_named(svhn, tmp_path):
    path = svhn[2] / "test_32x32.mat"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"test_32x32\.mat is altered"):
        prepare("svhn", data_dir=tmp_path / "data")


@pytest.fixture
def usps(shrink, tmp_path, monkeypatch):
    from torchvision.datasets import USPS

    shrink("usps", n_train=10, n_valid=2, n_test=5)
    values, lists = {}, {}
    (tmp_path / "data").mkdir()
    for split, n, name in (("train", 12, "usps.bz2"), ("test", 5, "usps.t.bz2")):
        values[split] = np.random.default_rng(2).uniform(-1, 1, (n, 256)).round(6)
        rows = [
            " ".join([str(k % 10 + 1), *(f"{place}:{value}" for place, value in enumerate(row, 1))])
            for k, row in enumerate(values[split])
        ]
        path = tmp_path / "data" / name
        path.write_bytes(bz2.compress(("\n".join(rows) + "\n").encode()))
        lists[split] = [f"http://127.0.0.1:9/{name}", name, md5_of(path)]
    monkeypatch.setattr(USPS, "split_list", lists)
    return values


def test_usps_reads_minus_1_to_1_as_0_to_255(usps, tmp_path):
    prepared = prepare("usps", data_dir=tmp_path / "data")
    x, y = arrays(prepared, "test")
    assert x.shape == (5, 1, 16, 16) and x.dtype == np.uint8 and y.tolist() == [0, 1, 2, 3, 4]
    assert np.abs(x.reshape(5, 256) - (usps["test"] + 1) / 2 * 255).max() <= 1


def test_a_truncated_usps_file_is_named(usps, tmp_path):
    path = tmp_path / "data" / "usps.bz2"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"usps\.bz2 is truncated"):
        prepare("usps", data_dir=tmp_path / "data")


def test_cifar10_with_the_papers_split(cifar, tmp_path, monkeypatch):
    name, _, x, y, _ = cifar
    row = preparation.TABLE[name]
    division = Division(n_train=15, n_valid=2, n_test=2, rule="halves", valid_from="test")
    row = dataclasses.replace(row, paper=division)
    monkeypatch.setattr(preparation, "TABLE", {**preparation.TABLE, name: row})
    usual = prepare(name, data_dir=tmp_path / "data")
    paper = prepare(name, data_dir=tmp_path / "data", options=DataOptions(split="paper"))
    assert paper.digest != usual.digest and (paper.n_train, paper.n_valid, paper.n_test) == (15, 2, 2)
    parts = [arrays(paper, split) for split in ("train", "valid", "test")]
    assert np.array_equal(np.concatenate([one for one, _ in parts]), x)
    assert np.concatenate([one for _, one in parts]).tolist() == y.tolist()
    assert "halves" in paper.source
