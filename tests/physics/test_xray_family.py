"""The surrogate of the Monte-Carlo model as a family of forward models."""

import math
from dataclasses import replace

import numpy as np
import pytest

from molexa_core.base.errors import UsageError
from molexa_core.base.known_explosion import XrayExplosion
from molexa_core.base.mathematics.rotations import rotations_of
from molexa_core.base.matter.elements import ELEMENTS
from molexa_core.base.tables import FloatArray
from molexa_core.base.uncertain import Uncertain
from molexa_core.physics.family.family import Fragments, WithYields
from molexa_core.physics.surrogate.xray_family import (
    COORDINATES,
    HIGH,
    XrayFamily,
    outside_box,
    xray_prior,
)

PARAMETERS = np.array([math.log(1800.0), math.log(1e12), math.log(15.0), 0.0, 0.02, 0.05])
FORMALDEHYDE = np.array([[0.0, 0, 0], [2.28, 0, 0], [-1.1, 1.77, 0], [-1.1, -1.77, 0]])
"""C, O, H, H in bohr."""


def fragments_of(symbols: str, charges: tuple[int, ...]) -> Fragments:
    masses = [ELEMENTS[s].isotope_mass - q for s, q in zip(symbols, charges, strict=True)]
    return Fragments(tuple(symbols), np.array(charges, float), np.array(masses))


@pytest.fixture(scope="module")
def family() -> XrayFamily:
    return XrayFamily("low")


@pytest.fixture(scope="module")
def positions() -> FloatArray:
    random = np.random.default_rng(4)
    drawn: FloatArray = FORMALDEHYDE + 0.2 * random.normal(size=(5, 4, 3))
    return drawn


@pytest.fixture(scope="module")
def parameters() -> FloatArray:
    random = np.random.default_rng(5)
    drawn: FloatArray = PARAMETERS + 0.1 * random.normal(size=(5, 6)) * [1, 3, 2, 2, 0.1, 0.1]
    return drawn


MOLECULE = fragments_of("COHH", (3, 2, 1, 1))


def test_momenta_sum_to_zero_and_turn_with_the_molecule(
    family: XrayFamily, positions: FloatArray, parameters: FloatArray
) -> None:
    momenta = family.explode(MOLECULE, positions, parameters)
    scale = np.sqrt((momenta**2).mean())
    assert np.abs(momenta.sum(axis=1)).max() < 1e-5 * scale
    turn = rotations_of(np.array([[0.5], [-0.1], [0.7], [0.5]]))[0]
    turned = family.explode(MOLECULE, positions @ turn.T + 3.0, parameters)
    assert np.abs(turned - momenta @ turn.T).max() < 3e-5 * scale
    mirrored = family.explode(MOLECULE, positions * [1, 1, -1], parameters)
    assert np.abs(mirrored - momenta * [1, 1, -1]).max() < 3e-5 * scale


def test_like_atoms_can_be_exchanged(
    family: XrayFamily, positions: FloatArray, parameters: FloatArray
) -> None:
    order = [3, 1, 0, 2]
    other = fragments_of("HOCH", (1, 2, 3, 1))
    momenta = family.explode(MOLECULE, positions, parameters)
    again = family.explode(other, positions[:, order], parameters)
    assert np.abs(again - momenta[:, order]).max() < 3e-5 * np.abs(momenta).max()


def test_what_was_asked_before_changes_nothing(
    family: XrayFamily, positions: FloatArray, parameters: FloatArray
) -> None:
    """Searches ask for momenta, derivatives and errors of the same molecules in turn."""
    alone = [
        (
            family.explode(MOLECULE, positions[k : k + 1], parameters[k : k + 1])[0],
            family.error(MOLECULE, positions[k : k + 1], parameters[k : k + 1])[0],
        )
        for k in range(len(positions))
    ]
    for _ in range(2):
        linear = family.linearise(MOLECULE, positions, parameters)
        errors = family.error(MOLECULE, positions, parameters)
        momenta = family.explode(MOLECULE, positions, parameters)
        for k, (single, error) in enumerate(alone):
            scale = np.abs(single).max()
            assert np.abs(momenta[k] - single).max() < 1e-5 * scale
            assert np.abs(linear.momenta[k] - single).max() < 1e-5 * scale
            assert np.abs(errors[k] - error).max() < 1e-3 * np.abs(error).max()


def test_derivatives_are_those_of_differences(
    family: XrayFamily, positions: FloatArray, parameters: FloatArray
) -> None:
    found = family.linearise(MOLECULE, positions, parameters)
    momenta = family.explode(MOLECULE, positions, parameters)
    assert found.momenta == pytest.approx(momenta, abs=1e-3)
    for column in range(12):
        step = np.zeros(12)
        step[column] = 4e-3
        change = step.reshape(4, 3)
        plus = family.explode(MOLECULE, positions + change, parameters)
        slope = (plus - family.explode(MOLECULE, positions - change, parameters)) / 8e-3
        off = np.abs(slope.reshape(5, -1) - found.by_positions[..., column]).max()
        assert off < 2e-3 * np.abs(found.by_positions).max()
    for column in range(6):
        step = np.zeros(6)
        step[column] = 4e-3
        plus = family.explode(MOLECULE, positions, parameters + step)
        slope = (plus - family.explode(MOLECULE, positions, parameters - step)) / 8e-3
        off = np.abs(slope.reshape(5, -1) - found.by_parameters[..., column]).max()
        assert off < 5e-3 * np.abs(found.by_parameters[..., column]).max() + 0.05


def test_parameters_that_are_known_exactly_cost_nothing(
    family: XrayFamily, positions: FloatArray, parameters: FloatArray
) -> None:
    whole = family.linearise(MOLECULE, positions, parameters)
    still = frozenset(one.name for one in COORDINATES) - {"duration_fs"}
    some = replace(family, still=still).linearise(MOLECULE, positions, parameters)
    assert some.by_parameters[..., 2] == pytest.approx(
        whole.by_parameters[..., 2], rel=1e-4, abs=1e-4
    )
    assert not some.by_parameters[..., [0, 1, 3, 4, 5]].any()


def test_a_pair_of_ions_flies_apart_and_gets_less_from_slower_pulses(family: XrayFamily) -> None:
    pair = fragments_of("NN", (5, 5))  # several photons: the pulse sets how fast charges rise
    positions = np.array([[[0.0, 0, -1.04], [0, 0, 1.04]]])
    durations = np.repeat(PARAMETERS[None], 4, axis=0)
    durations[:, 2] = np.log([3.0, 10.0, 30.0, 60.0])
    momenta = family.explode(pair, np.repeat(positions, 4, axis=0), durations)
    assert np.abs(momenta[:, :, :2]).max() == 0.0
    along = momenta[:, 1, 2]
    assert (np.diff(along) < 0.0).all()
    instant = math.sqrt(2.0 * 0.5 * pair.masses[0] * 25.0 / 2.08)
    assert 0.5 * instant < along[3] < along[0] < instant


def test_the_error_is_a_covariance_without_momentum_of_the_whole(
    family: XrayFamily, positions: FloatArray, parameters: FloatArray
) -> None:
    covariance = family.error(MOLECULE, positions, parameters)
    momenta = family.explode(MOLECULE, positions, parameters)
    scale = np.sqrt((momenta**2).mean(axis=(1, 2)))
    relative = np.sqrt(np.trace(covariance, axis1=1, axis2=2) / 12) / scale
    assert ((relative > 1e-3) & (relative < 0.2)).all()
    assert np.linalg.eigvalsh(covariance).min() > 0.0
    whole = np.tile(np.eye(3), (4, 1))
    of_sum = whole.T @ covariance @ whole
    assert np.sqrt(np.trace(of_sum, axis1=1, axis2=2)).max() < 5e-3 * scale.max()


def test_outside_the_box_the_claim_grows(family: XrayFamily, positions: FloatArray) -> None:
    inside = np.repeat(PARAMETERS[None], 5, axis=0)
    beyond = inside.copy()
    beyond[:, 2] = HIGH[2] + np.array([0.01, 0.1, 0.3, 0.7, 1.5])
    assert not outside_box(inside).any()
    assert outside_box(beyond) == pytest.approx([0.01, 0.1, 0.3, 0.7, 1.5])
    edge = inside.copy()
    edge[:, 2] = HIGH[2]
    one = np.repeat(positions[:1], 5, axis=0)
    widths = [np.trace(family.error(MOLECULE, one, p), axis1=1, axis2=2) for p in (edge, beyond)]
    assert (widths[1] > widths[0]).all()
    assert (np.diff(widths[1]) > 0.0).all()
    at_once = inside.copy()
    at_once[:, 3] = math.log(0.01)
    assert not outside_box(at_once).any()


def test_atoms_in_one_place_give_no_numbers(family: XrayFamily, positions: FloatArray) -> None:
    wrong = positions.copy()
    wrong[1, 3] = wrong[1, 2]
    parameters = np.repeat(PARAMETERS[None], 5, axis=0)
    for momenta in (
        family.explode(MOLECULE, wrong, parameters),
        family.linearise(MOLECULE, wrong, parameters).momenta,
    ):
        assert np.isnan(momenta[1]).all()
        assert np.isfinite(momenta[[0, 2, 3, 4]]).all()


@pytest.mark.parametrize(
    ("symbols", "charges", "said"),
    [
        (("Br", "H"), (2, 1), "does not know Br"),
        (("H",), (1,), "2 to 9 atoms, not for 1"),
        (("H",) * 10, (1,) * 10, "2 to 9 atoms, not for 10"),
        (("O", "H"), (2, 0), "H with a charge of 0"),
        (("O", "H"), (9, 1), "O with a charge of 9"),
    ],
)
def test_other_fragments_are_refused(
    family: XrayFamily, symbols: tuple[str, ...], charges: tuple[int, ...], said: str
) -> None:
    fragments = Fragments(symbols, np.array(charges, float), np.ones(len(symbols)))
    positions = np.arange(3.0 * len(symbols)).reshape(1, -1, 3)
    with pytest.raises(UsageError, match=said):
        family.explode(fragments, positions, PARAMETERS[None])


def test_yields_are_shares_with_errors(family: XrayFamily) -> None:
    assert isinstance(family, WithYields)
    water = np.array([[[0.0, 0, 0], [1.43, 1.1, 0], [-1.43, 1.1, 0]]])
    axis = replace(family, focus="axis")
    strong = PARAMETERS + np.array([0.0, math.log(5.0), 0.0, 0.0, 0.0, 0.0])
    shares = []
    for charge in range(1, 9):
        fragments = fragments_of("OHH", (charge, 1, 1))
        share, error = axis.log_yield(fragments, water, strong[None])
        assert 0.0 < error[0] < 2.0
        shares.append(math.exp(share[0]))
    assert sum(shares) == pytest.approx(1.0, abs=0.2)  # no atom stays neutral
    weak = PARAMETERS[None] - [0.0, 6.0, 0.0, 0.0, 0.0, 0.0]
    rare, _ = axis.log_yield(fragments_of("OHH", (6, 1, 1)), water, weak)
    assert rare[0] < math.log(shares[5]) - 3.0


def test_what_is_told_becomes_a_distribution() -> None:
    told = XrayExplosion(
        photon_ev=Uncertain(1500.0),
        fluence_um2=Uncertain(1e12, 3e11),
        duration_fs=Uncertain(20.0, 4.0),
        double_auger=Uncertain(0.06, 0.02),
        transfer="full",
        focus="axis",
    )
    (only,) = xray_prior(told)
    assert only.weight == 1.0
    assert isinstance(only.family, XrayFamily)
    assert (only.family.rule, only.family.focus, only.family.recapture) == ("full", "axis", False)
    assert only.family.still == {"photon_ev"}
    assert only.belief.mean[:3] == pytest.approx([math.log(1500), math.log(1e12), math.log(20)])
    assert only.belief.width[:3] == pytest.approx([0.0, 0.3, 0.2])
    assert only.belief.width[5] == pytest.approx(0.02)
    assert only.belief.width[3] > 0.5  # not told

    three = xray_prior(XrayExplosion(transfer_time_fs=Uncertain(0.0)))
    assert [one.weight for one in three] == pytest.approx([1 / 3] * 3)
    assert len({one.family.name for one in three}) == 3
    assert three[0].belief.mean[3] == pytest.approx(math.log(0.01))
    assert three[0].belief.width[3] == 0.0


def test_between_photon_energies_of_the_training_less_is_claimed_above_an_edge(
    family: XrayFamily, positions: FloatArray
) -> None:
    energies = np.array([600.0, 650.0, 675.3, 720.0, 760.0])  # the K edge of oxygen is at 537 eV
    parameters = np.repeat(PARAMETERS[None], 5, axis=0)
    parameters[:, 0] = np.log(energies)
    apart = family.model.between_tables(MOLECULE, parameters[:, 0])
    assert apart == pytest.approx([0.0, 0.68, 1.0, 0.46, 0.0], abs=0.01)
    one = np.repeat(positions[:1], 5, axis=0)
    scale = np.sqrt((family.explode(MOLECULE, one, parameters) ** 2).mean(axis=(1, 2)))
    width = np.sqrt(np.trace(family.error(MOLECULE, one, parameters), axis1=1, axis2=2) / 12)
    assert (width / scale)[2] > 0.02 > (width / scale)[[0, 4]].max()
    _, error = family.log_yield(MOLECULE, one, parameters)
    assert error[2] > 3.0 * error[[0, 4]].max()
    # Carbon's edge is at 291 eV: two other ions do not feel that of oxygen.
    chain = fragments_of("CCHH", (3, 2, 1, 1))
    assert not family.model.between_tables(chain, parameters[:, 0]).any()
