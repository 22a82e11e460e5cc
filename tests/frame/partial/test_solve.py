"""Mean momenta of all ions from events in which only some are detected."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from molexa_core.base.errors import ComputationError, NoEventsError, UsageError
from molexa_core.frame.partial.closing import close
from molexa_core.frame.partial.groups import events_of, kinds_of
from molexa_core.frame.partial.solve import PartialMeans, solve_partial
from tests.fakes.partial_events import CHIRAL, angular, channel_of, partial_events


def away(found: PartialMeans, molecule: dict[str, list[list[float]]]) -> float:
    """Largest distance of a momentum from the truth, over the size of the true one."""
    names = [ion for ion in molecule for _ in molecule[ion]]
    true = np.array([p for ion in molecule for p in molecule[ion]])
    assert [str(ion) for ion in found.ions] == names
    best = np.inf
    protons = [i for i, name in enumerate(names) if name == "H+"]
    for order in permutations(protons):
        place = np.arange(len(names))
        place[protons] = order
        turn, _ = Rotation.align_vectors(found.momentum, true[place])
        rest = np.linalg.norm(found.momentum - turn.apply(true[place]), axis=1)
        best = min(best, float((rest / np.linalg.norm(true[place], axis=1)).max()))
    return best


@pytest.mark.parametrize("detected", [1, 2])
def test_all_momenta_are_found(detected: int, rng: np.random.Generator) -> None:
    molecule = angular()
    channel = channel_of(molecule, {"H+": detected})
    table = partial_events(molecule, channel, rng, molecules=900)
    found = solve_partial(table, channel)
    assert away(found, molecule) < 0.03
    np.testing.assert_allclose(found.momentum.sum(axis=0), 0.0, atol=1e-9)
    assert found.closed.sum_share < 0.02
    assert found.momentum[0, 0] > 0
    np.testing.assert_allclose(found.momentum[0, 1:], 0.0, atol=1e-9)
    protons = found.count[2:]
    assert protons.min() > 0.8 * protons.max()
    assert found.summary["false_per_event"]["H+"] == pytest.approx(0.3, abs=0.12)


@pytest.mark.slow
def test_a_chiral_molecule_and_its_mirror_image_together(rng: np.random.Generator) -> None:
    channel = channel_of(CHIRAL, {"H+": 1})
    table = partial_events(CHIRAL, channel, rng, molecules=1200, racemic=True)
    found = solve_partial(table, channel)
    assert found.summary["mirror_images"]
    mirrored = {ion: [[x, y, -z] for x, y, z in momenta] for ion, momenta in CHIRAL.items()}
    assert min(away(found, CHIRAL), away(found, mirrored)) < 0.04


def test_one_hand_of_a_chiral_molecule(rng: np.random.Generator) -> None:
    channel = channel_of(CHIRAL, {"H+": 1})
    found = solve_partial(partial_events(CHIRAL, channel, rng, molecules=900), channel)
    assert not found.summary["mirror_images"]
    assert away(found, CHIRAL) < 0.03


def test_an_ion_that_is_never_detected_comes_from_conservation(rng: np.random.Generator) -> None:
    molecule = angular()
    channel = channel_of(molecule, {"H+": 1, "C+": 0})
    table = partial_events(molecule, channel, rng, molecules=900, efficiency=0.6)
    found = solve_partial(table, channel)
    assert away(found, molecule) < 0.05
    assert found.count[1] == 0
    assert "conservation" in found.labels[1]


@pytest.mark.slow
def test_protons_without_directions_are_refused(rng: np.random.Generator) -> None:
    molecule = angular()
    channel = channel_of(molecule, {"H+": 1})
    table = partial_events(molecule, channel, rng, molecules=500)
    sizes = np.linalg.norm(table.momentum[:, 2], axis=1)
    anywhere = rng.normal(size=(len(table), 3))
    table.momentum[:, 2] = anywhere * (sizes / np.linalg.norm(anywhere, axis=1))[:, None]
    with pytest.raises((ComputationError, NoEventsError)):
        solve_partial(table, channel)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_a_wrong_number_of_ions_is_refused_or_told(count: int, rng: np.random.Generator) -> None:
    molecule = angular()
    table = partial_events(molecule, channel_of(molecule, {"H+": 1}), rng, molecules=600)
    wrong = {**molecule, "H+": [[0.0, 0.0, 1.0]] * count}
    try:
        found = solve_partial(table, channel_of(wrong, {"H+": 1}))
    except (ComputationError, NoEventsError):
        return
    assert found.warnings


def test_too_few_events_are_refused(rng: np.random.Generator) -> None:
    molecule = angular()
    channel = channel_of(molecule, {"H+": 1})
    table = partial_events(molecule, channel, rng, molecules=60)
    with pytest.raises(NoEventsError, match="too few"):
        solve_partial(table, channel)


def test_two_ions_that_are_never_detected_are_refused(rng: np.random.Generator) -> None:
    molecule = angular()
    channel = channel_of(molecule, {"H+": 0})
    table = partial_events(molecule, channel, rng, molecules=10)
    with pytest.raises(UsageError, match="conservation gives one ion only"):
        solve_partial(table, channel)


def test_rows_of_a_shot_are_one_event(rng: np.random.Generator) -> None:
    molecule = angular()
    channel = channel_of(molecule, {"H+": 1})
    table = partial_events(molecule, channel, rng, molecules=50, false=0.0)
    events = events_of(table, kinds_of(channel))
    assert len(events) == len(np.unique(table.tags["shot"]))
    assert events.counts(2).sum() == len(table)
    assert (events.counts(0) == 1).all()


def test_closing_changes_the_least_certain_most() -> None:
    momentum = np.array([[10.0, 0.0, 0.0], [-9.0, 0.0, 0.0]])
    covariance = np.array([0.01 * np.eye(3), 0.04 * np.eye(3)])
    closed = close(momentum, covariance)
    np.testing.assert_allclose(closed.momentum, [[9.8, 0.0, 0.0], [-9.8, 0.0, 0.0]], rtol=1e-6)
    assert closed.scale == pytest.approx(np.sqrt(1.0 / 0.05 / 3.0), rel=1e-6)
    assert closed.sum_share == pytest.approx(1.0 / 19.0)
    # Both have the same error now: each is minus the other.
    np.testing.assert_allclose(closed.covariance[0], closed.covariance[1], rtol=1e-6)
