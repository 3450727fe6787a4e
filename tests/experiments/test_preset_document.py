"""YAML files: their values, their lines, and what is refused of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from relubench.errors import UsageError
from relubench.experiments.presets.document import Document, read_document


def read(tmp_path: Path, text: str | bytes) -> Document:
    path = tmp_path / "mine.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_document(path, "mine.yaml")


def test_values_and_their_lines(tmp_path: Path):
    document = read(tmp_path, "a: 1\nb:\n  c: [x, 2.5]\n  d: null\n")
    assert document.values == {"a": 1, "b": {"c": ["x", 2.5], "d": None}}
    assert [document.line(path) for path in (("a",), ("b", "c"), ("b", "c", "1"), ("b", "zzz"), ("zzz",))] == [
        *(1, 3, 3, 2, 1)
    ]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a: 1\nb: [1\n", r"mine\.yaml:3:1: this is not YAML"),
        ("a: b: c\n", r"mine\.yaml:1:5: this is not YAML: mapping values are not allowed"),
        ("a: 1\nb: 2\n\na: 3\n", r"mine\.yaml:4: the key a stands there already, in line 1"),
        ("x:\n  a: 1\n  a: 2\n", r"mine\.yaml:3: the key x\.a stands there already, in line 2"),
        ("a: !!python/object/apply:os.system [ls]\n", r"mine\.yaml:1: the tag 'python/object/apply:os\.system' is not"),
        ("a: 1\nb: !mine x\n", r"mine\.yaml:2: the tag '!mine' is not allowed"),
        ("a: &one [x]\nb: *one\n", r"mine\.yaml:1: anchors \(&\) and aliases \(\*\) are not allowed"),
        ("<<: {a: 1}\n", r"mine\.yaml:1: a key is text"),
        ("1: 2\n", r"mine\.yaml:1: a key is text"),
        ("- a\n", r"mine\.yaml:1: a preset is a list of KEY: VALUE lines"),
        ("just text\n", r"mine\.yaml:1: a preset is a list of KEY: VALUE lines"),
        ("", r"mine\.yaml is empty"),
        ("# nothing\n", r"mine\.yaml is empty"),
        (b"a: \xff\xfe\n", r"mine\.yaml is not UTF-8 text"),
        ("a: \x01\n", r"mine\.yaml: this is not YAML"),
        ("a: 2001-01-01\n", r"mine\.yaml:1: the tag 'timestamp' is not allowed"),
        ("a: " + "[" * 30 + "]" * 30, r"mine\.yaml:1: it is nested too deeply"),
        ("a: " + "[" * 90_000, r"mine\.yaml:1: it is nested too deeply"),
        ("- " * 90_000, r"mine\.yaml:1: it is nested too deeply"),
        ("a: !!int ''\n", r"mine\.yaml:1: '' is no int"),
        ("a:\n  b: !!bool maybe\n", r"mine\.yaml:2: 'maybe' is no bool"),
        ("a: !!float x\n", r"mine\.yaml:1: 'x' is no float"),
        ("a: 2001-99-99\n", r"mine\.yaml:1: the tag 'timestamp' is not allowed"),
        ("a: " + "9" * 4300, r"mine\.yaml:1: '9{70,80}\.\.\. has 4,300 characters"),
        ("a: 0x" + "f" * 9000, r"mine\.yaml:1: '0xf{70,80}\.\.\. has 9,002 characters"),
        ("a: x\n--- \nb: y\n", r"mine\.yaml:2:1: this is not YAML: but found another document"),
    ],
)
def test_what_is_not_plain_yaml_is_refused_by_line(tmp_path: Path, text: str | bytes, rule: str):
    with pytest.raises(UsageError, match=rule):
        read(tmp_path, text)


def test_a_bomb_of_aliases_is_refused_before_it_grows(tmp_path: Path):
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    with pytest.raises(UsageError, match="anchors"):
        read(tmp_path, "\n".join(lines))


def test_a_file_too_large_or_no_file_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="larger than 200,000 bytes"):
        read(tmp_path, "# " + "x" * 200_000)
    if Path("/dev/zero").exists():
        with pytest.raises(UsageError, match="here is larger than 200,000 bytes"):
            read_document(Path("/dev/zero"), "here")
    with pytest.raises(UsageError, match=r"here cannot be read: Is a directory"):
        read_document(tmp_path, "here")
