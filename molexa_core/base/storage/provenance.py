"""Provenance of a result: version, command, inputs, settings, seed.

Every file molexa writes carries one `Provenance` as JSON: an attribute in HDF5, comment lines in
CSV and XYZ, an object in JSON, a string in ROOT, an element in SVG.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from molexa_core import __version__
from molexa_core.base.storage.bounded import from_values
from molexa_core.base.storage.files import digest

FIGURE_MARK: Final = '<metadata id="molexa">'
"""Begins the element of an SVG file that holds the record."""
SETUP_MARK: Final = "# molexa setup: "
"""Begins the first line of a setup that molexa wrote; the record follows."""
EXPLOSION_MARK: Final = "# molexa explosion: "
"""Begins the first line of a calibration of an explosion; the record follows."""
PICTURE_MARK: Final = "molexa figure: "
"""Begins the comment with the provenance of a figure in PDF or PNG."""
NUMBERS_MARK: Final = "# molexa figure numbers: "
"""Begins the first line of the numbers of a figure, as JSON."""
SERIES_MARK: Final = "# molexa series: "
"""Begins the first line of the table of a series; the record follows."""
REGIONS_MARK: Final = "# molexa regions: "
"""Begins the first line of a file of regions, and of a channel with regions that molexa wrote."""
SPECTRUM_MARK: Final = "# molexa spectrum: "
"""Begins the first line of the table of a spectrum; the record follows."""
COMMAND_MARK: Final = '<meta name="molexa-command" content='
"""Element of a report that names the command that wrote it."""
GATE_GENERATOR: Final = '<meta name="generator" content="molexa gate">'
"""Element of an HTML page by which it is known as a page to draw a region on."""
GENERATOR: Final = '<meta name="generator" content="molexa">'
"""Element of an HTML page by which it is known as a report."""


_COMMAND: Final[ContextVar[str | None]] = ContextVar("command", default=None)


@contextmanager
def made_by(command: str) -> Iterator[None]:
    """Say within a block which command makes the results.

    Args:
        command: the command line, as a user would type it.
    """
    token = _COMMAND.set(command)
    try:
        yield
    finally:
        _COMMAND.reset(token)


def the_command() -> str | None:
    """The command that makes the results; None outside of `made_by`."""
    return _COMMAND.get()


@dataclass(frozen=True)
class Provenance:
    """The record of one step.

    Attributes:
        command: the command line or function call that made the result.
        inputs: digest of each input by path as given.
        settings: the settings in force, as plain values.
        seed: the seed of every random draw, None where nothing is drawn.
        history: the records of the inputs, oldest first.
        version: molexa's version.
        created: time in UTC, ISO 8601.
    """

    command: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    history: tuple[Mapping[str, Any], ...] = ()
    version: str = __version__
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @classmethod
    def of(
        cls,
        command: str | None = None,
        *,
        inputs: Iterable[Path | str] = (),
        settings: Mapping[str, Any] | None = None,
        seed: int | None = None,
        after: Provenance | None = None,
    ) -> Provenance:
        """The record of a step that reads `inputs` and follows the step recorded in `after`.

        Args:
            command: what makes the result; the command of `made_by`, or else the calling function,
                if not given.
            inputs: files whose digests are recorded.
            settings: the settings in force.
            seed: of the random draws.
            after: the record of the input.
        """
        if command is None:
            command = _COMMAND.get() or _caller()
        history = () if after is None else (*after.history, after.own_record())
        return cls(
            command=command,
            inputs={str(path): digest(path) for path in inputs},
            settings=dict(settings or {}),
            seed=seed,
            history=history,
        )

    def own_record(self) -> dict[str, Any]:
        """The record without its history, as plain values."""
        record = asdict(self)
        del record["history"]
        return record

    def to_json(self) -> str:
        """The record as one line of JSON."""
        return json.dumps(asdict(self), sort_keys=True, default=str)

    @classmethod
    def from_json(cls, text: str) -> Provenance:
        """The record that `to_json` wrote.

        Raises:
            ValueError: it is no such record.
        """
        try:
            return cls.from_values(json.loads(text))
        except RecursionError as error:
            msg = "brackets within brackets without end"
            raise ValueError(msg) from error

    @classmethod
    def from_values(cls, values: Any) -> Provenance:
        """The record of plain values, each of its kind; those of its history too.

        Raises:
            ValueError: a key is unknown or missing, or a value is of another kind.
        """
        record = from_values(cls, values, name="provenance")
        for earlier in record.history:
            from_values(cls, earlier, name="provenance -> history")
        return record


def _caller() -> str:
    """The function that asked for a record, by its module and name."""
    frame = inspect.currentframe()
    for _ in range(2):  # this function, and `Provenance.of`
        frame = None if frame is None else frame.f_back
    if frame is None:
        return "molexa"
    return f"{frame.f_globals.get('__name__', '')}.{frame.f_code.co_qualname}"
