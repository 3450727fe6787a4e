"""Users' files are apart from each other and from Python's search path, and what they bring in is noted."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from relubench.activations import build, select
from relubench.activations.checks.activation_check import check_activation
from relubench.activations.user import changed, checked, is_checked, renewed, resolve_user_object, say_unseen
from relubench.errors import UsageError
from relubench.system.user_code.loading import load, module_name
from relubench.system.user_code.manifest import manifest_of
from relubench.system.user_code.records import Record, recording

X = torch.tensor([-1.0, 2.0])


def write(root: Path, **files: str) -> Path:
    """Files by name, with `__` for a folder's slash and INIT for __init__; returns the folder."""
    for name, text in files.items():
        path = root / f"{name.replace('__', '/').replace('INIT', '__init__')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def value(text: str) -> list[float]:
    one = build(select([text])[0])
    function: Callable[[torch.Tensor], torch.Tensor] = one.module() if one.module is not None else one.function
    return function(X).tolist()


@pytest.fixture
def two(tmp_path: Path) -> Path:
    for name, scale in (("a", 2), ("b", 3)):
        write(
            tmp_path / name,
            act="from helpers import f\nimport lib.deep\nimport lib.deep as deep\n"
            "def act(x): return f(x)\n"
            "def late(x):\n    from later import g\n    return g(x)\n"
            "def inner(x): return lib.deep.h(x) + deep.h(x)\n"
            "def named(x):\n    import importlib\n    return importlib.import_module('later').g(x)\n",
            helpers=f"import numbers_\ndef f(x): return {scale} * x + numbers_.ZERO\n",
            numbers_="ZERO = 0\n",
            later=f"def g(x): return {scale} * x + 1\n",
            lib__deep=f"from . import deeper\ndef h(x): return {scale} * x + deeper.TWO\n",
            lib__deeper="TWO = 2\n",
        )
    return tmp_path


EXPECTED = {
    "act": ([-2, 4], [-3, 6]),
    "late": ([-1, 5], [-2, 7]),
    "inner": ([0, 12], [-2, 16]),
    "named": ([-1, 5], [-2, 7]),
}


@pytest.mark.parametrize("order", ["ab", "ba"])
@pytest.mark.parametrize("name", EXPECTED)
def test_each_file_gets_its_own_helpers(name: str, order: str, two: Path):
    before, path = set(sys.modules), list(sys.path)
    found = {one: value(f"{two}/{one}/act.py:{name}") for one in order}
    assert (found["a"], found["b"]) == EXPECTED[name]
    new = {one for one in set(sys.modules) - before if not one.startswith(("relubench", "torch"))}
    assert not new & {"helpers", "later", "lib", "numbers_", "act"} and sys.path == path


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_functions_that_import_late_are_not_mixed_up(order: str, two: Path):
    """Both are built before either is called, as in a network's forward."""
    built = {one: build(select([f"{two}/{one}/act.py:late"])[0]).function for one in order}
    assert [built[one](X).tolist() for one in "ab"] == list(EXPECTED["late"])


def test_a_file_in_a_package_has_its_relative_imports(tmp_path: Path):
    write(
        tmp_path / "repo",
        pkg__INIT="SCALE = 5\n",
        pkg__acts__mine="from .. import SCALE\nfrom ..common.f import f\nfrom . import near\nimport near as same\n"
        "def act(x): return SCALE * f(x) + near.ONE + same.ONE\n",
        pkg__acts__INIT="",
        pkg__acts__near="ONE = 1\n",
        pkg__common__f="from ..acts.near import ONE\ndef f(x): return x * ONE\n",
    )
    assert value(f"{tmp_path}/repo/pkg/acts/mine.py:act") == [-3, 12]


def test_relative_imports_without_a_package(tmp_path: Path):
    write(tmp_path, mine="from .near import f\ndef act(x): return f(x)\n", near="def f(x): return 4 * x\n")
    assert value(f"{tmp_path}/mine.py:act") == [-4, 8]


def test_a_folder_that_the_file_puts_on_the_path_is_its_own(tmp_path: Path):
    for name, scale in (("a", 2), ("b", 3)):
        write(
            tmp_path / name,
            act="import os, sys\nsys.path.insert(0, os.path.join(os.path.dirname(__file__), 'src'))\n"
            "from inside import f\ndef act(x): return f(x)\n",
            src__inside=f"def f(x): return {scale} * x\n",
            src__json="raise RuntimeError\n",
        )
    path = list(sys.path)
    assert [value(f"{tmp_path}/{one}/act.py:act") for one in "ab"] == [[-2, 4], [-3, 6]]
    assert sys.path == path and "inside" not in sys.modules


@pytest.mark.parametrize("how", ["sys.path.insert(0, here)", "sys.path.append(here)"])
def test_a_folder_that_a_function_puts_on_the_path_later_is_its_own(how: str, tmp_path: Path):
    code = (
        "import os, sys\n"
        "def act(x):\n"
        "    here = os.path.join(os.path.dirname(__file__), 'late')\n"
        f"    if here not in sys.path: {how}\n"
        "    import late_tools\n"
        "    return x * late_tools.S\n"
    )
    for name, number in (("one", 2), ("two", 3)):
        (tmp_path / name / "late").mkdir(parents=True)
        (tmp_path / name / "late" / "late_tools.py").write_text(f"S = {number}\n")
        (tmp_path / name / "act.py").write_text(code)
    found = [load(tmp_path / name / "act.py").act(1) for name in ("one", "two", "one", "two")]
    assert found == [2, 3, 2, 3]
    assert not [entry for entry in sys.path if entry.startswith(str(tmp_path))]


def test_a_file_in_a_package_imports_it_by_its_name(tmp_path: Path):
    for name, number in (("one", 2), ("two", 3)):
        inner = tmp_path / name / "kit" / "inner"
        inner.mkdir(parents=True)
        (inner.parent / "__init__.py").touch()
        (inner / "__init__.py").touch()
        (inner.parent / "base.py").write_text(f"S = {number}\n")
        (inner / "mid.py").write_text("from kit.base import S\n")
        (inner / "act.py").write_text("from kit.inner import mid\ndef act(x): return x * mid.S\n")
    assert [load(tmp_path / name / "kit" / "inner" / "act.py").act(1) for name in ("one", "two", "one")] == [2, 3, 2]


def test_what_lies_beside_is_not_taken_for_the_standard_library(tmp_path: Path):
    bad = "raise RuntimeError('executed')\n"
    write(tmp_path, json=bad, random=bad, types=bad, numpy=bad, torch=bad)
    write(tmp_path, mine="import json, random, types, numpy, torch\ndef act(x): return 2 * x\n")
    assert value(f"{tmp_path}/mine.py:act") == [-2, 4]


def test_a_helper_named_like_the_standard_library_is_pointed_at(tmp_path: Path):
    write(tmp_path, statistics="def f(x): return x\n", mine="from statistics import f\n")
    with pytest.raises(UsageError, match="cannot import name 'f' from 'statistics'") as refusal:
        value(f"{tmp_path}/mine.py:f")
    assert "write `from .statistics import`" in refusal.value.hint
    write(tmp_path, mine="from .statistics import f\n")
    assert value(f"{tmp_path}/mine.py:f") == [-1, 2]


def test_an_edited_helper_is_imported_again(tmp_path: Path):
    write(tmp_path, mine="from near import f\n", near="def f(x): return 2 * x\n")
    assert value(f"{tmp_path}/mine.py:f") == [-2, 4]
    # As long as before and in the same second: what Python's own cache would not see.
    write(tmp_path, near="def f(x): return 3 * x\n")
    assert value(f"{tmp_path}/mine.py:f") == [-3, 6]
    assert not list(tmp_path.rglob("__pycache__"))


# -- what is noted ----------------------------------------------------------------------------------------------------


def digest(text: str) -> str:
    """What a run's key gets, after a check that calls the function."""
    choice = resolve_user_object(text)
    checked(choice, "activation", lambda: value(text))
    assert is_checked(choice)
    return renewed(choice).source_digest or ""


READS = {
    "when imported": "from pathlib import Path\nS = float((Path(__file__).parent / 'scale.txt').read_text())\n"
    "def act(x): return S * x\n",
    "when called": "import os\ndef act(x):\n    with open(os.path.dirname(__file__) + '/scale.txt') as file:\n"
    "        return float(file.read()) * x\n",
    "through numpy": "import os\nimport numpy as np\n"
    "def act(x): return float(np.loadtxt(os.path.dirname(__file__) + '/scale.txt')) * x\n",
    "by a helper": "from near import S\ndef act(x): return S * x\n",
    "by its path": "import importlib.util as u, os\n"
    "spec = u.spec_from_file_location('any', os.path.dirname(__file__) + '/near.py')\n"
    "m = u.module_from_spec(spec)\nspec.loader.exec_module(m)\ndef act(x): return m.S * x\n",
    "as a program": "import runpy, os\nS = runpy.run_path(os.path.dirname(__file__) + '/near.py')['S']\n"
    "def act(x): return S * x\n",
    "by a hidden one": "import importlib\ndef act(x): return importlib.import_module('ne' + 'ar').S * x\n",
}


@pytest.mark.parametrize("how", ["by its path", "as a program"])
def test_a_module_that_is_loaded_by_its_path_is_part_of_the_digest(how: str, tmp_path: Path):
    write(tmp_path, near="S = 2\n", mine=READS[how])
    before = digest(f"{tmp_path}/mine.py:act")
    write(tmp_path, near="S = 3\n")
    assert not is_checked(resolve_user_object(f"{tmp_path}/mine.py:act"))
    assert digest(f"{tmp_path}/mine.py:act") != before


def test_a_module_of_the_working_folder_is_named_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path, dotted__acts="def f(x): return x\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="there is no module 'dotted") as refusal:
        resolve_user_object("dotted.acts:f")
    assert "PYTHONPATH=." in refusal.value.hint


@pytest.mark.parametrize("how", READS)
def test_a_file_that_the_code_reads_is_part_of_the_digest(how: str, tmp_path: Path):
    write(tmp_path, near="import os\nS = float(open(os.path.dirname(__file__) + '/scale.txt').read())\n")
    write(tmp_path, mine=READS[how])
    seen = []
    for text in ("2", "3", "2"):
        (tmp_path / "scale.txt").write_text(text)
        assert not (seen and is_checked(resolve_user_object(f"{tmp_path}/mine.py:act")))
        seen.append(digest(f"{tmp_path}/mine.py:act"))
    assert seen[0] == seen[2] != seen[1]


def test_a_file_that_appears_later_changes_the_digest(tmp_path: Path):
    write(tmp_path, mine="import os\ndef act(x): return 2 * x\ntry: open(os.path.dirname(__file__) + '/x.txt')\n"
          "except OSError: pass\n")  # fmt: skip
    digest(f"{tmp_path}/mine.py:act")
    (tmp_path / "x.txt").write_text("")
    assert not is_checked(resolve_user_object(f"{tmp_path}/mine.py:act"))


@pytest.mark.parametrize(
    "code",
    ["os.environ['SCALE_OF_MINE']", "os.environ.get('SCALE_OF_MINE', '2')", "os.getenv('SCALE_OF_MINE')"],
)
@pytest.mark.parametrize("late", [False, True])
def test_a_variable_that_the_code_asks_for_is_part_of_the_digest(
    code: str, late: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    body = f"def act(x): return float({code}) * x\n" if late else f"S = float({code})\ndef act(x): return S * x\n"
    write(tmp_path, mine=f"import os\n{body}")
    seen = []
    for text in ("2", "3", "2"):
        monkeypatch.setenv("SCALE_OF_MINE", text)
        monkeypatch.setenv("ANOTHER_OF_MINE", f"{len(seen)}")
        seen.append(digest(f"{tmp_path}/mine.py:act"))
    assert seen[0] == seen[2] != seen[1]


def test_two_functions_of_one_file_have_their_own_digests_in_any_order(tmp_path: Path):
    """What the one reads when called is not the other's, though the file is imported once."""
    write(tmp_path, mine="import os\nHERE = os.path.dirname(__file__)\nopen(HERE + '/both.txt')\n"
          "def f(x): return x + len(open(HERE + '/f.txt').read())\ndef g(x): return 2 * x\n")  # fmt: skip
    for name in ("both", "f"):
        (tmp_path / f"{name}.txt").write_text(name)
    first = {name: digest(f"{tmp_path}/mine.py:{name}") for name in "fg"}
    second = {name: digest(f"{tmp_path}/mine.py:{name}") for name in "gf"}
    assert first == second
    (tmp_path / "f.txt").write_text("changed")
    assert [is_checked(resolve_user_object(f"{tmp_path}/mine.py:{name}")) for name in "fg"] == [False, True]
    (tmp_path / "both.txt").write_text("changed")
    assert not is_checked(resolve_user_object(f"{tmp_path}/mine.py:g"))


@pytest.mark.parametrize(
    "code",
    [
        "import glob\nN = len(glob.glob(HERE + '/tables/*.txt'))\ndef act(x): return x * (1 + N)\n",
        "def act(x): return x * (1 + len(os.listdir(HERE + '/tables')))\n",
        "import pathlib\ndef act(x): return x * (1 + len(list(pathlib.Path(HERE, 'tables').iterdir())))\n",
        "def act(x):\n    return x * (1 + sum(len(files) for _, _, files in os.walk(HERE)))\n",
        "from near import count\ndef act(x): return x * (1 + count(HERE + '/tables'))\n",
    ],
)
def test_the_names_in_a_folder_that_it_lists_are_part_of_the_digest(code: str, tmp_path: Path):
    (tmp_path / "tables").mkdir()
    write(tmp_path, near="import os\ndef count(path): return sum(1 for one in os.scandir(path))\n")
    write(tmp_path, mine=f"import os\nHERE = os.path.dirname(__file__)\n{code}")
    text = f"{tmp_path}/mine.py:act"
    before = digest(text)
    assert is_checked(resolve_user_object(text)) and digest(text) == before
    (tmp_path / "tables" / "one.txt").write_text("")
    assert not is_checked(resolve_user_object(text))
    assert digest(text) != before
    (tmp_path / "tables" / "one.txt").unlink()
    assert digest(text) == before


def test_a_list_of_where_it_writes_is_said_to_be_out_of_sight(tmp_path: Path):
    (tmp_path / "logs").mkdir()
    source = (
        "import os, time\nLOGS = os.path.join(os.path.dirname(__file__), 'logs')\ndef act(x):\n"
        "    open(os.path.join(LOGS, str(len(os.listdir(LOGS)))), 'w').close()\n    return x\n"
    )
    write(tmp_path, mine=source)
    text = f"{tmp_path}/mine.py:act"
    before = digest(text)
    lines: list[str] = []
    say_unseen(resolve_user_object(text), "activation", lines.append)
    assert "a list of logs, where it writes" in lines[0] and "--no-cache" in lines[0]
    assert is_checked(resolve_user_object(text)) and digest(text) == before


def test_a_single_file_keeps_its_own_digest(tmp_path: Path):
    """So that runs of before are still found; what torch, the standard library and the code's own log say is not in."""
    source = (
        "import json, torch\nimport tempfile, os\ndef act(x):\n"
        "    with open(os.path.join(tempfile.gettempdir(), 'log.txt'), 'a') as file:\n        file.write('called')\n"
        "    return torch.relu(x)\n"
    )
    write(tmp_path, mine=source)
    before = resolve_user_object(f"{tmp_path}/mine.py:act").source_digest
    assert digest(f"{tmp_path}/mine.py:act") == before


def test_the_versions_of_what_it_imports_are_part_of_the_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path, mine="import numpy\ndef act(x): return x\n")
    text = f"{tmp_path}/mine.py:act"
    before = digest(text)
    monkeypatch.setattr("relubench.system.user_code.manifest._version", lambda name: "another")
    assert not is_checked(resolve_user_object(text))
    assert digest(text) != before


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import subprocess, sys\nsubprocess.run([sys.executable, '-c', ''])", "another process"),
        ("import safetensors", "safetensors"),
        ("import os\nd = dict(os.environ)", "all of the environment at once"),
        ("import torch\nload = lambda: torch.jit.load('x')", "torch.jit.load"),
    ],
)
def test_what_is_out_of_sight_is_said(code: str, told: str, tmp_path: Path):
    write(tmp_path, mine=f"{code}\ndef act(x): return x\n")
    lines: list[str] = []
    text = f"{tmp_path}/mine.py:act"
    checked(resolve_user_object(text), "activation", lambda: value(text))
    say_unseen(resolve_user_object(text), "activation", lines.append)
    assert len(lines) == 1 and told in lines[0] and "--no-cache" in lines[0]


@pytest.mark.parametrize(
    "code",
    [
        "n = 0\ndef act(x):\n    global n\n    n += 1\n    return x * n\n",
        "state = {'n': 0}\ndef act(x):\n    state['n'] += 1\n    return x\n",
        "def act(x):\n    act.n += 1\n    return x\nact.n = 0\n",
        "import torch\nn = torch.zeros(())\ndef act(x):\n    n.add_(1)\n    return x\n",
    ],
)
def test_a_function_that_counts_in_a_global_is_refused(code: str, tmp_path: Path):
    write(tmp_path, mine=code)
    with pytest.raises(UsageError, match=r"changes the global (act\.)?(n|state) of its module"):
        digest(f"{tmp_path}/mine.py:act")


@pytest.mark.parametrize(
    "code",
    [
        "odd = False\ndef act(x):\n    global odd\n    odd = not odd\n    return x\n",
        "ages = {}\ndef act(x):\n    ages['n'] = ages.get('n', 0) + 1\n    return x\n",
        "def act(x, kept={}):\n    kept[0] = not kept.get(0, False)\n    return x\n",
        "class Act:\n    bits = [False, False, False]\n    def __call__(self, x):\n"
        "        place = next((n for n, bit in enumerate(self.bits) if not bit), 2)\n"
        "        self.bits[:place] = [False] * place\n        self.bits[place] = True\n        return x\nact = Act()\n",
    ],
)
def test_a_function_that_counts_in_flags_or_a_dictionary_is_refused(code: str, tmp_path: Path):
    """A flag that changes again and again, and a number that takes another's place, are told from what follows."""
    write(tmp_path, mine=code)
    choice = resolve_user_object(f"{tmp_path}/mine.py:act")
    with pytest.raises(UsageError, match=r"changes the global .*(odd|ages|default 0|bits)"):
        checked(choice, "activation", lambda: check_activation(choice))


CACHE = "_seen = {}\ndef act(x):\n    _seen[x.shape] = x\n    return x\n"
FLAG = "said = False\ndef act(x):\n    global said\n    said = True\n    return x\n"


SIZES = "_sizes = {}\ndef act(x):\n    return x * _sizes.setdefault(x.numel(), 1.0)\n"


@pytest.mark.parametrize("code", [CACHE, FLAG, SIZES])
def test_a_cache_and_a_flag_are_not_counters(code: str, tmp_path: Path):
    """Refusing them would refuse sound code: a cache only grows, a flag that is set once says what was warned of."""
    write(tmp_path, mine=code)
    choice = resolve_user_object(f"{tmp_path}/mine.py:act")
    assert checked(choice, "activation", lambda: check_activation(choice)).equals == "identity"


def test_an_iterator_is_refused(tmp_path: Path):
    source = (
        "import itertools, torch\nclass Act(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    )
    write(tmp_path, mine=source + "        self.steps = itertools.count()\n    def forward(self, x): return x\n")
    with pytest.raises(UsageError, match="keeps count in steps: what it gives next cannot be stored"):
        value(f"{tmp_path}/mine.py:Act")


def test_changes_are_named(tmp_path: Path):
    write(tmp_path, mine="from near import f\n", near="def f(x): return 2 * x\n")
    choice = resolve_user_object(f"{tmp_path}/mine.py:f")
    assert changed(choice, "any") == []
    before = digest(choice.label)
    assert changed(choice, before) == []
    write(tmp_path, near="def f(x): return 3 * x\n")
    assert changed(choice, before) == [f"{tmp_path}/near.py"]
    digest(choice.label)
    assert changed(choice, before) == [f"{tmp_path}/mine.py"], "checked again since, by whoever"


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("dotted"):
            del sys.modules[name]


def test_a_dotted_module_is_followed_through_its_package(on_path: Path):
    write(
        on_path,
        dotted__INIT="",
        dotted__acts="from dotted.funcs import f\nimport dotted_beside\ndef act(x): return f(x) * dotted_beside.S\n",
        dotted__funcs="from .more import S\ndef f(x): return S * x\n",
        dotted__more="S = 2\n",
        dotted_beside="import os\nS = float(open(os.path.dirname(__file__) + '/s.txt').read())\n",
    )
    (on_path / "s.txt").write_text("1")
    choice = resolve_user_object("dotted.acts:act")
    digest("dotted.acts:act")
    for name in ("dotted/funcs.py", "dotted/more.py", "dotted_beside.py", "s.txt"):
        path = on_path / name
        text = path.read_text()
        path.write_text(f"{text}\n")
        assert not is_checked(choice), name
        path.write_text(text)
    assert is_checked(choice)


def test_a_dotted_module_that_was_imported_before_is_read_off(on_path: Path):
    write(on_path, dotted__acts="from dotted.funcs import f\n", dotted__funcs="def f(x): return 2 * x\n")
    exec("import dotted.acts", {})
    assert digest("dotted.acts:f") == resolve_user_object("dotted.acts:f").source_digest
    write(on_path, dotted__funcs="def f(x): return 3 * x\n")
    assert not is_checked(resolve_user_object("dotted.acts:f"))


def test_an_installed_module_is_known_by_its_version():
    record = Record()
    with recording(record):
        load("rich.text")
    found = manifest_of(module_name("rich.text"), [], record)
    assert list(found.distributions) == ["rich"]


def test_a_process_of_its_own_finds_the_same_digest(tmp_path: Path):
    """The digest depends on what is there, not on what the process did before."""
    write(tmp_path, near="S = 2\n", mine="from near import S\nimport numpy\ndef act(x): return S * x\n")
    text = f"{tmp_path}/mine.py:act"
    here = digest(text)
    script = (
        "import sys; from relubench.activations.user import resolve_user_object as resolve; "
        "print(resolve(sys.argv[1]).source_digest);"
        "print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", script, text], capture_output=True, text=True, env={**os.environ})
    assert told.stdout.split() == [here, "False", "False"], told.stderr


def test_a_compiled_module_beside_the_file_is_part_of_the_digest(tmp_path: Path):
    """Known by its file: here Python's own byte code, without its source."""
    import py_compile

    seen = []
    for scale in (2, 3):
        write(tmp_path, near=f"S = {scale}\n", mine="import near\ndef act(x): return near.S * x\n")
        py_compile.compile(str(tmp_path / "near.py"), str(tmp_path / "near.pyc"), doraise=True)
        (tmp_path / "near.py").unlink()
        seen.append(digest(f"{tmp_path}/mine.py:act"))
        assert value(f"{tmp_path}/mine.py:act") == [-scale, 2 * scale]
    assert seen[0] != seen[1]


# -- what is asked of paths -------------------------------------------------------------------------------------------

QUESTIONS = {
    "exists": "os.path.exists(HERE + '/tuned.txt')",
    "isfile": "os.path.isfile(HERE + '/tuned.txt')",
    "Path.exists": "pathlib.Path(HERE, 'tuned.txt').exists()",
    "Path.is_file": "pathlib.Path(HERE, 'tuned.txt').is_file()",
    "access": "os.access(HERE + '/tuned.txt', os.R_OK)",
    "lexists": "os.path.lexists(HERE + '/tuned.txt')",
    "glob without a pattern": "bool(glob.glob(HERE + '/tuned.txt'))",
    "which": "shutil.which('tuned.txt', mode=os.F_OK, path=HERE) is not None",
    "by a helper": "near.is_there(HERE + '/tuned.txt')",
}


@pytest.mark.parametrize("how", QUESTIONS)
@pytest.mark.parametrize("late", [False, True])
def test_whether_a_file_is_there_is_part_of_the_digest(how: str, late: bool, tmp_path: Path):
    body = (
        f"def act(x): return 3 * x if {QUESTIONS[how]} else 2 * x\n"
        if late
        else f"S = 3 if {QUESTIONS[how]} else 2\ndef act(x): return S * x\n"
    )
    write(tmp_path, near="import os\ndef is_there(path):\n    try: os.stat(path)\n    except OSError: return False\n"
          "    return True\n")  # fmt: skip
    write(tmp_path, mine=f"import glob, os, pathlib, shutil\nimport near\nHERE = os.path.dirname(__file__)\n{body}")
    text, tuned = f"{tmp_path}/mine.py:act", tmp_path / "tuned.txt"
    absent = digest(text)
    tuned.write_text("")
    assert not is_checked(resolve_user_object(text))
    assert digest(text) != absent and is_checked(resolve_user_object(text))
    tuned.unlink()
    assert not is_checked(resolve_user_object(text)) and digest(text) == absent


@pytest.mark.parametrize(
    ("code", "change", "counts"),
    [
        ("os.path.getsize(HERE + '/log.txt')", "longer", True),
        ("os.path.getmtime(HERE + '/log.txt')", "touched", True),
        ("pathlib.Path(HERE, 'log.txt').stat().st_mtime", "touched", True),
        ("os.stat(HERE + '/log.txt').st_size", "longer", True),
        ("os.path.exists(HERE + '/log.txt')", "touched", False),
        ("os.path.exists(HERE + '/log.txt')", "longer", False),
        ("os.path.isdir(HERE + '/log.txt')", "folder", True),
        ("os.path.islink(HERE + '/log.txt')", "link", True),
        ("os.path.exists(HERE + '/log.txt')", "link", False),
    ],
)
def test_what_is_asked_of_a_file_counts_and_no_more(code: str, change: str, counts: bool, tmp_path: Path):
    write(tmp_path, mine=f"import os, pathlib\nHERE = os.path.dirname(__file__)\nN = {code}\ndef act(x): return x\n")
    path, text = tmp_path / "log.txt", f"{tmp_path}/mine.py:act"
    path.write_text("a")
    before = digest(text)
    if change == "longer":
        path.write_text("ab")
    elif change == "touched":
        os.utime(path, (1, 1))
    else:
        path.unlink()
        path.mkdir() if change == "folder" else path.symlink_to(tmp_path / "mine.py")
    assert is_checked(resolve_user_object(text)) is not counts
    assert (digest(text) != before) is counts


@pytest.mark.parametrize(
    "code",
    [
        "pathlib.Path(__file__).resolve()",
        "os.path.isdir(HERE)",
        "os.makedirs(HERE + '/logs', exist_ok=True)",
        "[os.path.exists(tempfile.mkdtemp() + '/any') for _ in range(2)]",
        "inspect.getsource(act)",
        "open(HERE + '/log.txt').read() if os.path.exists(HERE + '/mine.py') else ''",
        "os.path.exists(os.__file__)",
        "np.lib.npyio.DataSource().exists(HERE + '/other.txt')",
    ],
)
def test_what_says_nothing_of_its_own_leaves_the_digest(code: str, tmp_path: Path):
    """What is known already, what the code made itself, and what a library looks for."""
    head = "import inspect, os, pathlib, tempfile\nimport numpy as np\nHERE = os.path.dirname(__file__)\n"
    (tmp_path / "log.txt").write_text("")
    write(tmp_path, mine=f"{head}def act(x):\n    {code}\n    return x\n")
    choice = resolve_user_object(f"{tmp_path}/mine.py:act")
    record = Record()
    with recording(record):
        value(choice.label)
    assert manifest_of(module_name(tmp_path / "mine.py"), [tmp_path / "mine.py"], record).answers == {}


@pytest.mark.parametrize(
    ("code", "appears"),
    [
        ("try: import tuned\nexcept ImportError: tuned = None\n", "tuned.py"),
        ("try: from tuned import S\nexcept ImportError: S = 1\n", "tuned/__init__.py"),
        ("try: from .tuned import S\nexcept ImportError: S = 1\n", "tuned.py"),
        ("import importlib\ntry: importlib.import_module('tuned')\nexcept ModuleNotFoundError: pass\n", "tuned.py"),
    ],
)
def test_a_module_that_was_missing_and_appears_changes_the_digest(code: str, appears: str, tmp_path: Path):
    write(tmp_path, mine=f"{code}def act(x): return x\n")
    text = f"{tmp_path}/mine.py:act"
    before = digest(text)
    assert is_checked(resolve_user_object(text))
    (tmp_path / appears).parent.mkdir(exist_ok=True)
    (tmp_path / appears).write_text("S = 2\n")
    assert not is_checked(resolve_user_object(text)) and digest(text) != before


def test_a_package_that_is_installed_later_changes_the_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path / "own", mine="try: import tuned_package\nexcept ImportError: pass\ndef act(x): return x\n")
    text = f"{tmp_path}/own/mine.py:act"
    digest(text)
    write(tmp_path / "site", tuned_package="")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert not is_checked(resolve_user_object(text))


def test_the_home_folder_that_the_code_asks_for_is_part_of_the_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path, mine="import os\nN = os.path.expanduser('~/scale.txt')\ndef act(x): return x\n")
    text = f"{tmp_path}/mine.py:act"
    monkeypatch.setenv("HOME", str(tmp_path))
    before = digest(text)
    monkeypatch.setenv("HOME", str(tmp_path / "other"))
    assert not is_checked(resolve_user_object(text)) and digest(text) != before


@pytest.mark.parametrize("late", [False, True])
def test_the_variables_of_a_library_are_said_to_be_out_of_sight(
    late: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of what it reads for the user's code; what it reads while it is imported goes with its version."""
    read = "float(os.environ.get('SCALE_OF_LIBRARY', '1'))"
    body = f"def scale(): return {read}\n" if late else f"S = {read}\ndef scale(): return S\n"
    write(tmp_path / "site-packages", relubench_test_library=f"import os\n{body}")
    write(tmp_path / "own", mine="import relubench_test_library as l\ndef act(x): return l.scale() * x\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    monkeypatch.setattr(
        "relubench.system.user_code.records._system_folders", lambda: (f"{tmp_path}/site-packages/", sys.prefix)
    )
    text, lines = f"{tmp_path}/own/mine.py:act", list[str]()
    checked(resolve_user_object(text), "activation", lambda: value(text))
    say_unseen(resolve_user_object(text), "activation", lines.append)
    del sys.modules["relubench_test_library"]
    assert len(lines) == late
    assert not lines or "the environment variables of relubench_test_library" in lines[0]
    assert not lines or "--no-cache" in lines[0]


def test_asking_still_works_as_it_did(tmp_path: Path):
    """Callers look the functions up in the sets that say what they can do."""
    import shutil

    write(tmp_path, mine="def act(x): return x\n")
    digest(f"{tmp_path}/mine.py:act")
    assert os.stat in os.supports_follow_symlinks and os.access in os.supports_effective_ids
    status = os.stat
    assert status(tmp_path, follow_symlinks=False).st_ino == tmp_path.lstat().st_ino
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        assert status("mine.py", dir_fd=folder).st_size == (tmp_path / "mine.py").stat().st_size
        assert status(folder).st_ino == tmp_path.stat().st_ino
    finally:
        os.close(folder)
    shutil.copystat(tmp_path / "mine.py", tmp_path, follow_symlinks=False)
    with pytest.raises(FileNotFoundError):
        status(tmp_path / "none")
