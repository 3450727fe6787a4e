"""Downloads, through torchvision's own classes, from a server on this machine."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time

import numpy as np
import pytest

from relubench.data import arrays, prepare, status
from relubench.data.files import fetch
from relubench.data.files.cache import locked
from relubench.errors import ComputeError, DataError


def names(folder):
    return sorted(one.name for one in folder.iterdir())


@pytest.fixture
def online(monkeypatch):
    monkeypatch.setenv("RELUBENCH_OFFLINE", "0")


@pytest.fixture
def mirror(tiny_mnist, serve, monkeypatch, online):
    """Tiny MNIST behind the only mirror, and nowhere else: (arrays, served folder, paths asked for)."""
    from torchvision.datasets import MNIST

    wanted, raw = tiny_mnist
    url, asked = serve(raw)
    monkeypatch.setattr(MNIST, "mirrors", [url])
    return wanted, raw, asked


def test_download_goes_to_the_cache_and_nothing_to_stdout(mirror, tmp_path, capfd):
    wanted, _, asked = mirror
    said = []
    assert status("mnist") == "absent"
    prepared = prepare("mnist", progress=said.append)
    assert np.array_equal(arrays(prepared, "test")[0][:, 0], wanted["t10k-images"])
    root = tmp_path / "cache" / "data"
    assert names(root / "MNIST" / "raw") == sorted({path[1:] for path in asked})
    assert names(root) == ["MNIST"]
    assert said[0].startswith("downloading mnist from https://") and status("mnist") == f"present at {root}/MNIST/raw"
    out, err = capfd.readouterr()
    assert out == "" and "%" in err
    count = len(asked)
    assert prepare("mnist") == prepared and len(asked) == count


def test_download_goes_to_the_data_dir_and_is_silent_without_progress(mirror, tmp_path, capfd):
    (tmp_path / "mine").mkdir()
    prepare("mnist", data_dir=tmp_path / "mine")
    assert len(names(tmp_path / "mine" / "MNIST" / "raw")) == 4
    assert capfd.readouterr() == ("", "")


def test_download_goes_to_the_cache_if_the_data_dir_cannot_be_written(mirror, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    real, refused = os.mkdir, str(tmp_path / "mine")

    def mkdir(path, *args, **kwargs):
        if str(path).startswith(refused):
            raise PermissionError(13, "Permission denied", str(path))
        real(path, *args, **kwargs)

    monkeypatch.setattr(os, "mkdir", mkdir)
    said = []
    prepared = prepare("mnist", data_dir=tmp_path / "mine", progress=said.append)
    assert str(tmp_path / "cache" / "data") in prepared.source
    assert said[0] == f"{refused} cannot be written: Permission denied"
    assert f"mnist is not in --data-dir {refused}: using" in said[2]


def test_no_place_to_write_is_an_error(mirror, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("RELUBENCH_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"there is no place to download it to: .*file/data cannot be written"):
        prepare("mnist")


@pytest.mark.parametrize("how", ["truncated", "altered", "empty"])
def test_a_bad_download_is_refused_then_repeated(mirror, how, tmp_path):
    _, raw, _ = mirror
    path = raw / "t10k-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    path.write_bytes({"truncated": whole[:-30], "altered": whole[:-1] + b"x", "empty": b""}[how])
    with pytest.raises(DataError, match=r"downloading it failed: Error downloading t10k-images.*corrupted"):
        prepare("mnist")
    assert status("mnist") == "absent"
    assert names(tmp_path / "cache" / "data") == []
    path.write_bytes(whole)
    assert prepare("mnist").n_test == 6


def test_an_interrupted_unpacking_does_not_pass_for_a_download(mirror, tmp_path):
    staging = tmp_path / "cache" / "data" / ".relubench-mnist" / "MNIST" / "raw"
    staging.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (staging / f"{name}-ubyte").write_bytes(b"cut")
    assert prepare("mnist").n_train == 12


def test_missing_files_are_added_and_those_there_are_kept(mirror, tmp_path):
    _, raw, _ = mirror
    mine = tmp_path / "mine" / "MNIST" / "raw"
    shutil.copytree(raw, mine)
    (mine / "t10k-labels-idx1-ubyte.gz").unlink()
    (mine / "t10k-images-idx3-ubyte.gz").write_bytes(b"")
    assert status("mnist", tmp_path / "mine").startswith("incomplete: ")
    with pytest.raises(DataError, match=r"mine/MNIST/raw/t10k-images-idx3-ubyte\.gz is empty"):
        prepare("mnist", data_dir=tmp_path / "mine")


def test_absent_and_offline_tells_where_it_looked_and_how_to_place_it(tiny_mnist, tmp_path, monkeypatch):
    monkeypatch.setenv("RELUBENCH_DATA_DIR", str(tmp_path / "env"))
    (tmp_path / "flag").mkdir()
    shutil.copy(tiny_mnist[1] / "train-images-idx3-ubyte.gz", tmp_path / "flag")
    with pytest.raises(DataError, match="RELUBENCH_OFFLINE forbids downloading it") as caught:
        prepare("mnist", data_dir=tmp_path / "flag")
    for place in ("flag", "env", "cache/data"):
        assert str(tmp_path / place / "MNIST" / "raw") in caught.value.message
    assert "flag lacks train-labels-idx1-ubyte.gz, t10k-images" in caught.value.message
    assert "put train-images-idx3-ubyte.gz, " in caught.value.hint and "https://" in caught.value.hint
    assert caught.value.exit_code == 3 and "\n" not in caught.value.message


def test_unreachable_is_a_data_error(tiny_mnist, online):
    with pytest.raises(DataError, match=r"downloading it failed: .*Connection refused"):
        prepare("mnist")


def test_a_silent_server_does_not_hang(tiny_mnist, online, monkeypatch):
    from torchvision.datasets import MNIST

    monkeypatch.setattr(fetch, "TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{silent.getsockname()[1]}/"])
        start = time.monotonic()
        with pytest.raises(DataError, match=r"downloading it failed: .*timed out"):
            prepare("mnist")
    assert time.monotonic() - start < 100 and socket.getdefaulttimeout() is None


def test_a_full_disk_during_the_download(mirror, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("torchvision.datasets.utils._urlretrieve", full)
    with pytest.raises(ComputeError, match="the disk is full: no room for the download of mnist in"):
        prepare("mnist")


def test_digits_missing_from_their_package(monkeypatch, tmp_path):
    monkeypatch.setattr("relubench.data.preparation.roots_of", lambda *_: (tmp_path,))
    with pytest.raises(DataError, match=r"digits is not in .*, and it cannot be downloaded") as caught:
        prepare("digits")
    assert "pip install --force-reinstall" in caught.value.hint


def test_a_second_process_waits_and_finds_the_files(mirror, tmp_path):
    root = tmp_path / "cache" / "data"
    root.mkdir(parents=True)
    said, results = [], []
    with locked(root / ".relubench-mnist.lock", "", said.append):
        other = threading.Thread(target=lambda: results.append(prepare("mnist", progress=said.append)))
        other.start()
        while not said:
            time.sleep(0.02)
        shutil.copytree(mirror[1], root / "MNIST" / "raw")
    other.join(300)
    assert said[0] == "another process is downloading mnist: waiting" and results[0].n_train == 12
    assert not mirror[2]


@pytest.mark.parametrize(("name", "cls"), [("svhn", "SVHN"), ("usps", "USPS")])
def test_two_file_sets_replace_what_an_interruption_left(name, cls, serve, tmp_path, monkeypatch, shrink):
    import hashlib

    from torchvision import datasets

    from relubench.data.sources.torchvision_sets import download_files

    served = tmp_path / "served"
    served.mkdir()
    url, _ = serve(served)
    lists = {}
    for split, (_, file, _) in getattr(datasets, cls).split_list.items():
        data = f"{split} of {name}".encode()
        (served / file).write_bytes(data)
        lists[split] = [f"{url}{file}", file, hashlib.md5(data).hexdigest()]
    monkeypatch.setattr(getattr(datasets, cls), "split_list", lists)
    (tmp_path / "to" / name).mkdir(parents=True)
    (tmp_path / "to" / name / lists["train"][1]).write_bytes(b"trai")
    download_files(shrink(name), tmp_path / "to")
    for split in ("train", "test"):
        assert (tmp_path / "to" / name / lists[split][1]).read_text() == f"{split} of {name}"
