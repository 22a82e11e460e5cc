"""Structure against delay: OCS whose bonds grow, under static background, through the files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.pump_probe import BONDS, virtual_run
from molexa_core.base.fields import TAG_DELAY
from molexa_core.base.options.gate_options import Selection, SeriesOptions
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.io.results.events import read_events, read_shots
from molexa_core.io.results.series_file import read_series
from molexa_core.pipeline.chain.align import align
from molexa_core.pipeline.chain.centroid import centroid
from molexa_core.pipeline.chain.momentum_series import momentum_series
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.reconstruction.structure_series import structure_series

DELAYS, SHOTS = 3, 5000
OPTIONS = SeriesOptions(by=TAG_DELAY, background=["pump_laser == 0"])

PUMPED = Selection(where=["pump_laser == 1"])


@pytest.mark.slow
def test_bonds_that_grow_are_followed_under_static_background(working_folder: Path) -> None:
    truth = virtual_run(working_folder, 3, DELAYS, SHOTS, share=0.6)
    events = Path("run.events.h5")
    reduce(["run.h5"], channel="ocs.yaml", out=events)
    values = structure_series(events, OPTIONS, out="series.json")
    again, record = read_series("series.json")
    assert again["bins"] == json.loads(json.dumps(values["bins"]))
    assert record.settings["series"] == {"by": TAG_DELAY, "background": ["pump_laser == 0"]}
    pulls = []
    for step, row in enumerate(values["bins"]):
        assert row["shots"] == SHOTS
        assert abs(row["signal"] / row["events"] - 0.4) < 0.2
        found = {one["of"]: one for one in row["quantities"]}
        for bond, (name, _, _) in enumerate(BONDS):
            one = found[name]
            assert one["bond"]
            miss = one["mean"] * BOHR_ANGSTROM - truth[step, bond]
            pulls.append(miss / (one["statistical"] * BOHR_ANGSTROM))
    assert np.abs(pulls).max() < 4.0
    # not subtracting the background is wrong by far: the stretched bond of the last delay
    plain = structure_series(
        events, SeriesOptions(by=TAG_DELAY), out="plain.series.json", selection=PUMPED
    )
    of = {one["of"]: one for one in plain["bins"][-1]["quantities"]}["C+-S+"]
    assert of["mean"] * BOHR_ANGSTROM < truth[-1, 1] - 10 * of["statistical"] * BOHR_ANGSTROM
    text = Path("series.csv").read_text().splitlines()
    assert text[0].startswith("# molexa series: {")
    assert text[1].startswith("delay_fs (fs),low,high,events,signal,signal_error,ker (eV)")
    assert len(text) == 2 + DELAYS


def test_every_shot_is_counted_and_travels_through_align(working_folder: Path) -> None:
    virtual_run(working_folder, 4, 2, 1500, share=0.6)
    events = Path("run.events.h5")
    summary = reduce(["run.h5"], channel="ocs.yaml", out=events).summary
    shots = read_shots(events)
    assert {len(column) for column in shots.values()} == {summary.shots}
    assert [(shots[TAG_DELAY] == at).sum() for at in (0.0, 20.0)] == [1500 + 750, 1500 + 750]
    assert (shots["pump_laser"] == 0).sum() == 1500
    table = read_events(events)[0]
    np.testing.assert_array_equal(table.tags["hits"], shots["hits"][table.tags["shot"]])
    aligned = Path("run.aligned.h5")
    align(events, out=aligned)
    for name, column in read_shots(aligned).items():
        np.testing.assert_array_equal(column, shots[name])


def test_mean_momenta_in_bins_are_those_of_the_molecules_without_background(
    working_folder: Path,
) -> None:
    """The kinetic energy of the signal falls as the bonds grow; without background it hardly does.

    Every bin is that of a file of its events alone where nothing is subtracted.
    """
    virtual_run(working_folder, 5, 2, 4000, share=0.6)
    events = Path("run.events.h5")
    reduce(["run.h5"], channel="ocs.yaml", mixing=False, out=events)
    aligned = Path("run.aligned.h5")
    align(events, out=aligned)
    both = momentum_series(aligned, OPTIONS)
    plain = momentum_series(
        aligned, SeriesOptions(by=TAG_DELAY), out="plain.series.json", selection=PUMPED
    )
    falls = [one["bins"][0]["ker_ev"] - one["bins"][1]["ker_ev"] for one in (both, plain)]
    assert falls[0] > 2.0 * falls[1] > 0.0
    only = Selection(where=["pump_laser == 1", "delay_fs == 20"])
    rows = centroid(aligned, selection=only)
    found = {one["of"]: one for one in plain["bins"][1]["quantities"]}
    for label, value, error in zip(rows["ion"], rows["px"], rows["px_err"], strict=True):
        assert found[f"{label} px"]["mean"] == pytest.approx(value, abs=1e-9)
        assert found[f"{label} px"]["statistical"] == pytest.approx(error, abs=1e-9)
