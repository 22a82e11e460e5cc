from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from molexa_core.base.errors import ComputationError, InputFileError, NoEventsError, UsageError
from molexa_core.base.fields import SPECTRUM_PIPICO, SPECTRUM_TOF, TAG_HITS, TAG_SHOT
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.progress import CollectingProgress
from molexa_core.base.settings import Channel
from molexa_core.base.tables import Coincidences, Hits
from molexa_core.base.units import HARTREE_EV
from molexa_core.pipeline.chain.reduce import Reduction, reduce
from molexa_core.reduction.momentum import hit_momenta
from tests.fakes.chain import SPECTRA_OF_REDUCE
from tests.fakes.root_runs import FakeRun, fly, make_channel, make_run, make_setup

IONS = ("O+", "H+", "H+")
WATER = make_channel(("O+", 1), ("H+", 2))
SETUP = make_setup()
RECOIL = (1.8, 0.9, 0.6)


@pytest.fixture(scope="module")
def run() -> FakeRun:
    return make_run(
        IONS, SETUP, shots=20_000, per_shot=0.6, efficiency=0.7, noise_per_shot=2.0, recoil=RECOIL
    )


@pytest.fixture(scope="module")
def reduction(run: FakeRun) -> Reduction:
    return reduce(run.chunks(6000), WATER, SETUP)


def true_molecules(run: FakeRun, table: Coincidences) -> np.ndarray:
    """(n) the molecule that all ions of a coincidence came from, -1 if there is none."""
    by_shot = defaultdict(list)
    for molecule, shot in enumerate(run.shot):
        by_shot[int(shot)].append(molecule)
    result = np.full(len(table), -1)
    for row, shot in enumerate(table.tags[TAG_SHOT]):
        ours = np.sort(table.momentum[row], axis=0)
        for molecule in by_shot[int(shot)]:
            if np.allclose(ours, np.sort(run.momenta[molecule], axis=0), atol=1e-6):
                result[row] = molecule
    return result


def complete_molecules(run: FakeRun, limit: float) -> np.ndarray:
    """(molecules) whether all ions were detected and are below the momentum limit."""
    seen = np.bincount(run.molecule[run.molecule >= 0], minlength=len(run.shot))
    below = (np.linalg.norm(run.momenta, axis=2) <= limit).all(axis=1)
    return (seen == run.momenta.shape[1]) & below


def test_known_molecules_come_back_with_their_momenta(run: FakeRun, reduction: Reduction) -> None:
    molecules = true_molecules(run, reduction.table)
    found = np.unique(molecules[molecules >= 0])
    complete = np.flatnonzero(complete_molecules(run, 120.0))
    assert np.isin(found, complete).all()
    assert len(found) > 0.985 * len(complete)  # three standard deviations on each axis keep 99.2 %
    heavy = reduction.table.momentum[molecules >= 0, 0]
    np.testing.assert_allclose(heavy, run.momenta[molecules[molecules >= 0], 0], atol=1e-7)


def test_every_ion_keeps_its_hit_and_every_row_the_hits_of_its_shot(
    run: FakeRun, reduction: Reduction
) -> None:
    """The momenta computed anew from the stored hits are the stored momenta."""
    table = reduction.table
    assert table.detector is not None
    for column, ion in enumerate(table.ions):
        again = hit_momenta(
            table.detector.x_mm[:, column],
            table.detector.y_mm[:, column],
            table.detector.tof_ns[:, column],
            ion,
            SETUP.spectrometer.regions,
            jet_velocity_m_per_s=SETUP.jet.velocity_m_per_s,
        )
        np.testing.assert_allclose(again, table.momentum[:, column], atol=1e-9)
    counts = np.concatenate([chunk.counts for chunk in run.chunks(6000)])
    assert (table.tags[TAG_HITS] <= counts[table.tags[TAG_SHOT]]).all()
    assert (table.tags[TAG_HITS] >= 3).all()


def test_the_gate_finds_the_known_widths(reduction: Reduction) -> None:
    for axis, width in zip(reduction.summary.momentum_sums, RECOIL, strict=True):
        assert axis.sigma is not None
        assert axis.sigma_error is not None
        assert abs(axis.sigma - width) < 4 * axis.sigma_error + 0.02 * width
        assert axis.gate_half_width == pytest.approx(3 * axis.sigma)


def test_the_purity_estimate_agrees_with_the_truth() -> None:
    run = make_run(
        IONS, SETUP, shots=60_000, per_shot=0.8, efficiency=0.6, noise_per_shot=2.5,
        recoil=(8.0, 6.0, 4.0), seed=3,
    )  # fmt: skip
    result = reduce(run.chunks(30_000), WATER, SETUP, mixing=False)
    assert result.summary.purity is not None
    false = int((true_molecules(run, result.table) < 0).sum())
    assert false > 200
    truth = 1 - false / len(result.table)
    assert abs(result.summary.purity.purity - truth) < 2 * result.summary.purity.purity_error
    assert result.summary.purity.purity_error < 0.02


@pytest.mark.parametrize("shots", [1, 999, 20_000])
def test_the_size_of_chunks_does_not_matter(run: FakeRun, reduction: Reduction, shots: int) -> None:
    chunks = run.chunks(shots) if shots > 1 else list(run.hits.in_chunks(7))
    again = reduce(chunks, WATER, SETUP)
    np.testing.assert_array_equal(again.table.momentum, reduction.table.momentum)
    np.testing.assert_array_equal(again.table.event_id, reduction.table.event_id)
    np.testing.assert_array_equal(again.table.tags[TAG_SHOT], reduction.table.tags[TAG_SHOT])
    assert again.summary.as_dict() == reduction.summary.as_dict()
    for name in SPECTRA_OF_REDUCE:
        np.testing.assert_array_equal(again.spectra[name].counts, reduction.spectra[name].counts)


def test_rows_carry_shot_number_and_tags(run: FakeRun, reduction: Reduction) -> None:
    table = reduction.table
    assert len(np.unique(table.event_id)) == len(table)
    np.testing.assert_allclose(table.tags["timestamp"], table.tags[TAG_SHOT] * 1e-3)
    assert table.meta["channel"] == WATER.model_dump(mode="json")
    assert table.meta["summary"] == reduction.summary.as_dict()
    assert reduction.summary.shots == run.hits.n_shots
    assert reduction.summary.hits == run.hits.n_hits
    assert reduction.summary.coincidences == len(table)


def test_spectra_count_what_there_is(run: FakeRun, reduction: Reduction) -> None:
    spectra = reduction.spectra
    assert set(spectra) == set(SPECTRA_OF_REDUCE)
    assert spectra[SPECTRUM_TOF].total == run.hits.n_hits
    counts = run.hits.counts
    assert spectra[SPECTRUM_PIPICO].total <= (counts * (counts - 1) // 2).sum()
    pairs = spectra[SPECTRUM_PIPICO].counts
    assert np.tril(pairs, -1).sum() == 0
    assert spectra["ker"].total > 0.999 * len(reduction.table)
    total = reduction.table.momentum_sum()
    for axis, name in enumerate("xyz"):
        spectrum = spectra[f"momentum_sum_{name}"]
        low, high = spectrum.marks["gate low"], spectrum.marks["gate high"]
        assert low <= total[:, axis].min()
        assert total[:, axis].max() <= high
        assert spectrum.total <= reduction.summary.combinations


def test_kinetic_energy_release_of_a_fixed_geometry(rng: np.random.Generator) -> None:
    """Two ions that always share 20 eV, smeared by 5 %: peak, width and mean come out."""
    ions = [parse_ion("N+")] * 2
    energy = rng.normal(20.0, 1.0, 4000) / HARTREE_EV
    size = np.sqrt(energy * ions[0].mass)
    direction = rng.normal(size=(4000, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    momenta = (size[:, None] * direction)[:, None] * np.array([1.0, -1.0])[None, :, None]
    momenta = momenta + rng.normal(0.0, 0.2, (4000, 1, 3))
    x, y, t = (values.reshape(-1) for values in fly(momenta, ions, SETUP))
    hits = Hits(0, np.arange(4001) * 2, x, y, t, np.zeros(8000, np.int16))
    result = reduce([hits], make_channel(("N+", 2), max_momentum=250.0), SETUP)
    ker = result.summary.ker
    assert ker.peak == pytest.approx(20.0, abs=0.15)
    assert ker.mean == pytest.approx(20.0, abs=0.06)
    assert ker.fwhm == pytest.approx(2.355, rel=0.15)
    assert ker.std == pytest.approx(1.0, rel=0.06)


def test_partial_channel_keeps_all_and_says_so(run: FakeRun) -> None:
    values = WATER.model_dump()
    values["ions"][1]["detected"] = 1
    progress = CollectingProgress()
    result = reduce(run.chunks(5000), Channel.model_validate(values), SETUP, progress=progress)
    assert [str(ion) for ion in result.table.ions] == ["O+", "H+"]
    assert result.summary.coincidences == result.summary.combinations > 1000
    assert result.summary.purity is None
    assert result.summary.momentum_sums == ()
    assert any("partial channel" in text for text in progress.said)


def test_given_half_widths_need_no_peak(run: FakeRun) -> None:
    noise = make_run(IONS, SETUP, shots=1500, per_shot=0.0, noise_per_shot=40.0)
    with pytest.raises(ComputationError, match="no peak"):
        reduce(noise.chunks(5000), WATER, SETUP)
    channel = make_channel(("O+", 1), ("H+", 2), sum_half_width=(80.0, 80.0, 80.0))
    progress = CollectingProgress()
    result = reduce(noise.chunks(5000), channel, SETUP, progress=progress)
    assert len(result.table) > 0
    assert (np.abs(result.table.momentum_sum()) <= 80.0).all()
    assert any("no peak" in text for text in progress.said)


def test_no_coincidence_is_an_error_that_names_the_windows() -> None:
    lonely = make_run(("H+", "H+", "H+"), SETUP, shots=500)
    with pytest.raises(NoEventsError, match=r"no coincidence of O\+, H\+, H\+ in 500 shots"):
        reduce(lonely.chunks(500), WATER, SETUP)


def test_bad_hits_are_left_out_and_reported(run: FakeRun, reduction: Reduction) -> None:
    x, t = run.hits.x_mm.copy(), run.hits.t_ns.copy()
    noise = np.flatnonzero(run.molecule < 0)
    x[noise[:10]], t[noise[10:25]] = np.nan, -3.0
    hits = Hits(0, run.hits.offsets, x, run.hits.y_mm, t, run.hits.method, run.hits.tags)
    progress = CollectingProgress()
    result = reduce([hits], WATER, SETUP, progress=progress)
    assert result.summary.dropped.not_a_number == 10
    assert result.summary.dropped.negative_time == 15
    assert any("25 of" in text and "negative time" in text for text in progress.said)
    assert len(result.table) <= len(reduction.table)


def test_a_run_of_bad_hits_only_is_an_error(run: FakeRun) -> None:
    t = np.full(run.hits.n_hits, np.nan)
    hits = Hits(0, run.hits.offsets, run.hits.x_mm, run.hits.y_mm, t, run.hits.method)
    with pytest.raises(InputFileError, match="no hit of the run can be an ion .*not a number"):
        reduce([hits], WATER, SETUP)


def test_a_run_without_shots_is_an_error(run: FakeRun) -> None:
    channel = make_channel(("O+", 1), ("H+", 2), sum_half_width=(5.0, 5.0, 5.0))
    with pytest.raises(InputFileError, match="no shots"):
        reduce([], channel, SETUP)


def test_an_iterator_is_refused(run: FakeRun) -> None:
    with pytest.raises(UsageError, match="only once"):
        reduce(iter(run.chunks(5000)), WATER, SETUP)
