"""Reader of YAML settings files: plain values with line numbers, no ambiguous syntax.

Scalars follow the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema): `NO`,
`on` and `1:50` are text, `0110` is 110, `1e5` and `.5` are numbers, dates are text. Refused, each
in one sentence with its line: a key given twice, merge keys, tags, several documents, keys that
are not one word, more nesting or values than a settings file can have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from molexa_core.base.errors import SettingsError
from molexa_core.base.storage.files import require_file

LARGEST: Final = 512 * 2**10
"""A longer settings file, in bytes, is refused."""
DEEPEST: Final = 24
"""Most blocks within each other."""
MOST_VALUES: Final = 50_000
"""Most values of a file, every repetition by `*name` included."""
LONGEST_NUMBER: Final = 40
"""Most characters of a number."""

_NULL: Final = frozenset(("", "~", "null", "Null", "NULL"))
_BOOL: Final = {
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_INT: Final = re.compile(r"[-+]?[0-9]+")
_BASED: Final = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_MERGE: Final = "<<"
_TEXT_TAGS: Final = ("!", "tag:yaml.org,2002:str")
_TROUBLE: Final = (
    (r"character '\\t'", "a tab stands where YAML wants blanks"),
    ("mapping values are not allowed", "a colon too many, or lines that are not indented alike"),
    ("could not find expected ':'", "a key without a colon"),
    ("expected <block end>", "the line is not indented like those above it"),
    (r"expected ',' or '\]'", "a bracket [ is not closed"),
    (r"expected ',' or '\}'", "a bracket { is not closed"),
    ("while scanning a quoted scalar", "a quote is not closed"),
    ("unknown escape character", "an unknown escape behind \\; use single quotes"),
    ("undefined alias", "a name behind * that no & defines"),
    ("duplicate anchor", "a name behind & is used twice"),
    ("found unexpected end of stream", "the file ends within a value"),
    ("special characters are not allowed", "a character that no text has"),
)


class Block(dict[Any, Any]):
    """Keys and values of a block, and the line on which each key stands."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[Any, int] = {}


class Items(list[Any]):
    """The items of a list, and the line on which each stands."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[int] = []


@dataclass
class _Open:
    """A block or list that is being read."""

    values: Block | Items
    line: int
    anchor: str | None
    size: int = 1
    key: Any = None
    has_key: bool = False


@dataclass
class _Reader:
    """Builds values from the events of one file."""

    path: Path
    ascii_only: bool
    stack: list[_Open] = field(default_factory=list)
    named: dict[str, tuple[Any, int]] = field(default_factory=dict)
    count: int = 0
    found: Any = None

    def read(self, events: Iterator[Any]) -> Any:
        documents = 0
        for event in events:
            line = event.start_mark.line + 1
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self.fault("a second document begins", line, "Keep one in the file.")
            elif isinstance(event, yaml.NodeEvent):
                self._node(event, line)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._close()
        return self.found

    def _node(self, event: Any, line: int) -> None:
        if isinstance(event, yaml.AliasEvent):
            self._alias(str(event.anchor), line)
            return
        text = event.tag in _TEXT_TAGS and isinstance(event, yaml.ScalarEvent)
        if event.tag is not None and not text and event.tag != "!":
            raise self.fault(f"the tag {event.tag[:40]} is not used here", line, "Leave it out.")
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event, line, text=text)
            return
        waiting = self.stack and isinstance(self.stack[-1].values, Block)
        if waiting and not self.stack[-1].has_key:
            raise self.fault("a key must be one word", line, "Write key: value.")
        if len(self.stack) >= DEEPEST:
            raise self.fault(
                f"more than {DEEPEST} blocks stand within each other", line, "Check the brackets."
            )
        values = Block() if isinstance(event, yaml.MappingStartEvent) else Items()
        self.stack.append(_Open(values, line, event.anchor))
        self._counted(1, line)

    def _scalar(self, event: Any, line: int, *, text: bool) -> None:
        word = event.value
        if self.ascii_only and not word.isascii():
            raise self.fault("a character that is not UTF-8", line, "Save the file as UTF-8.")
        plain = event.style is None and not text
        value = self._meaning(word, line) if plain else word
        if event.anchor is not None:
            self.named[event.anchor] = (value, 1)
        self._counted(1, line)
        self._place(value, 1, line, merge=plain and word == _MERGE)

    def _alias(self, name: str, line: int) -> None:
        if any(one.anchor == name for one in self.stack):
            raise self.fault(f"*{name} stands within itself", line, "Write the values out.")
        if name not in self.named:
            raise self.fault(f"nothing is named &{name} above", line, "Write the values out.")
        value, size = self.named[name]
        self._counted(size, line)
        self._place(value, size, line, merge=False)

    def _close(self) -> None:
        done = self.stack.pop()
        if done.anchor is not None:
            self.named[done.anchor] = (done.values, done.size)
        self._place(done.values, done.size, done.line, merge=False)

    def _place(self, value: Any, size: int, line: int, *, merge: bool) -> None:
        """Put a value where it belongs: as key or value of a block, item of a list, or all."""
        if not self.stack:
            self.found = value
            return
        around = self.stack[-1]
        around.size += size
        if isinstance(around.values, Items):
            around.values.append(value)
            around.values.lines.append(line)
        elif around.has_key:
            around.values[around.key] = value
            around.has_key = False
        else:
            self._key(around, around.values, value, line, merge=merge)

    def _key(self, around: _Open, block: Block, key: Any, line: int, *, merge: bool) -> None:
        if merge:
            raise self.fault("merge keys (<<) are not used here", line, "Write the keys out.")
        if isinstance(key, dict | list):
            raise self.fault("a key must be one word", line, "Write key: value.")
        if key in block:
            first = block.lines[key]
            places = f"on line {line}" if first == line else f"on lines {first} and {line}"
            raise SettingsError(
                f"{key} is given twice, {places}", where=self.path, do="Keep one of them."
            )
        block.lines[key] = line
        around.key, around.has_key = key, True

    def _counted(self, size: int, line: int) -> None:
        self.count += size
        if self.count > MOST_VALUES:
            raise self.fault(f"more than {MOST_VALUES} values", line, "Check what repeats.")

    def _meaning(self, word: str, line: int) -> Any:
        """The value of a word without quotes."""
        if word in _NULL:
            return None
        if word in _BOOL:
            return _BOOL[word]
        if _SPECIAL.fullmatch(word):
            return float(word.replace(".", ""))
        number = _INT.fullmatch(word) or _BASED.fullmatch(word) or _FLOAT.fullmatch(word)
        if number is None:
            return word
        if len(word) > LONGEST_NUMBER:
            raise self.fault(
                f"a number of {len(word)} characters", line, "Write it shorter, such as 1.5e6."
            )
        if _BASED.fullmatch(word):
            return int(word[2:], 8 if word[1] == "o" else 16)
        return int(word) if _INT.fullmatch(word) else float(word)

    def fault(self, what: str, line: int | None, do: str) -> SettingsError:
        place = "" if line is None else f"line {line}: "
        return SettingsError(f"not readable as YAML: {place}{what}", where=self.path, do=do)


def read_yaml(path: Path | str) -> Any:
    """The plain values in a YAML file: `Block`, `Items`, text, numbers, true, false, None.

    Raises:
        InputFileError: no such file.
        SettingsError: not readable as YAML, or refused for one of the reasons in this module.
    """
    path = require_file(path)
    with path.open("rb") as stream:
        content = stream.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise SettingsError(
            f"more than {LARGEST // 2**10} KiB are too long for a settings file",
            where=path,
            do="Name a YAML file.",
        )
    text, ascii_only = _decoded(content, path)
    reader = _Reader(path, ascii_only)
    try:
        return reader.read(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError as error:
        what, line = _trouble(error, text)
        raise reader.fault(what, line, "Correct the line.") from error


def _decoded(content: bytes, path: Path) -> tuple[str, bool]:
    """The text, and whether it is not UTF-8, so that only comments may go beyond ASCII."""
    zero = content.find(b"\0")
    if zero >= 0:
        line = content.count(b"\n", 0, zero) + 1
        raise SettingsError(
            f"not readable as YAML: line {line}: this is not text in UTF-8",
            where=path,
            do="Save the file as UTF-8.",
        )
    try:
        return content.decode("utf-8-sig"), False
    except UnicodeDecodeError:
        return re.sub(r"[\x80-\x9f]", "\xbf", content.decode("latin-1")), True


def _trouble(error: yaml.YAMLError, text: str) -> tuple[str, int | None]:
    """The syntax error in a text that is not valid YAML, in words, and its line."""
    message = " ".join(str(part) for part in (getattr(error, "context", ""), error))
    other = "a character that has a meaning of its own in YAML; put the text in quotes"
    what = next((words for sign, words in _TROUBLE if re.search(sign, message)), other)
    mark = getattr(error, "problem_mark", None)
    start = getattr(error, "context_mark", None)
    opened = ("not closed" in what or "without a colon" in what) and start is not None
    if opened:
        mark = start
    if mark is not None:
        return what, mark.line + 1
    position = getattr(error, "position", None)
    return what, None if position is None else text.count("\n", 0, position) + 1
