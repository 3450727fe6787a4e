from __future__ import annotations

import pytest

from relubench.data.table import TABLE
from relubench.system.lookup import load_target


@pytest.mark.parametrize("row", TABLE.values(), ids=lambda row: row.name)
def test_every_row_names_functions_that_exist_and_says_where_it_is_from(row):
    assert callable(load_target(row.target))
    assert row.package or row.remote or callable(load_target(row.download))
    assert row.citation and row.url.startswith("http") and row.split and row.place


def test_numbers_are_the_published_ones():
    numbers = {name: (row.n_train + row.n_valid, row.n_test, row.classes) for name, row in TABLE.items()}
    assert numbers["mnist"] == numbers["fashion-mnist"] == numbers["kmnist"] == (60_000, 10_000, 10)
    assert numbers["emnist-letters"] == (124_800, 20_800, 26)
    assert numbers["emnist-byclass"] == (697_932, 116_323, 62)
    assert numbers["usps"] == (7_291, 2_007, 10)
    assert numbers["svhn"] == (73_257, 26_032, 10)
    assert numbers["cifar10"] == (50_000, 10_000, 10) and numbers["cifar100"] == (50_000, 10_000, 100)
    assert TABLE["usps"].n_valid == 7_291 // 6
    assert numbers["norb"] == (24_300, 24_300, 5) and numbers["norb-jittered-cluttered"] == (291_600, 58_320, 6)
    assert TABLE["norb-jittered-cluttered"].n_valid == 58_320 and TABLE["norb"].n_valid == 24_300 // 5


def test_norb_files_are_the_originals_in_the_order_they_are_read():
    small, large = TABLE["norb"], TABLE["norb-jittered-cluttered"]
    assert [one.name for one in small.remote] == [
        f"smallnorb-5x{part}-{kind}.mat.gz"
        for part in ("46789x9x18x6x2x96x96-training", "01235x9x18x6x2x96x96-testing")
        for kind in ("dat", "cat", "info")
    ]
    parts = [f"46789x9x18x6x2x108x108-training-{k:02}" for k in range(1, 11)]
    parts += [f"01235x9x18x6x2x108x108-testing-{k:02}" for k in (1, 2)]
    assert [one.name for one in large.remote] == [
        f"norb-5x{part}-{kind}.mat.gz" for part in parts for kind in ("dat", "cat", "info")
    ]
    assert all(len(one.checksum) == len("sha256:") + 64 and one.size for one in small.remote)
    assert all(len(one.checksum) == len("sha1:") + 40 for one in large.remote)
    assert len({one.checksum for one in (*small.remote, *large.remote)}) == 42
    assert all(one.url.endswith(f"/{one.name}") for one in (*small.remote, *large.remote))


def test_torchvision_agrees_on_file_names():
    from torchvision import datasets

    for name in ("mnist", "fashion-mnist", "kmnist"):
        row = TABLE[name]
        published = [file for file, _ in getattr(datasets, row.torchvision).resources]
        assert published == [role[0] for role in row.file_sets[0]]
    for name in ("cifar10", "cifar100"):
        cls, row = getattr(datasets, TABLE[name].torchvision), TABLE[name]
        inner = [file for file, _ in (*cls.train_list, *cls.test_list)] + [cls.meta["filename"]]
        assert [role[0] for role in row.file_sets[0]] == [f"{cls.base_folder}/{file}" for file in inner]
        assert row.file_sets[1] == ((cls.filename,),) and row.url == cls.url
    for name in ("svhn", "usps"):
        lists = getattr(datasets, TABLE[name].torchvision).split_list
        assert [role[0] for role in TABLE[name].file_sets[0]] == [lists[split][1] for split in ("train", "test")]
    assert TABLE["emnist-letters"].url == datasets.EMNIST.url
