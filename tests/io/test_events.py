from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from molexa_core.base.errors import InputFileError, OutputError, UsageError
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences, DetectorValues
from molexa_core.io.results.events import (
    EventsFile,
    EventsWriter,
    read_events,
    read_spectra,
    write_events,
)
from tests.fakes.hdf5_edits import edited

Change = Callable[[h5py.File], None]


@pytest.fixture
def table(rng: np.random.Generator) -> Coincidences:
    return Coincidences.of(
        ["O+", "H+", "H+"],
        rng.normal(0, 40, (500, 3, 3)),
        event_id=np.arange(500) * 3,
        tags={"shot": np.arange(500) * 7, "timestamp": np.arange(500) * 0.5},
        meta={"channel": {"name": "water"}, "summary": {"shots": 10, "text": "x" * 100_000}},
    )


@pytest.fixture
def spectra() -> dict[str, Spectrum]:
    edges = np.linspace(0.0, 5.0, 11)
    return {
        "tof": Spectrum(np.arange(10), (edges,), ("time of flight",), ("ns",), {"H+ first": 1.5}),
        "detector_image": Spectrum(
            np.arange(40).reshape(10, 4),
            (edges, np.linspace(-1, 1, 5)),
            ("x", "y"),
            ("mm", "mm"),
        ),
    }


@pytest.fixture
def path(tmp_path: Path, table: Coincidences, spectra: dict[str, Spectrum]) -> Path:
    file = tmp_path / "run.events.h5"
    write_events(file, table, Provenance.of("test", seed=4), spectra=spectra)
    return file


def test_a_table_comes_back_as_it_was(path: Path, table: Coincidences) -> None:
    back, provenance = read_events(path)
    assert back.ions == table.ions
    for name in ("event_id", "momentum", "weight"):
        np.testing.assert_array_equal(getattr(back, name), getattr(table, name))
    assert set(back.tags) == set(table.tags)
    for name, column in table.tags.items():
        np.testing.assert_array_equal(back.tags[name], column)
    assert back.meta == table.meta
    assert (provenance.command, provenance.seed) == ("test", 4)


def test_false_coincidences_come_back_with_their_sources(
    tmp_path: Path, table: Coincidences, rng: np.random.Generator
) -> None:
    weight = rng.normal(0.1, 0.2, 500)  # some are negative
    source = rng.integers(0, 1000, (500, 3))
    false = dataclasses.replace(table, weight=weight, source=source, meta={})
    both = dataclasses.replace(table, false=false)
    file = tmp_path / "mixed.events.h5"
    with EventsWriter(file, both.ions) as writer:
        writer.append(both)
        writer.append(both)
        writer.scale_false(2.0)
        writer.finish(Provenance.of("test"))
    back, _ = read_events(file)
    assert back.false is not None
    assert len(back) == len(back.false) == 1000
    np.testing.assert_allclose(back.false.weight[500:], 2.0 * weight)
    np.testing.assert_array_equal(back.false.source[500:], source)
    events = EventsFile(file)
    assert events.n_false == 1000
    assert sum(len(chunk) for chunk in events.chunks(300, false=True)) == 1000
    assert all(chunk.source is None for chunk in events.chunks(300))
    kept = back.select(np.arange(10))
    assert kept.false is back.false
    with pytest.raises(UsageError, match="source"), EventsWriter(file, both.ions) as writer:
        writer.append_false(table)


def test_spectra_come_back_as_they_were(path: Path, spectra: dict[str, Spectrum]) -> None:
    back = read_spectra(path)
    assert set(back) == set(spectra)
    for name, spectrum in spectra.items():
        np.testing.assert_array_equal(back[name].counts, spectrum.counts)
        for ours, theirs in zip(back[name].edges, spectrum.edges, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert back[name].labels == spectrum.labels
        assert back[name].units == spectrum.units
        assert back[name].marks == spectrum.marks


def test_blocks_appended_one_by_one_make_the_same_file(tmp_path: Path, table: Coincidences) -> None:
    with EventsWriter(tmp_path / "blocks.h5", table.ions) as writer:
        for start in range(0, 500, 77):
            writer.append(table.select(np.arange(start, min(start + 77, 500))))
        assert writer.rows == 500
        assert not (tmp_path / "blocks.h5").exists()
        writer.finish(Provenance.of("test"), meta=table.meta)
    back, _ = read_events(tmp_path / "blocks.h5")
    np.testing.assert_array_equal(back.momentum, table.momentum)
    np.testing.assert_array_equal(back.tags["shot"], table.tags["shot"])


def test_other_programs_can_read_it(path: Path, table: Coincidences) -> None:
    """Plain h5py and pandas, no molexa; every dataset tells its unit."""
    with h5py.File(path) as file:
        events = file["events"]
        frame = pd.DataFrame(events["momentum"][:, 0], columns=["x", "y", "z"])
        frame["shot"] = events["tag/shot"][:]
        assert events["momentum"].attrs["units"] == "a.u."
        assert events["momentum"].chunks is not None
        assert events["momentum"].maxshape[0] is None
        assert events["momentum"].compression == "gzip"
        assert list(events["ion"].asstr()) == ["O+", "H+", "H+"]
        assert json.loads(file["meta"].attrs["provenance"])["command"] == "test"
        without: list[str] = []
        file.visititems(
            lambda name, item: (
                without.append(name)
                if isinstance(item, h5py.Dataset) and "units" not in item.attrs
                else None
            )
        )
    np.testing.assert_array_equal(frame[["x", "y", "z"]].to_numpy(), table.momentum[:, 0])
    assert without == []


def test_nothing_is_left_behind_by_an_error(tmp_path: Path, table: Coincidences) -> None:
    def interrupted() -> None:
        with EventsWriter(tmp_path / "a.h5", table.ions) as writer:
            writer.append(table)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with (
        pytest.raises(UsageError, match="not finished"),
        EventsWriter(tmp_path / "a.h5", table.ions) as writer,
    ):
        writer.append(table)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path: Path, table: Coincidences) -> None:
    with pytest.raises(OutputError, match="folder does not exist"):
        write_events(tmp_path / "no" / "a.h5", table, Provenance.of("test"))


def test_rows_of_other_ions_or_tags_are_refused(tmp_path: Path, table: Coincidences) -> None:
    other = Coincidences.of(["C+", "H+", "H+"], table.momentum)
    with (
        pytest.raises(UsageError, match="ions C"),
        EventsWriter(tmp_path / "a.h5", table.ions) as writer,
    ):
        writer.append(other)
    bare = Coincidences.of(table.ions, table.momentum)
    with EventsWriter(tmp_path / "a.h5", table.ions) as writer:
        writer.append(table)
        with pytest.raises(UsageError, match="cannot append tags none"):
            writer.append(bare)
        writer.finish(Provenance.of("test"))


def replace(file: h5py.File, name: str, values: object) -> None:
    del file[name]
    file[name] = values


def huge(file: h5py.File) -> None:
    """Claim a thousand million events without storing any."""
    for name, shape in (("event_id", ()), ("weight", ()), ("momentum", (3, 3))):
        file[f"events/{name}"].resize(10**9, axis=0)
        assert shape == file[f"events/{name}"].shape[1:]


DAMAGES: dict[str, tuple[Change, str]] = {
    "no events": (lambda f: f.__delitem__("events"), "the file holds no coincidences, but meta"),
    "no momenta": (lambda f: f.__delitem__("events/momentum"), "events/momentum is missing"),
    "misspelt": (
        lambda f: f.move("events/momentum", "events/momenta"),
        "Did you mean momenta",
    ),
    "no meta": (lambda f: f.__delitem__("meta"), "meta is missing"),
    "no provenance": (
        lambda f: f["meta"].attrs.__delitem__("provenance"),
        "attribute provenance of meta is missing",
    ),
    "bad provenance": (
        lambda f: f["meta"].attrs.__setitem__("provenance", "{"),
        "not readable as JSON",
    ),
    "other provenance": (
        lambda f: f["meta"].attrs.__setitem__("provenance", '{"a": 1}'),
        "not a provenance record",
    ),
    "newer format": (lambda f: f["meta"].attrs.__setitem__("format", 99), "format 99 is not known"),
    "text as format": (
        lambda f: f["meta"].attrs.__setitem__("format", "one"),
        "format one is not known",
    ),
    "unknown ion": (lambda f: replace(f, "events/ion", ["O+", "H+", "Q+"]), "unknown element 'Q'"),
    "fewer ions": (lambda f: replace(f, "events/ion", ["O+", "H+"]), r"expected \(500, 2, 3\)"),
    "numbers as ions": (lambda f: replace(f, "events/ion", [1, 2, 3]), "does not hold strings"),
    "short column": (lambda f: f["events/weight"].resize(9, axis=0), "weight has 9 rows"),
    "text as momenta": (
        lambda f: replace(f, "events/momentum", [["a"]]),
        "events/momentum holds values of type object",
    ),
    "flat momenta": (
        lambda f: replace(f, "events/momentum", np.zeros((500, 9))),
        "expected 3 axes",
    ),
    "other unit": (
        lambda f: f["events/momentum"].attrs.__setitem__("units", "kg m/s"),
        "is in 'kg m/s', expected 'a.u.'",
    ),
    "not a number": (
        lambda f: f["events/momentum"].__setitem__((3, 1), np.nan),
        "1 events have momenta that are not numbers",
    ),
    "negative weight": (lambda f: f["events/weight"].__setitem__(0, -1.0), "weights are negative"),
    "group as column": (
        lambda f: (f.__delitem__("events/weight"), f.create_group("events/weight")),
        "is a group, not a dataset",
    ),
    "huge": (huge, "claims .* bytes"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_told_in_one_sentence(path: Path, name: str) -> None:
    change, message = DAMAGES[name]
    with edited(path) as file:
        change(file)
    with pytest.raises(InputFileError, match=message) as caught:
        read_events(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_spectra_are_told(path: Path) -> None:
    with edited(path) as file:
        replace(file, "spectra/tof/edges0", np.zeros(4))
    with pytest.raises(InputFileError, match="spectra/tof: axis 0 has 10 bins"):
        read_spectra(path)


def test_files_that_are_not_events(tmp_path: Path, path: Path) -> None:
    with pytest.raises(InputFileError, match="no such file"):
        read_events(tmp_path / "no.h5")
    text = tmp_path / "text.h5"
    text.write_text("event_id,momentum\n")
    with pytest.raises(InputFileError, match="not an HDF5 file"):
        read_events(text)
    text.write_bytes(b"")
    with pytest.raises(InputFileError, match="an empty file"):
        read_events(text)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_truncated_files(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputFileError, match="truncated or damaged"):
        read_events(path)


def test_detector_values_come_back_and_may_be_missing(tmp_path: Path, table: Coincidences) -> None:
    values = np.arange(1500.0).reshape(500, 3)
    full = dataclasses.replace(
        table, detector=DetectorValues(values + 1000.0, values / 50.0, -values / 60.0)
    )
    path = tmp_path / "run.events.h5"
    write_events(path, full, Provenance.of("test"))
    whole = read_events(path)[0]
    chunks = Coincidences.concatenate(list(EventsFile(path).chunks(77)))
    for back in (whole, chunks):
        assert back.detector is not None
        assert full.detector is not None
        for name, column in full.detector.columns.items():
            np.testing.assert_array_equal(back.detector.columns[name], column)
    with h5py.File(path) as file:
        assert file["events/tof_ns"].attrs["units"] == "ns"
    old = tmp_path / "old.events.h5"
    write_events(old, table, Provenance.of("test"))
    assert read_events(old)[0].detector is None
    with EventsWriter(tmp_path / "b.h5", table.ions) as writer:
        writer.append(full)
        with pytest.raises(UsageError, match="some rows have detector values"):
            writer.append(table)
        writer.finish(Provenance.of("test"))


def test_a_detector_column_that_lacks_or_does_not_fit_is_refused(
    tmp_path: Path, table: Coincidences
) -> None:
    full = dataclasses.replace(table, detector=DetectorValues(*[np.ones((500, 3))] * 3))
    path = tmp_path / "run.events.h5"
    write_events(path, full, Provenance.of("test"))

    with edited(path) as file:
        del file["events/x_mm"]
    with pytest.raises(InputFileError, match="x_mm is missing"):
        read_events(path)


def test_another_kind_of_file_is_sent_to_the_stage_before(tmp_path: Path) -> None:
    run = tmp_path / "run.h5"
    with h5py.File(run, "w") as file:
        file["hits/x"] = np.zeros(3)
        file["shots/n_hits"] = np.ones(3, int)
    for read in (read_events, EventsFile):
        with pytest.raises(InputFileError, match="holds no coincidences, but hits, shots") as told:
            read(run)
        assert "a raw run is reduced first" in str(told.value)
