"""Arrow IPC files (Feather) and streams as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from molexa_core.base.errors import InputFileError
from molexa_core.base.settings.columns import Columns
from molexa_core.base.storage.files import require_file
from molexa_core.io.marks import ARROW_FILE
from molexa_core.io.tables.interface import MOST_ROWS, Kind, View
from molexa_core.io.tables.parquet_table import ArrowView, arrow, arrow_kinds, reading_parquet


class ArrowTable:
    """An Arrow IPC file or stream; see `table.Table`.

    Raises:
        InputFileError: missing or damaged, or pyarrow is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = require_file(path)
        self.label = "the Arrow table"
        self._arrow, _ = arrow("Arrow files (Feather)")
        with path.open("rb") as stream:
            self._is_file = stream.read(6) == ARROW_FILE
        with reading_parquet(path, "Arrow"):
            reader = self._open()
            schema = reader.schema
            self.n_rows: int | None = None
            if self._is_file:
                self.n_rows = sum(
                    reader.get_batch(i).num_rows for i in range(reader.num_record_batches)
                )
        self.kinds: Mapping[str, Kind] = arrow_kinds(self._arrow, schema)

    def _open(self) -> Any:
        ipc = self._arrow.ipc
        source = self._arrow.OSFile(str(self.path), "rb")
        return ipc.open_file(source) if self._is_file else ipc.open_stream(source)

    def views(self, columns: Columns, names: Sequence[str], rows: int | None) -> Iterator[View]:
        """Batches of the file, cut where they are long."""
        del columns
        start = 0
        for batch in self._batches():
            with reading_parquet(self.path, "Arrow"):
                batch.validate(full=True)
                chosen = batch.select(list(dict.fromkeys(names)))
            for first in range(0, chosen.num_rows, rows or MOST_ROWS):
                part = chosen.slice(first, rows or MOST_ROWS)
                yield ArrowView(self, part, start)
                start += part.num_rows

    def _batches(self) -> Iterator[Any]:
        with reading_parquet(self.path, "Arrow"):
            reader = self._open()
        number = 0
        while True:
            with reading_parquet(self.path, "Arrow"):
                if self._is_file:
                    batch = reader.get_batch(number) if number < reader.num_record_batches else None
                else:
                    batch = next(iter(reader), None)
            if batch is None:
                return
            number += 1
            yield batch

    def metadata(self) -> dict[str, Any]:
        """Nothing: molexa does not write such files."""
        return {}


def refuse_feather_1(path: Path) -> None:
    """Say what to do about the first version of Feather.

    Raises:
        InputFileError: always.
    """
    raise InputFileError(
        "the file is Feather version 1, which is no longer read",
        where=path,
        do="Save it as version 2, the present one of pandas and pyarrow.",
    )
