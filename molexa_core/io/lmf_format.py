"""Run format of Cobold list-mode files."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from molexa_core.base.errors import listing
from molexa_core.base.fields import TAG_SCAN, TAG_TIMESTAMP
from molexa_core.io.marks import is_list_mode
from molexa_core.io.run_format import Places, RunFormat, Writer

if TYPE_CHECKING:
    from molexa_core.base.tables import Edges
    from molexa_core.io.candidate import Candidate, HowToRead
    from molexa_core.io.lmf.run import LmfRun

_FEWEST_CHANNELS: Final = 8


def _probe(file: Candidate) -> Path | None:
    return file.path if is_list_mode(file.head) else None


def open_lmf(paths: Sequence[Path], how: HowToRead) -> LmfRun:
    """The run in list-mode files; nothing in a setup says how to read it."""
    from molexa_core.io.lmf.run import LmfRun  # noqa: PLC0415

    del how
    return LmfRun(paths)


def _written(file: Candidate) -> str | None:
    from molexa_core.io.lmf.run import LmfRun  # noqa: PLC0415

    if not is_list_mode(file.head):
        return None
    run = LmfRun([file.path])
    return run.layout if run.metadata() else None


def _write(
    path: Path, chunks: Iterable[Edges], places: Places, meta: Mapping[str, Any], *, raw: bool
) -> None:
    from molexa_core.io.lmf.run import write_lmf_run  # noqa: PLC0415

    n_channels = max(_FEWEST_CHANNELS, places.channels)
    write_lmf_run(path, chunks, raw=raw, meta=meta, n_channels=n_channels, bin_ns=places.bin_ns)


def _decoded(path: Path, chunks: Iterable[Edges], places: Places, meta: Mapping[str, Any]) -> None:
    _write(path, chunks, places, meta, raw=False)


def _raw(path: Path, chunks: Iterable[Edges], places: Places, meta: Mapping[str, Any]) -> None:
    _write(path, chunks, places, meta, raw=True)


def _unheld(tags: Collection[str]) -> list[str]:
    kept = {TAG_TIMESTAMP} | {name for name in tags if name.startswith(TAG_SCAN)}
    others = sorted(set(tags) - kept)
    return [f"values per shot: {listing(others)}"] if others else []


_ROUNDED: Final = ("times below 0.0125 ns: they are rounded to bins of 0.025 ns",)

LMF: Final = RunFormat(
    name="lmf",
    words="Cobold list-mode file",
    sought=("Cobold list-mode (.lmf)",),
    probe=_probe,
    open=open_lmf,
    written=_written,
    suffixes=(".lmf",),
    in_folders=True,
    edges=(
        Writer(
            name="lmf",
            write=_decoded,
            suffixes=(".lmf",),
            counted=True,
            unheld=_unheld,
            rounded=_ROUNDED,
        ),
        Writer(name="lmf-raw", write=_raw, counted=True, unheld=_unheld, rounded=_ROUNDED),
    ),
)
