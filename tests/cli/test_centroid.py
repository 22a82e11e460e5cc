from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd

from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences
from molexa_core.io.results.channel_csv import read_channel_csv
from molexa_core.io.results.events import write_events
from molexa_core.pipeline.chain.align import align
from tests.cli.conftest import Run
from tests.fakes.chain import momenta

GOLDEN = Path(__file__).parent / "golden"


def aligned(folder: Path, events: int = 100) -> Path:
    table = align(momenta("water", events, 2), reference="O+", second="H+", plane="xz").table
    path = folder / "run.aligned.h5"
    write_events(path, table, Provenance.of("molexa align"))
    return path


def test_golden_output(molexa: Run, tmp_path: Path) -> None:
    aligned(tmp_path)
    done = molexa("centroid", "--out", "mine.csv")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (GOLDEN / "centroid.txt").read_text(encoding="utf-8")
    assert done.stderr.splitlines() == ["reading run.aligned.h5", "written to mine.csv"]
    table, provenance = read_channel_csv(tmp_path / "mine.csv")
    assert list(table["ion"]) == ["O+", "H+", "H+"]
    assert provenance is not None
    assert 0.9 < table.attrs["energy"]["ratio"] < 1.0
    assert [step["command"] for step in provenance.history] == ["molexa align"]


def test_json(molexa: Run, tmp_path: Path) -> None:
    aligned(tmp_path, events=1)
    values = json.loads(molexa("centroid", "-q", "--json").stdout)
    assert values["file"] == "channel.csv"
    assert [ion["ion"] for ion in values["ions"]] == ["O+", "H+", "H+"]
    assert values["ions"][0]["px_err"] is None, "one event has no error on the mean"
    # One event, but both choices of the second hydrogen: their mean has a little less energy.
    assert 0.9 < values["energy"]["ratio"] < 1.0
    assert (
        values["energy"]["ratio"] == values["energy"]["of_means_ev"] / values["energy"]["mean_ev"]
    )


def test_csv_has_all_digits_and_no_spaces(molexa: Run, tmp_path: Path) -> None:
    aligned(tmp_path)
    done = molexa("centroid", "--csv", "--out", "mine.csv")
    printed = pd.read_csv(io.StringIO(done.stdout))
    written, _ = read_channel_csv(tmp_path / "mine.csv")
    assert list(printed.columns) == list(written.columns)
    np.testing.assert_allclose(printed["px"], written["px"], rtol=1e-10)
    assert " " not in done.stdout.splitlines()[1].split(",")[1]


def test_no_events_is_an_error(molexa: Run, tmp_path: Path) -> None:
    table = Coincidences.of(["O+", "H+"], np.empty((0, 2, 3)))
    write_events(tmp_path / "a.aligned.h5", table, Provenance.of("molexa align"))
    done = molexa("centroid")
    assert done.returncode == 1
    assert "no events to average" in done.stderr
    assert not (tmp_path / "channel.csv").exists()


def test_momenta_that_were_not_aligned_are_pointed_out(molexa: Run, tmp_path: Path) -> None:
    write_events(tmp_path / "run.events.h5", momenta("water", 5, 1), Provenance.of("test"))
    done = molexa("centroid", "run.events.h5")
    assert done.returncode == 0
    assert "not made by molexa align" in done.stderr
