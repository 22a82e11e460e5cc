"""List-mode files read from any shot on, after they were looked through once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from molexa_core.base.errors import InputFileError
from molexa_core.base.tables import Edges
from molexa_core.io.lmf import LmfFile
from molexa_core.io.lmf import reader as lmf_reader
from molexa_core.io.lmf import run as lmf_run
from molexa_core.io.lmf.run import LmfRun
from tests.fakes.lmf_files import KINDS, make_events, make_header, name_of, write

EVENTS = 700


@pytest.fixture(autouse=True)
def near_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Places in small files."""
    monkeypatch.setattr(lmf_reader, "PLACE_BYTES", 3000)
    monkeypatch.setattr(lmf_run, "PLACE_BYTES", 3000)


def write_files(folder: Path, kind: dict[str, object]) -> list[Path]:
    """A run of two files."""
    header = make_header(**kind)
    return [
        write(folder / f"{seed}.lmf", header, [make_events(header, EVENTS, seed=seed)])
        for seed in (3, 4)
    ]


def shots_of(chunks: list[Edges]) -> dict[str, np.ndarray]:
    """Consecutive chunks as one, by column."""
    assert [one.first_shot for one in chunks[1:]] == [
        one.first_shot + one.n_shots for one in chunks[:-1]
    ]
    tags = {name: np.concatenate([one.tags[name] for one in chunks]) for name in chunks[0].tags}
    return {
        "counts": np.concatenate([np.diff(one.offsets) for one in chunks]),
        "channel": np.concatenate([one.channel for one in chunks]),
        "t_ns": np.concatenate([one.t_ns for one in chunks]),
        **tags,
    }


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_any_range_of_shots_is_that_of_the_whole_run(
    tmp_path: Path, kind: dict[str, object]
) -> None:
    """With clocks that turn over and parameters that changed long before."""
    paths = write_files(tmp_path, kind)
    whole = list(LmfRun(paths))
    looked = LmfRun(paths)
    assert not looked.anywhere
    seen: list[int] = []
    looked.make_index(seen.append)
    assert looked.n_shots == 2 * EVENTS
    assert sum(seen) == sum(file.size - file.events_at for file in looked.files)
    other = LmfRun(paths)  # of another process
    other.take_index(json.loads(json.dumps(looked.index())))
    assert other.anywhere
    columns = shots_of(whole)
    edges = np.concatenate([[0], np.cumsum(columns["counts"])])
    for first, last in ((0, 1), (0, 2 * EVENTS), (311, 350), (690, 1200), (1399, 1400)):
        found = shots_of(list(other.between(first, last)))
        for name, values in found.items():
            rows = slice(first, last)
            if name in ("channel", "t_ns"):
                rows = slice(edges[first], edges[last])
            np.testing.assert_array_equal(values, columns[name][rows], err_msg=name)


def test_what_was_lost_is_said_of_the_whole_run(tmp_path: Path) -> None:
    """Whatever was read afterwards, and the shots beside it are those of the whole run."""
    paths = write_files(tmp_path, KINDS[0])
    places = [int(at) for block in LmfFile(paths[0]) for at in block.position]
    data = bytearray(paths[0].read_bytes())
    for event in (10, 11, 333):
        data[places[event] + 7] = 0x55
    paths[0].write_bytes(data)
    run = LmfRun(paths)
    whole = shots_of(list(run))
    told = run.warnings
    assert len(told) == 1
    run.make_index(lambda _: None)
    assert run.n_shots == 2 * EVENTS - 3
    assert run.warnings == told
    part = shots_of(list(run.between(300, 700)))
    np.testing.assert_array_equal(part["counts"], whole["counts"][300:700])
    run.forget_reading()
    assert run.warnings == told


def test_a_file_of_noise_is_refused(tmp_path: Path) -> None:
    (path, _) = write_files(tmp_path, KINDS[0])
    data = bytearray(path.read_bytes())
    begin = LmfFile(path).events_at
    noise = np.random.default_rng(1).integers(0, 255, len(data) - begin - 3000, np.uint8)
    data[begin + 3000 :] = noise.tobytes()
    path.write_bytes(data)
    with pytest.raises(InputFileError, match="most of the file cannot be read"):
        LmfRun([path]).make_index(lambda _: None)
