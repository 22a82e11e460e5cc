"""Recognition of the form of a text table: encoding, separator, decimal sign, names, units."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from molexa_core.base.errors import ColumnError, InputFileError
from molexa_core.base.storage.cells import as_written
from molexa_core.io.marks import METADATA_LINE
from molexa_core.io.tables.column_names import apart
from molexa_core.io.tables.text_names import Written, find_names
from molexa_core.io.tables.text_numbers import MISSING, is_number
from molexa_core.io.tables.text_units import speaks_of_units, units_in_comments
from molexa_core.io.text_lines import LONGEST_LINE, comment_in, encoding_of, open_text, split

_SAMPLE: Final = 100
_FEWEST: Final = 2
"""A line with more values than this can be one of data although most of them are missing."""
_MOST_HEAD: Final = 20_000
_FORMS: Final = (
    (";", "."), (";", ","), ("\t", "."), ("\t", ","), ("|", "."), (",", "."),
    (None, "."), (None, ","), (",", ","),
)  # fmt: skip


class NoNumbersError(ColumnError):
    """A text without a line of numbers, hence not a table."""


@dataclass
class TextForm:
    """The form of a text table.

    Attributes:
        encoding: encoding of the text.
        separator: separator of values; None for blanks.
        decimal: the decimal sign.
        skip: lines before the data.
        width: values in each line.
        names: names of the columns, empty for unnamed ones.
        units: units by column number, if a line below the names or a comment states them.
        named: whether the file names its columns.
        written_here: whether molexa wrote the table.
        metadata: metadata stored by molexa.
        comments: comments before the data.
        sample: the first lines of data.
        doubts: warnings about uncertain choices.
    """

    encoding: str
    separator: str | None = ","
    decimal: str = "."
    skip: int = 0
    width: int = 0
    names: list[str] = field(default_factory=list)
    units: dict[int, str] = field(default_factory=dict)
    named: bool = False
    written_here: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)
    comments: list[str] = field(default_factory=list)
    sample: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def read_form(path: Path, known: Collection[str] = ()) -> TextForm:
    """Determine the form of a text table.

    Args:
        path: the file.
        known: column names given in the setup.

    Raises:
        InputFileError: there is no table in it, or names and values differ in number.
    """
    form, texts = _read(path)
    if not form.sample:
        if not texts:
            raise InputFileError(
                "the file holds no table", where=path, do="Check how it was written."
            )
        _only_names(path, form, texts)
        return form
    form.separator, form.decimal = _best_form(form.sample)
    fields = [split(line, form.separator) for line in form.sample]
    form.width = Counter(map(len, fields[:20])).most_common(1)[0][0]
    above = Written(path, texts, form.comments, form.sample, fields, form.separator, form.decimal)
    names, form.units = find_names(above, form.width, known)
    form.named = names is not None
    form.names = names if names is not None else [str(i) for i in range(form.width)]
    if form.written_here:
        form.names = [as_written(name) for name in form.names]
    for place, text in units_in_comments(form.comments, form.names).items():
        form.units.setdefault(place, text)
    said = speaks_of_units(form.comments)
    if said is not None and not form.units and all(unit is None for unit in _units_of(form.names)):
        form.doubts.append(
            f"a comment speaks of units and is not understood ({said[:80]!r}); x and y are read in "
            "mm and the time in ns unless `columns` of the setup says otherwise"
        )
    return form


def _units_of(names: Sequence[str]) -> list[object]:
    return [part.unit for part in map(apart, names) if part is not None]


def _read(path: Path) -> tuple[TextForm, list[tuple[int, str]]]:
    """The lines up to the first of data and some behind it; text lines with their numbers."""
    texts: list[tuple[int, str]] = []
    with open_text(path) as raw:
        head = raw.read(65536)
    form = TextForm(encoding_of(head))
    with (
        open_text(path) as raw,
        io.TextIOWrapper(raw, encoding=form.encoding, errors="replace") as stream,
    ):
        number = 0
        while len(form.sample) < _SAMPLE and (line := stream.readline(LONGEST_LINE)):
            if len(line) == LONGEST_LINE:
                raise InputFileError(
                    f"a line is longer than {LONGEST_LINE} bytes", where=path, do="Is it a table?"
                )
            number += 1
            text = line.strip("\r\n").removeprefix("\ufeff")
            if text.startswith(METADATA_LINE):
                form.written_here, form.metadata = True, _metadata(path, text)
                continue
            comment = comment_in(text)
            if comment is not None:
                if not form.sample and len(form.comments) < _MOST_HEAD:
                    form.comments.append(comment)
            elif not text.strip():
                continue
            elif form.sample or _is_data(text, below_names=bool(texts)):
                if not form.sample:
                    form.skip = number - 1
                form.sample.append(text.partition("#")[0])
            elif len(texts) < _MOST_HEAD:
                texts.append((number, text))
    return form, texts


def _metadata(path: Path, text: str) -> dict[str, Any]:
    try:
        values = json.loads(text.removeprefix(METADATA_LINE))
    except (ValueError, RecursionError) as error:
        raise InputFileError(
            "the line of molexa's metadata is not readable as JSON",
            where=path,
            do="Take the line away, or make the run again.",
        ) from error
    return values if isinstance(values, dict) else {}


def _scores(text: str, separator: str | None, decimal: str) -> tuple[int, int]:
    """Numbers of values of a line that are numbers, and that are not."""
    fields = [value for value in split(text, separator) if value.lower() not in MISSING]
    good = sum(is_number(value, decimal) for value in fields)
    return good, len(fields) - good


def _is_data(text: str, *, below_names: bool) -> bool:
    """Whether most values of a line are numbers, for any separator and decimal sign.

    Below the names, a line of empty cells (`,,,`) also counts as data.
    """
    for separator, decimal in _FORMS:
        good, bad = _scores(text, separator, decimal)
        if good >= max(2, bad):
            return True
        if bad == 0 and (good or below_names) and len(split(text, separator)) > _FEWEST:
            return True
    return False


def _best_form(lines: Sequence[str]) -> tuple[str | None, str]:
    """The separator and decimal sign with which most values are numbers."""

    def quality(form: tuple[str | None, str]) -> tuple[float, int, int]:
        good = bad = fields = 0
        for line in lines:
            more, less = _scores(line, *form)
            good, bad = good + more, bad + less
            fields += len(split(line, form[0]))
        return (good / max(1, good + bad), good, fields)

    return max(_FORMS, key=quality)


def _only_names(path: Path, form: TextForm, texts: Sequence[tuple[int, str]]) -> None:
    """A table without rows: one line of names and nothing else."""
    text = texts[0][1]
    if len(texts) > 1:
        number, other = texts[1]
        raise NoNumbersError(
            f"there is no line of numbers in it (line {number}: {other.strip()[:40]!r})",
            where=path,
            do="Write names in one line and the numbers of a hit, or a shot, in each below it.",
        )
    counts = {separator: text.count(separator) for separator in (",", ";", "\t", "|")}
    best = max(counts, key=lambda separator: counts[separator])
    form.separator = best if counts[best] else None
    form.names = split(text, form.separator)
    form.width, form.named = len(form.names), True
