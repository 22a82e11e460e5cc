"""Isotopes from the channel or geometry to the structure: masses used, names kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from molexa_core.base.errors import InputFileError, SettingsError, UsageError
from molexa_core.base.forward_model import Pulse
from molexa_core.base.matter.ions import parse_ions
from molexa_core.base.progress import CollectingProgress
from molexa_core.base.settings import Channel, parse_settings
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Geometry
from molexa_core.base.units import DALTON_ME
from molexa_core.io.results.channels_h5 import read_channels, write_channels
from molexa_core.io.results.events import EventsWriter, read_events
from molexa_core.io.results.geometry_json import (
    ReconstructionRecord,
    read_geometry_json,
    write_geometry_json,
)
from molexa_core.io.results.truth_file import read_truth
from molexa_core.physics.mcmd.trajectories import run_trajectories
from molexa_core.physics.molecules.library import molecule
from molexa_core.physics.virtual.experiment import target_of
from molexa_core.pipeline.chain.align import align
from molexa_core.pipeline.chain.centroid import centroid
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.explosions.simulate import geometry_to_explode, ions_of_atoms, simulate
from molexa_core.pipeline.explosions.simulate_mcmd import channel_table, simulate_mcmd
from molexa_core.pipeline.explosions.simulate_movie import simulate_movie
from molexa_core.pipeline.runs.mock import default_setup, mock, with_virtual

WATER = molecule("water").geometry
HEAVY = {
    "name": "d2o",
    "molecule": "D2O",
    "ions": [{"ion": "O+"}, {"ion": "D+", "count": 2}],
    "gates": {"max_momentum": 200},
    "frame": {"reference": "O+", "second": "D+", "plane": "xz"},
}


def channel_of(*ions: dict[str, object], **more: object) -> Channel:
    return parse_settings(Channel, {"name": "c", "ions": list(ions), **more}, where="test")


def test_the_energy_of_an_instant_explosion_does_not_depend_on_masses() -> None:
    light = simulate(WATER, ["O+", "H+", "H+"], model="instant")
    heavy = simulate(WATER, ["18O+", "D+", "T+"], model="instant")
    assert heavy.ker_ev == pytest.approx(light.ker_ev, rel=1e-6)
    assert heavy.ker_ev == pytest.approx(heavy.coulomb_ev, rel=1e-6)
    pair = molecule("hydrogen").geometry
    same = simulate(pair, ["H+", "H+"], model="instant").momentum
    more = simulate(pair, ["D+", "D+"], model="instant").momentum
    root = np.sqrt(parse_ions("D+")[0].mass / parse_ions("H+")[0].mass)
    np.testing.assert_allclose(more, root * same, rtol=1e-6)


def test_a_stated_isotope_keeps_its_mass_among_average_masses() -> None:
    pair = Geometry(("Cl", "Cl"), np.array([[0, 0, 0], [3.8, 0, 0.0]]))
    average = simulate(pair, ["Cl+", "Cl+"], masses="average")
    mixed = simulate(pair, ["37Cl+", "Cl+"], masses="average")
    isotope = simulate(pair, ["37Cl+", "37Cl+"], masses="average")
    energy = mixed.energy_ev
    assert energy[0] * (36.965902573 - 5.4858e-4) == pytest.approx(
        energy[1] * (35.45 - 5.4858e-4), rel=1e-6
    )
    ratio = isotope.momentum[0, 0] / average.momentum[0, 0]
    assert ratio == pytest.approx(np.sqrt(36.9654 / 35.4495), rel=1e-3)


def test_ions_may_name_what_the_geometry_leaves_open_and_not_change_it() -> None:
    heavy = replace(WATER, isotopes=(0, 2, 2))
    assert [str(ion) for ion in ions_of_atoms(WATER, parse_ions("O+,D+,H+"))] == ["O+", "D+", "H+"]
    with pytest.raises(UsageError, match=r"ion 2 is H\+, but atom 2 is D\. Write D\+\."):
        ions_of_atoms(heavy, parse_ions("O+,H+,H+"))
    charged = replace(heavy, charges=(2, 1, 1))
    assert [str(ion) for ion in ions_of_atoms(charged)] == ["O2+", "D+", "D+"]
    frames = simulate(WATER, ["O+", "D+", "H+"], times_fs=[0.0, 10.0]).trajectory
    assert frames[1].names == ("O", "D", "H")


@pytest.mark.parametrize(
    ("formula", "name", "atoms"),
    [
        ("D2O", "water", ("O", "D", "D")),
        ("HDO", "water", ("O", "H", "D")),
        ("CD3OH", "methanol", ("C", "O", "D", "D", "D", "H")),
        ("CH3OD", "methanol", ("C", "O", "H", "H", "H", "D")),
        ("13CO", "carbon_monoxide", ("13C", "O")),
        ("C18O2", "carbon_dioxide", ("18O", "C", "18O")),
        ("O[13C]S", "carbonyl_sulfide", ("O", "13C", "S")),
        ("H37Cl", "hydrogen_chloride", ("37Cl", "H")),
        ("C2D5OH", "ethanol", ("C", "C", "O", "D", "D", "D", "D", "D", "H")),
        ("d2o", "water", ("O", "D", "D")),
    ],
)
def test_formulas_with_isotopes_name_molecules(
    formula: str, name: str, atoms: tuple[str, ...]
) -> None:
    found, plain = molecule(formula), molecule(name)
    assert found.geometry.names == atoms
    assert found.geometry.symbols == plain.geometry.symbols
    assert np.array_equal(found.geometry.positions, plain.geometry.positions)
    geometry, files = geometry_to_explode(formula)
    assert geometry.names == atoms
    assert files == ()
    slow, fast = found.modes(), plain.modes()
    assert slow is not None
    assert fast is not None
    assert slow.wavenumber_cm.sum() < fast.wavenumber_cm.sum()


def test_heavy_water_vibrates_as_the_product_rule_says() -> None:
    """Teller and Redlich: the product of frequencies follows from masses and inertia alone."""
    found = {}
    for name in ("H2O", "D2O"):
        one = molecule(name)
        m, x = one.masses, one.geometry.positions
        x = x - m @ x / m.sum()
        inertia = sum(
            mass * (at @ at * np.eye(3) - np.outer(at, at)) for mass, at in zip(m, x, strict=True)
        )
        modes = one.modes()
        assert modes is not None
        reduced = m.sum() ** 1.5 * np.sqrt(np.linalg.det(inertia)) / np.prod(m) ** 1.5
        found[name] = np.prod(modes.frequency) / reduced
    assert found["D2O"] == pytest.approx(found["H2O"], rel=1e-6)


def test_masses_of_the_monte_carlo_model() -> None:
    x, pulse = WATER.positions, Pulse(2000.0)
    light = run_trajectories(x, WATER.symbols, pulse, trajectories=40, seed=3)
    heavy = run_trajectories(
        x,
        WATER.symbols,
        pulse,
        trajectories=40,
        seed=3,
        masses=replace(WATER, isotopes=(0, 2, 2)).masses(),
    )
    assert light.mass[1] / DALTON_ME == pytest.approx(1.00782503190)
    assert heavy.mass[1] / DALTON_ME == pytest.approx(2.01410177784)
    speed = [np.abs(one.momenta[..., 1, 1] / one.mass[1]).mean() for one in (light, heavy)]
    assert speed[1] < 0.85 * speed[0]
    with pytest.raises(UsageError, match="for 3 atoms"):
        run_trajectories(
            x, WATER.symbols, pulse, trajectories=1, seed=1, masses=np.array([1.0, 2.0])
        )


def test_combinations_know_their_isotopes(tmp_path: Path) -> None:
    heavy = replace(WATER, isotopes=(0, 2, 2))
    outcomes = simulate_mcmd(heavy, pulse=Pulse(2000.0), trajectories=60, seed=1)
    charges = [int(charge) for charge in outcomes.charges[0]]
    names = outcomes.names(0)
    assert names[1].startswith("D")
    write_channels(tmp_path / "c.h5", outcomes, Provenance.of("test"))
    assert read_channels(tmp_path / "c.h5")[0].geometry.names == ("O", "D", "D")
    if min(charges) > 0:
        table = channel_table(outcomes, names)
        assert list(table["ion"]) == names
        with pytest.raises(UsageError, match=r"Write D"):
            channel_table(outcomes, [name.replace("D", "H") for name in names])


def test_a_virtual_run_of_heavy_water_through_all_stages(tmp_path: Path) -> None:
    channel = parse_settings(Channel, HEAVY, where="test")
    setup = with_virtual(default_setup(), {"explosion": "instant", "zero_point": "off"})
    run = mock(channel, 4000, setup=setup, seed=1)
    assert run.truth.equilibrium.names == ("O", "D", "D")
    events = reduce([run.hits], channel, setup)
    assert [str(ion) for ion in events.table.ions] == ["O+", "D+", "D+"]
    expected = simulate(WATER, ["O+", "D+", "D+"], model="instant")
    assert events.summary.ker.peak == pytest.approx(expected.ker_ev, rel=0.01)
    aligned = align(events.table, channel=channel)
    means = centroid(aligned.table)
    assert list(means["ion"]) == ["O+", "D+", "D+"]
    size = np.linalg.norm(means[["px", "py", "pz"]].to_numpy(), axis=1)
    np.testing.assert_allclose(size, np.linalg.norm(expected.momentum, axis=1), rtol=0.03)
    with EventsWriter(tmp_path / "e.h5", events.table.ions) as writer:
        writer.append(events.table)
        writer.finish(Provenance.of("test"), meta={}, spectra={})
    assert read_events(tmp_path / "e.h5")[0].ions == events.table.ions


def test_modes_of_a_virtual_molecule_are_those_of_its_isotopes() -> None:
    heavy = parse_settings(Channel, HEAVY, where="test")
    open_isotopes = target_of(heavy, molecule("water"))
    stated = target_of(heavy, molecule("D2O"))
    assert open_isotopes.modes is not None
    assert stated.modes is not None
    np.testing.assert_allclose(open_isotopes.modes.frequency, stated.modes.frequency)
    np.testing.assert_allclose(open_isotopes.atom_masses, molecule("D2O").masses)
    light = channel_of({"ion": "O+"}, {"ion": "H+", "count": 2})
    with pytest.raises(UsageError, match=r"a D of it needs a D\+"):
        target_of(light, molecule("D2O"))
    mixed = channel_of({"ion": "O+"}, {"ion": "D+"}, {"ion": "H+"})
    assert target_of(mixed, molecule("HDO")).positions[1] == pytest.approx(
        molecule("HDO").geometry.positions[2] + offset(molecule("HDO").geometry)
    )


def offset(geometry: Geometry) -> np.ndarray:
    mass = geometry.masses()
    return np.asarray(-(mass @ geometry.positions) / mass.sum())


def test_reduce_with_average_masses_says_so_in_the_names(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "name: hcl\nmolecule: hydrogen_chloride\nions: [{ion: Cl+}, {ion: H+}]\n"
        "frame: {reference: Cl+}\n"
    )
    run = tmp_path / "run.root"
    mock(str(path), 1500, out=run, seed=1, truth=tmp_path / "truth.h5")
    events = tmp_path / "i.h5"
    reduce([run], out=events)
    average = tmp_path / "a.h5"
    reduce([run], masses="average", out=average)
    one, other = read_events(events)[0], read_events(average)[0]
    assert [str(ion) for ion in one.ions] == ["Cl+", "H+"]
    assert [str(ion) for ion in other.ions] == ["Cl+@35.45", "H+@1.008"]
    assert other.meta["channel"]["frame"]["reference"] == "Cl+@35.45"
    same = np.isin(other.event_id, one.event_id)
    assert same.mean() > 0.9
    assert str(align(other).table.ions[0]) == "Cl+@35.45"
    assert read_truth(tmp_path / "truth.h5")[0].equilibrium.names == ("Cl", "H")


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ({"ion": "Cl+", "mass_u": 36.966}, "37Cl+"),
        ({"ion": "Cl+", "mass_u": 34.969}, "Cl+"),
        ({"ion": "Cl2+", "mass_u": 35.45}, "Cl2+@35.45"),
        ({"ion": "H+", "mass_u": 2.014}, "D+"),
        ({"ion": "C6H5+", "mass_u": 82}, "C6H5+@82"),
    ],
)
def test_the_mass_in_a_channel_names_the_ion(entry: dict[str, object], name: str) -> None:
    channel = channel_of(entry)
    assert channel.ions[0].ion == name
    again = parse_settings(Channel, channel.model_dump(mode="json"), where="again")
    assert again == channel
    assert channel.with_masses("isotope") == channel


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"ion": "O+", "mass_u": 8}], "a mass of 8 u for O+"),
        ([{"ion": "O+", "mass_u": -1}], "mass_u: must be a number above 0, in u (found -1)"),
        ([{"ion": "O+", "mass_u": "16"}], "mass_u: must be a number above 0"),
        ([{"ion": "H+"}, {"ion": "1H+"}], "H+ and 1H+ have one mass and charge"),
        ([{"ion": "Cl+"}, {"ion": "Cl+", "mass_u": 34.97}], "stands in more than one entry"),
    ],
)
def test_masses_that_cannot_be(entries: list[dict[str, object]], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        channel_of(*entries)
    assert message in str(caught.value)


def test_a_reconstruction_keeps_its_isotopes(tmp_path: Path) -> None:
    record = ReconstructionRecord(("O", "H"), np.eye(2, 3), charges=(1, 1), isotopes=(0, 2))
    write_geometry_json(tmp_path / "geom.json", record)
    found, _ = read_geometry_json(tmp_path / "geom.json")
    assert found.isotopes == (0, 2)
    assert found.geometry().names == ("O", "D")


def test_nothing_is_said_of_isotopes_that_nobody_stated() -> None:
    progress = CollectingProgress()
    geometry, _ = geometry_to_explode("water", progress)
    assert geometry.isotopes is None
    assert progress.said == progress.warned == []


def test_a_movie_explodes_with_the_isotopes_of_its_ions(tmp_path: Path) -> None:
    path = tmp_path / "movie.xyz"
    frame = "3\nframe\nO 0 0 0\n{0} 0.96 0 0\n{0} 0 0.96 0\n"
    path.write_text(frame.format("H") + frame.format("H"))
    scenes = simulate_movie(path, pulse=Pulse(2000.0), trajectories=30)
    path.write_text(frame.format("D") + frame.format("D"))
    heavy = simulate_movie(path, pulse=Pulse(2000.0), trajectories=30)
    assert [scene.outcomes.geometry.names for scene in heavy] == [("O", "D", "D")] * 2
    assert scenes[0].outcomes.geometry.isotopes is None
    path.write_text(frame.format("D") + frame.format("H"))
    with pytest.raises(InputFileError, match="different isotopes"):
        simulate_movie(path, pulse=Pulse(2000.0), trajectories=30)
