from __future__ import annotations

import pytest

from relubench.data.needs import resolve
from relubench.data.table import TABLE


@pytest.mark.parametrize("row", TABLE.values(), ids=lambda row: row.name)
def test_every_row_names_functions_that_exist_and_says_where_it_is_from(row):
    assert callable(resolve(row.target))
    assert row.package or callable(resolve(row.download))
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
