"""Aligning a file block by block gives what aligning all of it in memory gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from molexa_core.base.errors import InputFileError, NoEventsError
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.settings import load_channel
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences, DetectorValues
from molexa_core.io.results.events import EventsFile, read_events, write_events
from molexa_core.pipeline.chain import align as module
from molexa_core.pipeline.chain.align import align
from tests.fakes.hdf5_edits import edited

EVENTS = 700


def events(ions: tuple[str, ...], seed: int, width: float = 25.0) -> Coincidences:
    """A fixed explosion turned at random, with spread, weights and a tag; some without a frame."""
    rng = np.random.default_rng(seed)
    kept = np.array([parse_ion(name).mass for name in ions])
    body = rng.normal(0.0, 120.0, (len(ions), 3))
    turns = np.linalg.qr(rng.normal(size=(EVENTS, 3, 3)))[0]
    turns[np.linalg.det(turns) < 0, 0] *= -1.0
    momentum = np.einsum("nij,kj->nki", turns, body) + rng.normal(
        0.0, width, (EVENTS, len(ions), 3)
    )
    momentum -= (kept / kept.sum())[:, None] * momentum.sum(axis=1, keepdims=True)
    momentum[5] = 0.0
    weight = rng.choice([0.0, 0.5, 1.0], EVENTS, p=[0.1, 0.3, 0.6])
    return Coincidences(
        ions=tuple(parse_ion(name) for name in ions),
        event_id=np.arange(10, 10 + EVENTS),
        momentum=momentum,
        weight=weight,
        tags={"shot": np.arange(EVENTS) * 3},
        meta={"note": "kept"},
    )


CASES = {
    "cf4": (("C+", "F+", "F+", "F+", "F+"), {"reference": "F+", "second": "F+", "plane": "xz"}),
    "ethanol": (
        ("O+", "C+", "C+", "H+", "H+", "H+", "H+", "H+", "H+"),
        {"reference": "O+", "second": "C+", "like": "distinct"},
    ),
    "any": (("O+", "H+", "H+"), {"reference": "O+", "second": "any"}),
    "two": (("N+", "N+"), {"reference": "N+"}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("numbers", [1, 900])
def test_blocks_give_what_the_whole_gives(
    case: str, numbers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ions, options = CASES[case]
    if numbers == 1:
        monkeypatch.setitem(globals(), "EVENTS", 60)
    table = events(ions, 3)
    source = tmp_path / "run.events.h5"
    write_events(source, table, Provenance.of("made for a test"))
    whole = align(table, **options)  # type: ignore[arg-type]
    monkeypatch.setattr(module, "BLOCK_NUMBERS", numbers)
    target = tmp_path / "run.aligned.h5"
    described = align(source, out=target, **options)  # type: ignore[arg-type]
    found, record = read_events(target)
    assert [step["command"] for step in record.history] == ["made for a test"]
    np.testing.assert_array_equal(found.event_id, whole.table.event_id)
    np.testing.assert_array_equal(found.tags["shot"], whole.table.tags["shot"])
    np.testing.assert_array_equal(found.weight, whole.table.weight)
    np.testing.assert_allclose(found.momentum, whole.table.momentum, rtol=0, atol=1e-10)
    assert (described.roles, described.warnings) == (whole.roles, whole.warnings)
    np.testing.assert_array_equal(described.flag, whole.flag)
    assert described.flag[5] != 0
    assert found.meta["note"] == "kept"
    assert found.meta["roles"] == list(whole.roles)
    for name, value in whole.summary.items():
        close = isinstance(value, float)
        expected = pytest.approx(value, rel=1e-12) if close else value
        assert found.meta["align"][name] == expected, name


def test_nothing_but_the_result_is_left_in_the_folder(tmp_path: Path) -> None:
    source = tmp_path / "run.events.h5"
    write_events(source, events(CASES["cf4"][0], 1), Provenance.of("made for a test"))
    align(source, channel=None, reference="F+", second="F+", out=tmp_path / "run.aligned.h5")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.aligned.h5", "run.events.h5"]


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    channel = load_channel("water")
    line = np.zeros((4, 3, 3))
    line[:, :, 0] = [1.0, -2.0, 1.0]
    source = tmp_path / "run.events.h5"
    table = Coincidences.of(channel.wanted_ions, line)
    write_events(source, table, Provenance.of("made for a test"))
    with pytest.raises(NoEventsError, match="none of 4 events has a molecular frame .4 collinear"):
        align(source, out=tmp_path / "run.aligned.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["run.events.h5"]


def test_rows_that_are_missing_and_values_that_are_none(tmp_path: Path) -> None:

    source = tmp_path / "run.events.h5"
    write_events(source, events(CASES["any"][0], 1), Provenance.of("made for a test"))
    with edited(source) as file:
        file["events/momentum"][600, 1, 2] = np.nan
    with pytest.raises(InputFileError, match="momenta that are not numbers"):
        align(source, reference="O+", out=tmp_path / "run.aligned.h5")

    with edited(source) as file:
        file["events/weight"].resize(650, axis=0)
    with pytest.raises(InputFileError, match="weight has 650 rows, but event_id has 700"):
        EventsFile(source)


@pytest.mark.parametrize("case", CASES)
def test_detector_values_follow_their_ions_through_the_assignment(
    case: str, tmp_path: Path
) -> None:
    """Each ion carries the size of its momentum as its "time", which no rotation changes."""
    ions, options = CASES[case]
    table = events(ions, 4)
    size = np.linalg.norm(table.momentum, axis=2)
    table = replace(table, detector=DetectorValues(size, 0.1 * size, -size))
    source = tmp_path / "run.events.h5"
    write_events(source, table, Provenance.of("made for a test"))
    target = tmp_path / "run.aligned.h5"
    found = align(source, recoil="keep", out=target, **options).table  # type: ignore[arg-type]
    assert found.detector is not None
    after = np.linalg.norm(found.momentum, axis=2)
    if len(ions) == 2:
        assert (after <= found.detector.tof_ns + 1e-9).all()  # only the part along x is kept
    else:
        np.testing.assert_allclose(found.detector.tof_ns, after, rtol=1e-12)
    np.testing.assert_allclose(found.detector.x_mm, 0.1 * found.detector.tof_ns)
