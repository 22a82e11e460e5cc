"""Errors for users: they say what is wrong, where, and what to do about it.

Every error molexa raises on purpose derives from `MolexaError`. Subclasses also inherit the
builtin that a caller of the Python interface would catch. The command line prints the one
sentence and leaves with `exit_code`; a traceback appears only with `--debug`.

Messages name settings as arguments of Python functions, in backticks with an equals sign, such as
`gate_sum=` or `device='cpu'`. The command line writes its options there (`molexa_cli.wording`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

LONGEST_NAME = 120
"""Letters of a name that a message shows."""


class MolexaError(Exception):
    """Base of all errors with a message for users.

    Args:
        what: what is wrong, with the offending value.
        where: the file, key or column concerned.
        do: what the user can do about it.
        setting: the argument concerned, by its name, where there is no other place to name.
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        do: str | None = None,
        setting: str | None = None,
    ) -> None:
        self.what = what
        self.where = setting if where is None else str(where)
        self.do = do
        self.setting = setting
        super().__init__(what)

    def __str__(self) -> str:
        text = self.what if self.where is None else f"{self.where}: {self.what}"
        if self.do:
            text = f"{text.rstrip('.')}. {self.do}"
        return text


class UsageError(MolexaError, ValueError):
    """The command or function was called in a way that cannot work (exit code 2)."""

    exit_code = 2


class InputFileError(MolexaError, ValueError):
    """A file is missing, damaged, or not of the form that was asked for."""


class ColumnError(InputFileError, KeyError):
    """A table lacks a column, has it twice, or holds the wrong kind of values in it."""

    __str__ = MolexaError.__str__


class SettingsError(MolexaError, ValueError):
    """A settings file has an unknown key, a wrong unit or an impossible value."""


class UnknownIonError(MolexaError, KeyError):
    """A string is not the name of an ion, or names an ion that is not known here."""

    __str__ = MolexaError.__str__


class NoEventsError(MolexaError, ValueError):
    """A step was left with no event to work on."""


class ComputationError(MolexaError, RuntimeError):
    """A computation did not converge or gave values that are not numbers."""


class WorkError(MolexaError, RuntimeError):
    """Processes or a cluster that compute units of work failed; finished units are kept."""


class WeightsError(MolexaError, RuntimeError):
    """Network weights are missing, damaged, or do not fit the configuration."""


class OutputError(MolexaError, OSError):
    """A result cannot be written where it was asked for."""

    __str__ = MolexaError.__str__


class StreamError(OutputError):
    """A stream or an open file is named where a result is written to a file."""


@contextmanager
def about_file(path: object) -> Iterator[None]:
    """Report a `UsageError` raised in the block as an error of the content of a file.

    Args:
        path: the file whose content is used in the block; the message names it.

    Raises:
        InputFileError: in place of a `UsageError`.
    """
    try:
        yield
    except UsageError as error:
        where = path if error.where is None else f"{path}: {error.where}"
        raise InputFileError(error.what, where=where, do=error.do) from error
    except MolexaError as error:
        if error.where is None:
            error.where = str(path)
        raise


def near_matches(name: str, known: Iterable[str], *, limit: int = 3) -> list[str]:
    """The known names most like `name`, best first.

    Example:
        >>> near_matches("wter", ["water", "cf4"])
        ['water']
    """
    return difflib.get_close_matches(name, list(known), n=limit, cutoff=0.5)


def _printable(name: str) -> str:
    """A name on one line and of a length that can be read, whatever a file says it is."""
    shown = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in name[: LONGEST_NAME + 1]
    )
    return shown if len(shown) <= LONGEST_NAME else f"{shown[:LONGEST_NAME]}..."


def listing(names: Iterable[object], *, limit: int = 12) -> str:
    """Names joined for a message, cut after `limit`.

    Example:
        >>> listing(["a", "b"])
        'a, b'
    """
    items = [_printable(str(name)) for name in names]
    text = ", ".join(items[:limit])
    if len(items) > limit:
        text += f", ... ({len(items) - limit} more)"
    return text or "none"
