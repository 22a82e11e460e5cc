"""The names of the columns of a file of tables, whether its layout is known or not."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from molexa_core.base.errors import InputFileError
from molexa_core.base.settings.columns import SLOT
from molexa_core.io import marks
from molexa_core.io.candidate import HEAD_BYTES

_MOST_TREES: Final = 20


def columns_of(path: Path | str) -> list[str]:
    """Columns of a table in ROOT, HDF5, Parquet, numpy or text; numbered ones once, with `{i}`.

    Raises:
        InputFileError: the file is missing or damaged, or no table.
    """
    path = Path(path)
    found: list[str] = []
    for name in _names(path):
        slot = _with_slot(name)
        found += [one for one in (slot, name) if one is not None and one not in found]
    return found


def _with_slot(name: str) -> str | None:
    """The name with `{i}` in the place of its only number; None where there is not one."""
    digits = [at for at, letter in enumerate(name) if letter.isdigit()]
    if not digits or digits[-1] - digits[0] + 1 != len(digits):
        return None
    return f"{name[: digits[0]]}{SLOT}{name[digits[-1] + 1 :]}"


def _names(path: Path) -> list[str]:
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except OSError as error:
        raise InputFileError(f"cannot be read: {error.strerror}", where=path) from error
    if head.startswith(marks.ROOT):
        return _in_root(path)
    if head.startswith(marks.HDF5):
        from molexa_core.io.tables.hdf5_table import Hdf5Table  # noqa: PLC0415

        return list(Hdf5Table(path).kinds)
    if head.startswith(marks.PARQUET):
        from molexa_core.io.tables.parquet_table import ParquetTable  # noqa: PLC0415

        return list(ParquetTable(path).kinds)
    from molexa_core.io.tables.text_table import TextTable  # noqa: PLC0415

    return list(TextTable(path).kinds)


def _in_root(path: Path) -> list[str]:
    from molexa_core.io.root.contents import open_table  # noqa: PLC0415
    from molexa_core.io.root.file import open_root, reading, tree_names  # noqa: PLC0415

    with open_root(path) as file, reading(path):
        names = [
            list(open_table(file, tree, path).kinds) for tree in tree_names(file)[:_MOST_TREES]
        ]
    return [name for tree in names for name in tree]
