from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

from relubench.data import DataOptions, arrays, prepare, status
from relubench.data.files import cache
from relubench.data.split_arrays import SplitArrays
from relubench.errors import ComputeError, DataError, UsageError

HEAVY = "torch, torchvision, sklearn, scipy, PIL"


def names(folder):
    return sorted(one.name for one in folder.iterdir())


def in_new_process(code, **environment):
    """The stdout of `code` run by a fresh interpreter."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_prepared_copy_is_found_without_importing_anything_heavy(tmp_path):
    code = f"""
import sys
from relubench.data import TABLE, arrays, prepare, status
p = prepare("digits")
arrays(p, "train"), status("mnist")
print(p.digest, *sorted(set("{HEAVY}".split(", ")) & set(sys.modules)))
"""
    first, second = (in_new_process(code, RELUBENCH_CACHE_DIR=str(tmp_path)) for _ in range(2))
    assert "sklearn" in first and second == first[:1]


def test_importing_the_package_is_light():
    code = f"import sys, relubench.data\nprint(*(set('numpy, {HEAVY}'.split(', ')) & set(sys.modules)))"
    assert in_new_process(code) == []


def test_an_unfitting_torchvision_is_an_error_with_the_repair(tiny_mnist, tmp_path):
    broken = tmp_path / "broken" / "torchvision"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    code = f"""
import sys
sys.path.insert(0, {str(broken.parent)!r})
from relubench.data import prepare
from relubench.errors import ComputeError
try:
    prepare("mnist", data_dir=__import__("pathlib").Path({str(tmp_path / "data")!r}))
except ComputeError as error:
    print(error.exit_code, error.message, "|", error.hint)
"""
    said = " ".join(in_new_process(code))
    assert said.startswith("1 torchvision cannot be imported: operator torchvision::nms does not exist |")
    assert said.endswith("pip install --force-reinstall torch torchvision")


def test_data_that_nobody_can_get_are_never_run():
    with pytest.raises(UsageError, match="opentable is not public: it cannot be run") as refused:
        prepare("opentable")
    assert "list references" in refused.value.hint


def test_an_unknown_name_is_refused_with_near_names():
    with pytest.raises(UsageError, match="there is no data set called 'mnsit'") as caught:
        prepare("mnsit")
    assert "did you mean mnist" in caught.value.hint


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 32}, "image_size is for folders of images"),
        ({"train_size": 1078}, "train_size 1078 is more than the 1077 training images of digits"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        prepare("digits", options=DataOptions(**options))


@pytest.mark.parametrize("field", ["image_size", "train_size"])
def test_options_below_one_are_refused(field):
    with pytest.raises(UsageError, match=f"{field} must be at least 1, not 0"):
        DataOptions(**{field: 0})


def test_fewer_training_images_are_another_data_set():
    whole, few = prepare("digits"), prepare("digits", options=DataOptions(train_size=100))
    assert few.digest != whole.digest and few.n_train == 100 and few.n_test == whole.n_test
    assert np.bincount(arrays(few, "train")[1]).tolist() == pytest.approx([10] * 10, abs=1)
    assert "only 100 of 1077 training images" in few.source


def test_status_of_everything(small_npz, tmp_path):
    assert status("digits").startswith("present at ") and status("svhn") == "absent"
    assert status(str(small_npz())) == f"present at {tmp_path / 'own.npz'}"
    assert status("./nothing.npz") == "absent"
    with pytest.raises(UsageError, match="no data set called 'nothing'"):
        status("nothing")


def test_a_name_of_the_table_is_not_a_folder_called_alike(tmp_path, monkeypatch):
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert prepare("digits").n_train == 1077
    with pytest.raises(DataError, match="digits holds no folder where a folder for each"):
        prepare("./digits")


def test_a_truncated_prepared_copy_is_made_again():
    first = prepare("digits")
    x = first.folder / "x_train.npy"
    x.write_bytes(x.read_bytes()[:-8])
    said = []
    assert prepare("digits", progress=said.append) == first
    assert said == [f"warning: the prepared copy {first.folder} is damaged: making it again"]
    assert len(arrays(first, "train")[0]) == 1077
    (first.folder / "meta.json").write_text("{")
    assert prepare("digits") == first


def test_arrays_are_copy_on_write_and_a_lost_copy_is_an_error():
    prepared = prepare("digits")
    x, _ = arrays(prepared, "valid")
    x[0] = 99
    assert arrays(prepared, "valid")[0].max() == 16
    with pytest.raises(ValueError, match="split is one of train, valid, test, not 'tset'"):
        arrays(prepared, "tset")  # type: ignore[arg-type]
    (prepared.folder / "y_valid.npy").unlink()
    with pytest.raises(DataError, match=r"the prepared copy of digits in .* is damaged"):
        arrays(prepared, "valid")


def test_processes_that_race_leave_one_whole_copy(small_npz, tmp_path):
    path = small_npz()
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        # The package's own function: a spawned process cannot import this file, which lies outside of every path.
        results = list(pool.map(prepare, [str(path)] * 3))
    assert results[0] == results[1] == results[2] and results[0].n_train == 20
    assert [one for one in names(tmp_path / "cache" / "prepared") if not one.endswith(".lock")] == [
        results[0].folder.name
    ]


def test_a_copy_that_appears_meanwhile_is_accepted(tmp_path, monkeypatch):
    """Without working locks (some network disks) two may write: the second finds its target there."""
    first = prepare("digits")
    monkeypatch.setattr(cache.Path, "exists", lambda self: False)
    with cache.scratch(first.folder.parent, "other") as work:
        x, y = np.zeros((2, 1, 8, 8), np.uint8), np.arange(2)
        late = SplitArrays(
            x_train=x, y_train=y, x_valid=x, y_valid=y, x_test=x, y_test=y, classes=2, scale=1.0, note="too late"
        )
        cache.write_copy(work, first.folder, late, first.digest)
    assert prepare("digits") == first


def test_what_an_interrupted_process_left_is_swept(tmp_path):
    first = prepare("digits")
    stale = first.folder.parent / f".making-{first.folder.name}-dead"
    stale.mkdir()
    (stale / "x_train.npy").touch()
    (first.folder / "meta.json").unlink()
    prepare("digits")
    assert not stale.exists()


def test_a_full_disk_is_an_error_and_leaves_nothing(monkeypatch, tmp_path):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(ComputeError, match="the disk is full: no room for the prepared copy of digits") as caught:
        prepare("digits")
    assert "RELUBENCH_CACHE_DIR" in caught.value.hint
    assert all(one.endswith(".lock") for one in names(tmp_path / "cache" / "prepared"))


def test_an_unwritable_cache_is_replaced_by_a_temporary_folder_and_said(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("RELUBENCH_CACHE_DIR", str(tmp_path / "file"))
    said = []
    prepared = prepare("digits", progress=said.append)
    assert prepared.folder.is_relative_to(tmp_path / "tmp")
    assert "cannot be written" in said[0] and "keeping prepared data in" in said[0]
    assert prepare("digits", progress=said.append) == prepared and len(said) == 2


def test_nowhere_to_write_is_an_error(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("RELUBENCH_CACHE_DIR", str(tmp_path / "file"))
    monkeypatch.setattr(cache, "_is_ours", lambda folder: False)
    with pytest.raises(ComputeError, match=r"neither .* nor .* can be written: it belongs to another user"):
        prepare("digits")


def test_a_folder_that_may_not_be_read_is_an_error(monkeypatch, tmp_path):
    def forbidden(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(cache.Path, "is_file", forbidden)
    with pytest.raises(DataError, match=r"MNIST/raw/train-images.* may not be read: Permission denied"):
        prepare("mnist", data_dir=tmp_path)
