"""Joined events are those of the runs, numbered anew; what does not belong together is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from molexa_core.base.errors import InputFileError, UsageError
from molexa_core.base.progress import CollectingProgress
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences, Hits
from molexa_core.io.formats import hit_writers
from molexa_core.io.results.events import read_events, read_shots, write_events
from molexa_core.io.run_format import Places
from molexa_core.pipeline.chain.join import differences, join_files
from molexa_core.pipeline.chain.reduce import reduce
from tests.fakes.root_runs import make_channel, make_run, make_setup

SETUP = make_setup()
CHANNEL = make_channel(("O+", 1), ("H+", 2))
SHOTS = (3000, 2000)


@pytest.fixture
def runs(working_folder: Path) -> list[Path]:
    return made()


def made(noise_per_shot: float = 0.0) -> list[Path]:
    """Two runs reduced, in the working folder."""
    meta = {
        "setup": SETUP.model_dump(mode="json"),
        "channel": CHANNEL.model_dump(mode="json"),
    }
    paths = []
    for number, shots in enumerate(SHOTS):
        run = make_run(
            ("O+", "H+", "H+"),
            SETUP,
            shots=shots,
            recoil=(1.5, 1.0, 0.5),
            noise_per_shot=noise_per_shot,
            seed=number,
        )
        delay = np.resize([0.0, 50.0], shots)
        hits: Hits = replace(run.hits, tags={"delay_fs": delay})
        name = f"run{number}"
        hit_writers()["hdf5"].write(Path(f"{name}.h5"), iter([hits]), Places(slots=24), meta)
        paths.append(Path(f"{name}.events.h5"))
        reduce([f"{name}.h5"], out=paths[-1])
    return paths


def test_rows_shots_and_tags_follow_each_other(runs: list[Path]) -> None:
    joined = join_files(runs, "both.events.h5")
    one, other = (read_events(path)[0] for path in runs)
    both, record = read_events(joined.file)
    assert joined.rows == (len(one), len(other))
    np.testing.assert_array_equal(both.event_id, np.arange(len(both)))
    np.testing.assert_array_equal(both.momentum, np.concatenate([one.momentum, other.momentum]))
    expected = np.concatenate([one.tags["shot"], other.tags["shot"] + SHOTS[0]])
    np.testing.assert_array_equal(both.tags["shot"], expected)
    np.testing.assert_array_equal(both.tags["run"], np.repeat([0, 1], joined.rows))
    assert both.detector is not None
    shots = read_shots(joined.file)
    assert len(shots["shot"]) == sum(SHOTS)
    np.testing.assert_array_equal(shots["shot"], np.arange(sum(SHOTS)))
    np.testing.assert_array_equal(both.tags["delay_fs"], shots["delay_fs"][both.tags["shot"]])
    assert both.meta["summary"]["shots"] == sum(SHOTS)
    assert set(record.inputs) == {str(path) for path in runs}


def test_that_false_coincidences_were_looked_for_is_kept_where_none_was_drawn(
    runs: list[Path],
) -> None:
    none = []
    for path in runs:
        false = read_events(path)[0].false
        assert false is not None
        none.append(changed(path, f"none-{path.name}", false=false.select(np.arange(0))))
    both = read_events(join_files(none, "both.events.h5").file)[0]
    assert both.false is not None
    assert len(both.false) == 0


def test_false_coincidences_are_joined_with_their_shots(working_folder: Path) -> None:
    runs = made(noise_per_shot=6.0)
    one, other = (read_events(path)[0].false for path in runs)
    both = read_events(join_files(runs, "both.events.h5").file)[0].false
    assert one is not None
    assert other is not None
    assert both is not None
    assert len(one) > 0
    assert len(other) > 0
    assert both.weight.sum() == pytest.approx(one.weight.sum() + other.weight.sum())
    assert both.source is not None
    assert other.source is not None
    np.testing.assert_array_equal(both.source[len(one) :], other.source + SHOTS[0])


def changed(path: Path, name: str, **changes: Any) -> Path:
    table, record = read_events(path)
    write_events(name, replace(table, **changes), record)
    return Path(name)


def test_other_setups_gates_and_tags_are_refused_with_what_differs(runs: list[Path]) -> None:
    table = read_events(runs[1])[0]
    setup = SETUP.model_copy(
        update={"calibration": SETUP.calibration.model_copy(update={"time_zero_ns": 12.0})}
    )
    later = {**table.meta, "setup": {**setup.model_dump(mode="json"), "name": "another name"}}
    gated = {**table.meta, "gates": [{"gate": "a", "statement": "ker > 1", "stage": "reduce"}]}
    tags = {name: column for name, column in table.tags.items() if name != "delay_fs"}
    cases = (
        ({"meta": later}, "setup .* calibration -> time_zero_ns: 0.0 and 12.0. Reduce the runs"),
        ({"meta": gated}, "its gates are ker > 1, those of .* none"),
        ({"meta": {**table.meta, "frame": {}}}, "aligned"),
        ({"tags": tags, "false": None}, "tag 'delay_fs' is missing in other.events.h5"),
        ({"detector": None, "false": None}, "only one of it and .* times of flight"),
    )
    for changes, words in cases:
        other = changed(runs[1], "other.events.h5", **changes)
        with pytest.raises(InputFileError, match=words):
            join_files([runs[0], other], "both.events.h5")
    assert not Path("both.events.h5").exists()
    bare = Coincidences.of(["O+", "H+"], np.ones((3, 2, 3)), meta={"channel": {}})
    write_events("two.events.h5", bare, Provenance.of("test"))
    with pytest.raises(InputFileError, match=r"it has O\+, H\+, and"):
        join_files([runs[0], "two.events.h5"], "both.events.h5")
    for few in (runs[:1], [runs[0], runs[0]]):
        with pytest.raises(UsageError, match="two or more different"):
            join_files(few, "both.events.h5")
    with pytest.raises(UsageError):
        join_files(runs, runs[0])


def test_tags_that_some_lack_can_be_left_out(runs: list[Path]) -> None:
    table = read_events(runs[1])[0]
    tags = {name: column for name, column in table.tags.items() if name != "delay_fs"}
    other = changed(runs[1], "other.events.h5", tags=tags, false=None)
    progress = CollectingProgress()
    joined = join_files([runs[0], other], "b.events.h5", common_tags=True, progress=progress)
    assert joined.left_out == ("delay_fs",)
    assert set(read_events(joined.file)[0].tags) == {"hits", "run", "shot"}
    assert read_shots(joined.file) == {}
    assert any("some files do not hold them" in text for text in progress.said)


def test_files_without_tags_of_shots_lose_none(runs: list[Path]) -> None:
    others = [changed(path, f"plain{place}.events.h5") for place, path in enumerate(runs)]
    progress = CollectingProgress()
    join_files(others, "b.events.h5", progress=progress)
    assert not any("left out" in text for text in progress.said)


def test_a_run_that_is_in_two_files_is_said_and_stays_said(runs: list[Path]) -> None:
    again = changed(runs[0], "again.events.h5")
    rows = len(read_events(again)[0])
    progress = CollectingProgress()
    join_files([*runs, again], "b.events.h5", progress=progress)
    warning = (
        f"{rows} of {rows} coincidences of again.events.h5 are in the files before it as well: "
        "a run counts twice, and errors are too small"
    )
    assert progress.warned == [warning]
    assert read_events("b.events.h5")[0].meta["warnings"][-1] == warning
    progress = CollectingProgress()
    join_files(runs, "c.events.h5", progress=progress)
    assert progress.warned == []


def test_differences_are_named_by_their_keys() -> None:
    one = {"name": "a", "x": {"y": [1, {"z": 2}], "same": 3}}
    other = {"name": "b", "x": {"y": [1, {"z": 5}], "same": 3}, "new": 1}
    assert list(differences(one, other)) == ["x -> y -> entry 2 -> z: 2 and 5", "new: None and 1"]
    assert list(differences({"r": [1]}, {"r": [1, 2]})) == ["r: 1 and 2 entries"]
