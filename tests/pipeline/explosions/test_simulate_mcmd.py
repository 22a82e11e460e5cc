"""Many explosions in a pulse: what is counted, written, drawn and printed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from molexa_cli.main import main
from molexa_core.base.charge_combinations import Outcomes
from molexa_core.base.errors import InputFileError, NoEventsError, UsageError
from molexa_core.base.forward_model import ModelOptions, Pulse
from molexa_core.base.progress import Progress
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Geometry
from molexa_core.base.units import HARTREE_EV
from molexa_core.io.results.channel_csv import read_channel_csv
from molexa_core.io.results.channels_h5 import read_channels, write_channels
from molexa_core.physics.mcmd.combinations import Combinations, combine
from molexa_core.physics.mcmd.job import Job, Trajectories
from molexa_core.physics.mcmd.trajectories import run_on_cpu, run_trajectories
from molexa_core.physics.molecules.library import molecule
from molexa_core.pipeline.explosions import explode as forward
from molexa_core.pipeline.explosions.explode import explode_geometries
from molexa_core.pipeline.explosions.simulate_mcmd import simulate_mcmd
from molexa_core.report.combination_figure import combinations_svg
from tests.fakes.hdf5_edits import edited

PULSE = Pulse(2000.0)
WATER = molecule("water").geometry


@pytest.fixture(scope="module")
def water() -> Outcomes:
    return simulate_mcmd(WATER, pulse=PULSE, trajectories=600, seed=5)


def test_counts_means_and_spreads_are_those_of_the_trajectories(water: Outcomes) -> None:
    found = run_trajectories(WATER.positions, WATER.symbols, PULSE, trajectories=600, seed=5)
    charges, momenta = found.charges[0], found.momenta[0].astype(np.float64)
    assert water.counts.sum() == water.trajectories == 600
    assert (np.diff(water.counts) <= 0).all()
    for row in range(len(water)):
        some = (charges == water.charges[row]).all(axis=1)
        assert some.sum() == water.counts[row]
        assert np.allclose(water.momenta[row], momenta[some].mean(axis=0), atol=1e-3)
        if some.sum() > 5:
            assert np.allclose(water.spread[row], momenta[some].std(axis=0, ddof=1), atol=2e-3)
            cov = np.cov(momenta[some][:, 0].T)
            assert np.allclose(water.covariance[row, 0], cov, atol=0.01 * np.abs(cov).max() + 0.01)
            energy = found.kinetic[0][some].sum(axis=1)
            assert water.release[row] == pytest.approx(energy.mean(), rel=1e-4, abs=1e-6)
            spread = energy.std(ddof=1)
            assert water.release_spread is not None
            assert water.release_spread[row] == pytest.approx(spread, rel=1e-3, abs=1e-6)
    states = np.stack([np.bincount(column, minlength=9) for column in charges.T])
    assert (water.charge_states == states).all()
    assert water.photons == pytest.approx(found.photons.mean())
    release = found.kinetic[0].sum(axis=1) * HARTREE_EV
    assert water.spectra["ker"].total == 600
    centre = water.spectra["ker"].counts @ water.spectra["ker"].centres[0] / 600
    assert centre == pytest.approx(release.mean(), abs=1.0)


def test_mean_momenta_add_up_to_zero(water: Outcomes) -> None:
    assert np.abs(water.momenta.sum(axis=1)).max() < 3e-3


def test_geometries_together_are_geometries_one_by_one() -> None:
    two = np.stack([WATER.positions, 1.3 * WATER.positions])
    options = ModelOptions(transfer="none")
    together = explode_geometries(
        WATER.symbols, two, None, PULSE, options, trajectories=80, seed=9, first_trajectory=160
    )
    for row in range(2):
        (alone,) = explode_geometries(
            WATER.symbols,
            two[row : row + 1],
            None,
            PULSE,
            options,
            trajectories=80,
            seed=9,
            first_trajectory=160 + 80 * row,
        )
        assert (alone.charges == together[row].charges).all()
        assert (alone.momenta == together[row].momenta).all()


def test_chunks_do_not_matter(water: Outcomes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("molexa_core.pipeline.explosions.explode.CHUNK", 170)
    again = simulate_mcmd(WATER, pulse=PULSE, trajectories=600, seed=5)
    assert (again.charges == water.charges).all()
    assert (again.momenta == water.momenta).all()
    assert (again.covariance == water.covariance).all()
    assert (again.spectra["ker"].counts == water.spectra["ker"].counts).all()


def test_more_light_more_charge() -> None:
    few, many = (
        simulate_mcmd(WATER, pulse=Pulse(2000.0, energy_mj=mj), trajectories=150, seed=1)
        for mj in (0.05, 2.0)
    )
    assert few.photons < many.photons / 4
    assert few.charge_states[0, 0] > many.charge_states[0, 0]


def test_a_combination_that_did_not_occur_names_the_nearest(water: Outcomes) -> None:
    assert water.find(water.charges[2].tolist()) == 2
    charges = water.charges.astype(int)
    wanted = next(
        [oxygen, first, 0]
        for oxygen in (8, 7, 1)
        for first in (0, 1)
        if not (charges == [oxygen, first, 0]).all(axis=1).any()
    )
    with pytest.raises(NoEventsError) as caught:
        water.find(wanted)
    message = str(caught.value)
    assert "none of 600 explosions ended in O" in message
    distance = np.abs(charges - wanted).sum(axis=1)
    nearest = np.flatnonzero(distance == distance.min())
    best = nearest[water.counts[nearest].argmax()]
    named = f"occurred: {','.join(water.names(best))} ({water.counts[best]} times)"
    assert named in message


def test_file_round_trip(water: Outcomes, tmp_path: Path) -> None:
    path = tmp_path / "c.h5"
    write_channels(path, water, Provenance.of("test", seed=5))
    again, record = read_channels(path)
    assert record.seed == 5
    for name in ("charges", "counts", "momenta", "covariance", "charge_states", "release"):
        assert (getattr(again, name) == getattr(water, name)).all()
    assert again.geometry.symbols == ("O", "H", "H")
    assert set(again.spectra) == set(water.spectra)
    assert (again.trajectories, again.photons) == (600, water.photons)
    with h5py.File(path) as file:
        assert file["combinations/momentum"].attrs["units"] == "a.u."
        assert np.allclose(file["combinations/spread"][()], water.spread)


def without_momenta(file: h5py.File) -> None:
    del file["combinations/momentum"]


def of_another_kind(file: h5py.File) -> None:
    file["meta"].attrs["kind"] = "dataset"


def without_a_number(file: h5py.File) -> None:
    file["meta"].attrs["photons"] = "many"


def with_fewer_counts(file: h5py.File) -> None:
    del file["combinations/count"]
    file["combinations/count"] = np.array([1, 2], np.int64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_momenta, "momentum is missing"),
        (of_another_kind, "not a file of combinations"),
        (without_a_number, "photons is not a number"),
        (with_fewer_counts, "do not fit each other"),
    ],
)
def test_damage_is_named(
    water: Outcomes, tmp_path: Path, change: Callable[[h5py.File], None], message: str
) -> None:
    path = tmp_path / "c.h5"
    write_channels(path, water, Provenance.of("test"))
    with edited(path) as file:
        change(file)
    with pytest.raises(InputFileError, match=message):
        read_channels(path)


def test_the_figure_shows_every_atom(water: Outcomes, tmp_path: Path) -> None:
    path = tmp_path / "figure.svg"
    combinations_svg(path, water)
    text = path.read_text()
    assert text.lstrip().startswith("<?xml")
    assert len(text) > 10_000
    combinations_svg(tmp_path / "again.svg", water)
    assert (tmp_path / "again.svg").read_text() == text


def test_an_atom_alone_gets_charged() -> None:
    neon = Geometry(("Ne",), np.array([[0.3, 0.0, 0.0]]))
    found = simulate_mcmd(neon, pulse=PULSE, trajectories=300, seed=1)
    assert found.charge_states[0, 9] > 100
    assert found.counts.sum() == 300
    assert not found.momenta.any()


def test_bad_input() -> None:
    near = Geometry(("O", "H"), np.array([[0.0, 0, 0], [0, 0, 0.1]]))
    with pytest.raises(UsageError, match=r"0\.1 bohr \(0\.053 angstrom\)"):
        simulate_mcmd(near, pulse=PULSE, trajectories=5)
    with pytest.raises(UsageError, match="0 trajectories"):
        simulate_mcmd(WATER, pulse=PULSE, trajectories=0)
    with pytest.raises(UsageError, match="seed -1"):
        simulate_mcmd(WATER, pulse=PULSE, trajectories=5, seed=-1)


def test_the_command(working_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "simulate water --model mcmd --trajectories 200 --seed 5 --quiet"
    assert main([*line.split(), "--out", "c.h5", "--figure", "c.svg"]) == 0
    printed = capsys.readouterr().out
    assert "combinations in 200 explosions" in printed
    outcomes, record = read_channels(working_folder / "c.h5")
    assert record.settings["pulse"]["photon_ev"] == 2000.0
    assert record.settings["options"]["transfer"] == "neutral"
    assert main([*line.split(), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert len(values["combinations"]) == len(outcomes)
    ions = ",".join(outcomes.names(0))
    assert main([*line.split(), "--charges", ions, "--out", "p.csv"]) == 0
    table, _ = read_channel_csv(working_folder / "p.csv")
    assert table["count"].tolist() == [outcomes.counts[0]] * 3
    assert np.allclose(table[["px", "py", "pz"]].to_numpy(), outcomes.momenta[0])
    assert np.allclose(table[["px_err", "py_err", "pz_err"]].to_numpy(), outcomes.errors[0])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("--model mcmd --tau-fs 3", 2, "--tau-fs has no meaning for the model mcmd"),
        ("--pulse-mj 3 --charges O+,H+,H+", 2, "--pulse-mj has no meaning for the model classical"),
        ("--model mcmd --out x.csv", 2, "Name it with --charges"),
        ("--model mcmd --out x.txt", 2, "no known form of results ends in '.txt'"),
        ("--model mcmd --figure x.png", 2, "the figure is an SVG file"),
        ("--model mcmd --pulse-mj -1", 2, "energy of the pulse"),
        ("--model mcmd --transmission 2", 2, "reaches the focus is 2"),
        ("--model mcmd --charges O+,H+", 2, "2 ions for 3 atoms"),
        ("--model mcmd --charges O+,H2+,H+", 1, "H has one electron: write H+"),
        ("--model mcmd --charges H+,O+,H+", 2, "In this order yours are O+,H+,H+."),
        ("--model mcmd --charges O+,H,H+", 1, "a neutral atom reaches no detector"),
    ],
)
def test_mistakes_get_one_sentence(
    working_folder: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    code: int,
    message: str,
) -> None:
    assert main(["simulate", "water", *arguments.split()]) == code
    out, err = capsys.readouterr()
    assert message in err
    assert not out
    assert not list(working_folder.iterdir())


def test_a_device_gives_sums_and_energies_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way through a graphics card, with the processor in its place."""
    asked: list[str] = []

    def on_device(job: Job, index: int, *, progress: Progress) -> list[Combinations]:
        asked.append(f"sums {index}")
        found = run_on_cpu(job, progress=progress)
        return [combine(found, row) for row in range(len(job.positions))]

    def fetched(job: Job, index: int, *, progress: Progress) -> Trajectories:
        asked.append(f"all {index}")
        return run_on_cpu(job, progress=progress)

    (expected,) = _explode("cpu", energies=True)
    monkeypatch.setattr(forward, "device_index", lambda device: 1 if device == "cuda:1" else None)
    monkeypatch.setattr(forward, "combinations_on_gpu", on_device)
    monkeypatch.setattr(forward, "run_on_gpu", fetched)
    for energies in (False, True):
        (found,) = _explode("cuda:1", energies=energies)
        assert (found.charges == expected.charges).all()
        assert (found.momenta == expected.momenta).all()
        assert (found.release_spread is None) != energies
    assert asked == ["sums 1", "all 1"]


@pytest.mark.gpu
def test_a_graphics_card_gives_the_same_distribution() -> None:
    (one,), (two,) = (_explode(device, energies=False, number=4000) for device in ("cpu", "cuda"))
    assert one.charge_states.sum() == two.charge_states.sum()
    assert np.abs(one.charge_states - two.charge_states).max() < 4 * np.sqrt(4000)
    top = one.find(two.charges[0].tolist())
    scale = np.abs(one.momenta[top]).max()
    assert np.abs(one.momenta[top] - two.momenta[0]).max() < 0.05 * scale


def _explode(device: str, *, energies: bool, number: int = 60) -> list[Outcomes]:
    return explode_geometries(
        WATER.symbols,
        WATER.positions[None],
        None,
        PULSE,
        ModelOptions(),
        trajectories=number,
        seed=3,
        device=device,
        energies=energies,
    )
