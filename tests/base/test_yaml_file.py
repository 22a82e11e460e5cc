"""Settings files as text: what words mean, and what is refused with its line."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from molexa_core.base.errors import SettingsError
from molexa_core.base.settings import load_channel
from molexa_core.base.settings.yaml_file import DEEPEST, LARGEST, read_yaml


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "some.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("NO", "NO"),
        ("Y", "Y"),
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("0110", 110),
        ("1:50", "1:50"),
        ("1e5", 1e5),
        (".5", 0.5),
        ("+7", 7),
        ("-3.5E-2", -0.035),
        ("0x1F", 31),
        ("0o17", 15),
        ("1_000", "1_000"),
        ("2026-11-26", "2026-11-26"),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("null", None),
        ("nan", "nan"),
        (".inf", math.inf),
        ("'5'", "5"),
        ('"true"', "true"),
        ("!!str 5", "5"),
        ("=", "="),
    ],
)
def test_words_mean_what_the_current_yaml_says(tmp_path: Path, word: str, meaning: object) -> None:
    found = read_yaml(written(tmp_path, f"key: {word}\nlist: [{word}]\n"))
    assert found == {"key": meaning, "list": [meaning]}
    assert type(found["key"]) is type(meaning)


def test_keys_are_words_too(tmp_path: Path) -> None:
    assert read_yaml(written(tmp_path, "NO: 1\ny: 2\non: 3\n")) == {"NO": 1, "y": 2, "on": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "a is given twice, on lines 1 and 3"),
        ("top:\n  a: 1\n  b: {x: 1,\n   x: 2}\n", "x is given twice, on lines 3 and 4"),
        ("a: {x: 1, 'x': 1}", "x is given twice, on line 1"),
        ("list:\n  - a: 1\n    a: 1\n", "a is given twice, on lines 2 and 3"),
        ("base: &b {x: 1}\nother:\n  <<: *b\n", "line 3: merge keys"),
        ("a: 1\n---\nb: 1\n", "line 2: a second document"),
        ("a: !!python/object/apply:os.getcwd []", "line 1: the tag"),
        ("a: !!timestamp 2026-01-01", "the tag"),
        ("? [1, 2]\n: 3\n", "a key must be one word"),
        ("a: &x {b: *x}", r"\*x stands within itself"),
        ("a: 1\nb: *none\n", "line 2: nothing is named &none"),
        ("a:\n\tb: 1\n", "line 2: a tab"),
        ("a: 1\nb: [1, 2\n", "line 2: a bracket"),
        ("a: {b: 1\nc: 2\n", "line 1: a bracket"),
        ("a: 'x\n", "line 1: a quote is not closed"),
        ("a: b: c", "line 1: a colon too many"),
        ("a: 1\nb\n", "line 2: a key without a colon"),
        ("a: %x", "line 1: a character that has a meaning"),
        ("a: 1\nb: " + "9" * 5000, "line 2: a number of 5000 characters"),
        ("a: " + "[" * 20_000, f"line 1: more than {DEEPEST} blocks"),
        (b"a: 1\nb: \xb5m\n", "line 2: a character that is not UTF-8"),
        (b"\xff\xfea\x00:\x00", "line 1: this is not text in UTF-8"),
        (b"a: \x07", "line 1: a character that no text has"),
        (b"#" * (LARGEST + 1), "too long for a settings file"),
    ],
)
def test_refused_in_one_sentence_with_the_line(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SettingsError, match=message) as caught:
        read_yaml(path)
    assert caught.value.exit_code == 1
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 300


def test_repetitions_are_counted_as_often_as_they_stand(tmp_path: Path) -> None:
    lines = ["l0: &l0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"l{i + 1}: &l{i + 1} [{', '.join([f'*l{i}'] * 10)}]" for i in range(9)]
    with pytest.raises(SettingsError, match="more than 50000 values"):
        read_yaml(written(tmp_path, "\n".join(lines)))
    few = read_yaml(written(tmp_path, "\n".join(lines[:3])))
    assert len(few["l2"]) == len(few["l2"][9]) == len(few["l2"][9][9]) == 10


def test_marks_comments_and_old_headers(tmp_path: Path) -> None:
    assert read_yaml(written(tmp_path, b"\xef\xbb\xbfa: 1\n")) == {"a": 1}
    assert read_yaml(written(tmp_path, b"# 10 \xb5m, 5 \x80\na: 1\n")) == {"a": 1}
    assert read_yaml(written(tmp_path, "%YAML 1.1\n---\na: on\n...\n")) == {"a": "on"}
    assert read_yaml(written(tmp_path, "a: |\n  two\n  lines\n")) == {"a": "two\nlines\n"}
    assert read_yaml(written(tmp_path, "# nothing\n")) is None


def test_the_channel_of_nitric_oxide(tmp_path: Path) -> None:
    path = written(tmp_path, "name: NO\nions:\n  - {ion: N+}\n  - {ion: O+}\n")
    assert load_channel(path).name == "NO"


def test_names_stay_as_written(tmp_path: Path) -> None:
    path = written(tmp_path, "name: n2\nions:\n  - {ion: N+}\n  - {ion: N+}\n")
    with pytest.raises(SettingsError, match=r"some\.yaml: N\+ stands in more than one entry"):
        load_channel(path)
