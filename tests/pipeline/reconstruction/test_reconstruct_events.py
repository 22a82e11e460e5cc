"""Reconstruction of single events: exact structures, unbiased means, honest errors."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from molexa_core.base.belief import Belief
from molexa_core.base.errors import ComputationError, InputFileError, UsageError
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.options.reconstruct_options import ReconstructOptions
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences, FloatArray
from molexa_core.geometry.measures import pair_distances
from molexa_core.io.results.events import write_events
from molexa_core.io.results.geometry_json import read_geometry_json
from molexa_core.io.results.structures import read_structures, read_structures_file
from molexa_core.physics.family.build_up_family import BUILD_UP_PRIOR, BuildUpFamily
from molexa_core.physics.family.family import ExplosionKnowledge, Fragments, Hypothesis
from molexa_core.physics.molecules.library import molecule
from molexa_core.pipeline.chain.report import read_results, report
from molexa_core.pipeline.chain.score import score
from molexa_core.pipeline.explosions.assumed import Changes
from molexa_core.pipeline.inversion.geometry_prior import GeometryPrior
from molexa_core.pipeline.reconstruction.branch import Member, Reference, Solver, turned_onto
from molexa_core.pipeline.reconstruction.event_branches import Crowd, settled, symmetric
from molexa_core.pipeline.reconstruction.event_means import (
    Quantities,
    inverse_slopes,
    noise_shift,
    systematic,
    uncertainty_of_events,
)
from molexa_core.pipeline.reconstruction.events_answer import answer_of_events
from molexa_core.pipeline.reconstruction.single_events import reconstruct_events
from molexa_core.pipeline.runs.inspect import inspect_file
from molexa_core.reduction.resolution import Resolution

FAMILY = BuildUpFamily(window_spread=0.0, onset_spread=0.0, smallest_error=0.0)


def told(tau_fs: float, width: float = 0.0) -> ExplosionKnowledge:
    """Charges that rise together within tau, its logarithm uncertain by `width`."""
    belief = Belief.independent(
        BUILD_UP_PRIOR.names, [math.log(tau_fs), 0.0, 0.0, 0.0], [width, 0.0, 0.0, 0.0]
    )
    return ExplosionKnowledge((Hypothesis(FAMILY, belief),), f"tau {tau_fs:g} fs", "told")


def explosion_of(symbols: tuple[str, ...], tau_fs: float = 45.0) -> Member:
    ions = [parse_ion(f"{symbol}+") for symbol in symbols]
    return Member(FAMILY, Fragments.of(ions), told(tau_fs).hypotheses[0].belief.mean)


def vibrating(
    name: str, count: int, spread: float, seed: int = 8
) -> tuple[tuple[str, ...], FloatArray]:
    """Structures (count, N, 3) of a molecule whose atoms are displaced at random."""
    generator = np.random.default_rng(seed)
    geometry = molecule(name).geometry
    mass = geometry.masses()
    moved = generator.standard_normal((count, len(mass), 3)) * spread
    moved = moved * np.sqrt(mass.min() / mass)[:, None]
    positions = geometry.positions + moved
    turn = Rotation.random(count, random_state=seed).as_matrix()
    positions = np.einsum("nxk,nik->nix", turn, positions)
    return geometry.symbols, positions - positions.mean(axis=1, keepdims=True)


def exploded(
    count: int, spread: float, name: str = "water", tau_fs: float = 45.0
) -> tuple[Coincidences, FloatArray]:
    symbols, truth = vibrating(name, count, spread)
    momenta = explosion_of(symbols, tau_fs).momenta(truth)
    ions = tuple(parse_ion(f"{symbol}+") for symbol in symbols)
    return Coincidences(ions, np.arange(count) + 7, momenta, np.ones(count), {}, {}), truth


def test_every_event_gets_its_own_structure() -> None:
    events, truth = exploded(60, 0.1)
    found = reconstruct_events(events, explosion=told(45.0))
    structures = found.structures
    assert found.left_out == {"unusable": 0, "unexplained": 0, "unlike": 0}
    assert (structures.event_id == events.event_id).all()
    assert structures.column is not None
    mine = np.take_along_axis(truth, structures.column[:, :, None], axis=1)
    assert np.abs(structures.positions - mine).max() < 2e-3
    length = pair_distances(mine)[:, 0]
    assert found.distances[0]["mean"] == pytest.approx(length.mean(), abs=2e-3)
    assert found.distances[0]["standard_deviation"] == pytest.approx(length.std(), rel=0.02)
    assert [row["bond"] for row in found.distances] == [True, True, False]
    assert len(found.angles) == 3
    assert found.mean.systematic is None, "the explosion is known exactly"


def test_an_explosion_other_than_that_of_the_network() -> None:
    events, truth = exploded(40, 0.1, "formaldehyde", tau_fs=5.0)
    found = reconstruct_events(events, explosion=told(5.0))
    assert len(found.structures) == 40
    bonds = {row["of"]: row["mean"] for row in found.distances if row["bond"]}
    assert len(bonds) == 3
    true = np.sort(pair_distances(truth).mean(axis=0))
    assert np.sort([row["mean"] for row in found.distances])[0] == pytest.approx(true[0], abs=5e-3)


def test_the_order_of_like_ions_in_the_file_does_not_matter() -> None:
    events, _ = exploded(50, 0.15)
    other = replace(events, momentum=events.momentum[:, [0, 2, 1]])
    one, two = (reconstruct_events(each, explosion=told(45.0)) for each in (events, other))
    for mine, theirs in zip(one.distances, two.distances, strict=True):
        assert mine["mean"] == pytest.approx(theirs["mean"], abs=4 * mine["error_of_mean"])


def test_like_atoms_are_not_sorted_by_their_bonds() -> None:
    symbols, truth = vibrating("water", 1500, 0.18)
    random = np.random.default_rng(1)
    explosion = explosion_of(symbols)
    momenta = explosion.momenta(truth)
    shuffled = random.permuted(np.tile([1, 2], (len(momenta), 1)), axis=1)
    momenta[:, 1:] = np.take_along_axis(momenta, shuffled[:, :, None], axis=1)
    solver = Solver(explosion, np.full(3, 0.1), [0, 1, 1])
    # The start has one long and one short bond.
    start = molecule("water").geometry.positions * np.array([[1.0], [1.1], [0.9]])
    _, solved, crowd = settled(solver, momenta, Reference.of(explosion, start))
    assert crowd.holds(solved).all()
    lengths = pair_distances(solved.positions)[:, :2]
    error = lengths[:, 0].std() * math.sqrt(2.0 / len(lengths))
    assert abs(float(np.diff(lengths.mean(axis=0))[0])) < 4.0 * error
    true = pair_distances(truth)[:, :2]
    assert lengths.mean() == pytest.approx(true.mean(), abs=2e-3)


def test_symmetries_are_those_that_single_events_cannot_tell() -> None:
    orders = np.array([[0, 1, 2, 3], [0, 1, 3, 2], [0, 2, 1, 3]])
    symbols, positions = vibrating("ammonia", 2000, 0.1)
    assert symbols[0] == "N"
    rest = molecule("ammonia").geometry.positions
    rest = rest - rest.mean(axis=0)
    masses = molecule("ammonia").geometry.masses()
    crowd = Crowd.of(positions, rest, masses)
    bent = rest + 0.02 * np.random.default_rng(2).standard_normal(rest.shape)
    mean = symmetric(bent, orders, crowd)
    lengths = pair_distances(mean[None])[0]
    assert np.ptp(lengths[:3]) < 0.02
    # Ammonia is not made flat, though its mirror image has the same distances.
    assert pair_distances(mean[None])[0] == pytest.approx(pair_distances(rest[None])[0], abs=0.05)
    assert np.linalg.svd(mean - mean.mean(axis=0))[1][2] > 0.2


def test_events_that_are_all_alike_are_a_crowd_too() -> None:
    rest = molecule("water").geometry.positions
    masses = molecule("water").geometry.masses()
    crowd = Crowd.of(np.repeat(rest[None], 50, axis=0), rest, masses)
    assert np.isfinite(crowd.inverse).all()
    assert crowd.distance(rest[None])[0] < 1.0 < crowd.cut
    assert crowd.distance(1.1 * rest[None])[0] > crowd.cut


def test_noise_shift_takes_out_the_bias_of_the_resolution() -> None:
    symbols, truth = vibrating("ocs", 2500, 0.12, seed=3)
    explosion = explosion_of(symbols, 10.0)
    sigma = np.array([3.0, 3.0, 3.0])
    keep = np.eye(3) - 1.0 / 3.0
    covariance = np.repeat((keep @ np.diag(sigma**2) @ keep)[None], 3, axis=0)
    resolution = Resolution(np.full((3, 3), 1 / 3), covariance, "of a test")
    random = np.random.default_rng(4)
    momenta = explosion.momenta(truth) + resolution.draw(random, len(truth))
    solver = Solver(explosion, resolution.of_ions, [0, 1, 2])
    rest = molecule("ocs").geometry.positions
    reference, solved, crowd = settled(solver, momenta, Reference.of(explosion, rest))
    good = solved.rows(crowd.holds(solved))
    shift = noise_shift(solver, good, resolution, reference, crowd.holds, random)
    assert shift is not None
    measured = Quantities.of(good.positions, reference.positions, explosion.fragments)
    pairs = measured.distances.shape[1]
    true = pair_distances(truth)
    off = measured.distances.mean(axis=0) - true.mean(axis=0)
    left = off - shift.shift[:pairs]
    error = np.hypot(measured.distances.std(axis=0) / math.sqrt(len(good)), shift.error[:pairs])
    worst = int(np.argmax(np.abs(off)))
    assert abs(off[worst]) > 4.0 * error[worst], "there is a bias to take out"
    assert abs(left[worst]) < 0.35 * abs(off[worst])
    assert (np.abs(left) < 4.0 * error).all()


def test_uncertainty_of_an_event_is_the_scatter_of_repeated_measurements() -> None:
    symbols, truth = vibrating("water", 1, 0.0)
    explosion = explosion_of(symbols)
    keep = np.eye(3) - 1.0 / 3.0
    axes = np.array([0.2, 0.1, 0.05])[:, None, None] ** 2
    resolution = Resolution(np.full((3, 3), 1 / 3), axes * (keep @ keep)[None], "of a test")
    momenta = explosion.momenta(truth) + resolution.draw(np.random.default_rng(5), 3000)
    solver = Solver(explosion, resolution.of_ions, [0, 1, 2])
    solved = solver.solve(momenta, Reference.of(explosion, molecule("water").geometry.positions))
    in_event = np.einsum("nxk,nix->nik", solved.turn, solved.positions)
    stated = uncertainty_of_events(solved, resolution)
    np.testing.assert_allclose(in_event.std(axis=0), stated.mean(axis=0), rtol=0.1, atol=1e-4)


def test_the_systematic_error_is_the_derivative_times_the_width() -> None:
    symbols, truth = vibrating("water", 200, 0.1)
    width = 0.05
    knowledge = told(45.0, width)
    explosion = explosion_of(symbols)
    solver = Solver(explosion, np.full(3, 0.1), [0, 1, 1])
    rest = molecule("water").geometry.positions
    reference, solved, _ = settled(solver, explosion.momenta(truth), Reference.of(explosion, rest))
    found = systematic(
        solver, solved, knowledge, reference, GeometryPrior.of(symbols), np.random.default_rng(1)
    )
    assert found is not None
    assert found.refused == 0
    parameters = np.broadcast_to(explosion.parameters, (1, 4))
    whole = FAMILY.linearise(explosion.fragments, reference.positions[None], parameters)
    by_tau = -inverse_slopes(whole.by_positions)[0] @ whole.by_parameters[0, :, 0]
    moved = reference.positions + 1e-3 * by_tau.reshape(3, 3)
    slope = (pair_distances(moved[None]) - pair_distances(reference.positions[None]))[0] / 1e-3
    assert found.error[:3] == pytest.approx(np.abs(slope) * width, rel=0.25)
    exactly = systematic(
        solver, solved, told(45.0), reference, GeometryPrior.of(symbols), np.random.default_rng(1)
    )
    assert exactly is None


def test_accidental_events_are_left_out() -> None:
    events, truth = exploded(400, 0.12)
    momenta = events.momentum.copy()
    momenta[:12, 0] = momenta[np.arange(12) + 100, 0]
    momenta[:12] *= 1.7
    found = reconstruct_events(replace(events, momentum=momenta), explosion=told(45.0))
    assert 10 <= found.left_out["unlike"] + found.left_out["unexplained"] <= 14
    bond = pair_distances(truth)[:, :2].mean()
    assert found.distances[0]["mean"] == pytest.approx(bond, abs=0.03)


def test_events_without_momenta_are_left_out_and_counted() -> None:
    events, _ = exploded(6, 0.1)
    events.momentum[2] = 0.0
    events.momentum[4] = np.nan
    found = reconstruct_events(events, explosion=told(45.0))
    assert found.left_out["unusable"] == 2
    assert found.structures.event_id.tolist() == [7, 8, 10, 12]
    events.momentum[:] = 0.0
    with pytest.raises(UsageError, match="no event has usable momenta"):
        reconstruct_events(events)


def test_momenta_that_the_told_explosion_cannot_give() -> None:
    events, _ = exploded(30, 0.05, tau_fs=1.0)
    with pytest.raises(ComputationError, match="no structure explains"):
        reconstruct_events(
            events, options=ReconstructOptions(search=4, samples=4), explosion=told(400.0)
        )


def test_like_ions_are_put_in_the_order_that_fits() -> None:
    random = np.random.default_rng(3)
    wanted = random.standard_normal((6, 3))
    wanted -= wanted.mean(axis=0)
    solver = Solver(explosion_of(("C", "O", "H", "H", "H", "H")), np.zeros(6), [0, 1, 2, 2, 2, 2])
    order = np.array([solver.orders[random.integers(24)] for _ in range(20)])
    turn = Rotation.random(20, random_state=1).as_matrix()
    given = np.empty((20, 6, 3))
    turned = np.einsum("nxk,ix->nik", turn, wanted)
    np.put_along_axis(given, order[:, :, None], turned, axis=1)
    back, found = turned_onto(given, wanted, solver.orders)
    assert (found == order).all()
    np.testing.assert_allclose(back, turn, atol=1e-9)


def test_files(tmp_path: Path) -> None:
    events, _ = exploded(40, 0.1)
    source = tmp_path / "run.aligned.h5"
    write_events(source, events, Provenance.of("a test"))
    answer = answer_of_events(
        source,
        out=tmp_path / "geom.xyz",
        changes=Changes("classical", {"classical": {"tau_fs": 45.0}}),
    )
    again = read_structures_file(tmp_path / "structures.h5")
    mine = answer.found.structures
    np.testing.assert_allclose(again.structures.positions, mine.positions, atol=1e-6)
    assert again.structures.ions == events.ions
    assert again.structures.column is not None
    assert (again.structures.column == mine.column).all()
    assert again.summary["distances_bohr"][0]["mean"] == answer.found.distances[0]["mean"]
    record, _ = read_geometry_json(tmp_path / "geom.json")
    assert record.events is not None
    assert record.events["from_centroids"]["distances_bohr"][0]["of"] == "O+-H+"
    difference = record.events["from_centroids"]["distances_bohr"][0]["difference"]
    assert abs(difference) < 0.1
    only = answer_of_events(
        source, out=tmp_path / "other.h5", centroids=False, changes=Changes("classical")
    )
    assert only.geometry is None
    assert read_structures(tmp_path / "other.h5").event_id.tolist() == mine.event_id.tolist()
    inspected = inspect_file(tmp_path / "structures.h5", verify=True)
    assert inspected.format == "structures"
    assert not inspected.faults
    assert ("rows", 40, "") in inspected.rows
    assert any(label == "mean length O+-H+" for label, _, _ in inspected.rows)
    scored = score(tmp_path / "structures.h5", tmp_path / "geom.xyz")
    assert scored.errors.mae < 1e-4
    text = report(read_results(tmp_path))
    assert "Single events" in text
    assert "H2–O1–H3 (°)" in text
    with pytest.raises(UsageError, match=r"does not end in \.xyz or \.h5"):
        answer_of_events(source, out=tmp_path / "structures.txt")
    with pytest.raises(InputFileError):
        read_structures(source)


@pytest.mark.parametrize("name", ["thiazyl_fluoride", "carbonyl_chloride_fluoride"])
def test_other_structures_that_explain_the_events_stand_beside_the_answer(
    name: str, tmp_path: Path
) -> None:
    """Where several structures explain every event, nobody may take one as certain."""
    events, _ = exploded(60, 0.03, name=name)
    source = tmp_path / "run.aligned.h5"
    write_events(source, events, Provenance.of("a test"))
    answer = answer_of_events(
        source,
        out=tmp_path / "geom.xyz",
        changes=Changes("classical", {"classical": {"tau_fs": 45.0}}),
    )
    record, _ = read_geometry_json(tmp_path / "geom.json")
    assert record.alternatives == answer.record.alternatives
    assert record.alternatives
    true = pair_distances(molecule(name).geometry.positions)
    shown = np.array([row["median"] for row in record.distances])
    others = [pair_distances(np.array(one["positions_bohr"])) for one in record.alternatives]
    assert min(float(np.abs(one - true).max()) for one in (shown, *others)) < 0.1
    shares = [one["share_of_samples"] for one in record.alternatives]
    assert sum(shares, record.closure["share_of_samples"]) <= 1.0 + 1e-9
    assert record.closure["explains_momenta"]
    plausible = any(not one["objections"] for one in record.alternatives)
    said = any("errors are those of the structure shown" in one for one in record.warnings)
    assert said == plausible == (name == "carbonyl_chloride_fluoride")
    beside = record.events["from_centroids"]  # type: ignore[index]
    apart = beside["rmsd_bohr"] > 0.5
    assert apart == any("led to another structure" in one for one in record.warnings)
    count = len(record.alternatives)
    verdict = "1 other fits these" if count == 1 else f"{count} others fit these"
    assert verdict in report(read_results(tmp_path))
