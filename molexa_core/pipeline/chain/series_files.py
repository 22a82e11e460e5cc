"""The files of a series: values as JSON, and a table of the same name beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molexa_core.base.errors import UsageError
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.io.results.series_file import write_series, write_series_table
from molexa_core.pipeline.output_guard import beside_output, require_outputs


@dataclass(frozen=True)
class SeriesFiles:
    """Where a series is written.

    Attributes:
        values: the JSON file; None if nothing is written.
        table: the CSV file beside it.
    """

    values: Path | None
    table: Path | None

    @classmethod
    def of(cls, out: Path | str | None, *, inputs: Iterable[Path | str | None]) -> SeriesFiles:
        """The files beside a JSON file, checked before anything is computed.

        Args:
            out: the JSON file; None if nothing is written.
            inputs: files that are read.

        Raises:
            UsageError: the name ends otherwise.
            OutputError: a file cannot be written there.
        """
        if out is None:
            return cls(None, None)
        target = Path(out)
        if target.suffix != ".json":
            raise UsageError(
                f"{target} does not end in .json",
                do="Name the JSON file of the series with `out=`.",
            )
        beside = beside_output(target, ".csv")
        require_outputs((target, FileKind.SERIES), (beside, FileKind.SERIES_TABLE), inputs=inputs)
        return cls(target, beside)

    def write(self, values: Mapping[str, Any], made: Callable[[], Provenance]) -> dict[str, Any]:
        """Write the values, if they are to be written.

        Args:
            values: of the series.
            made: says how they were made.

        Returns:
            The values, with the files written under `files`.
        """
        if self.values is None or self.table is None:
            return {"files": {}, **values}
        record = made()
        write_series(self.values, dict(values), record)
        write_series_table(self.table, dict(values), record)
        return {"files": {"series": str(self.values), "table": str(self.table)}, **values}
