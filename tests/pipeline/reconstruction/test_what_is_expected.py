"""Where samples of the network count beside the evidence, and what that does to twins."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from molexa_core.base.known_explosion import BuildUpExplosion, Kind, LaserExplosion, XrayExplosion
from molexa_core.base.options.reconstruct_options import ALIKE, LIBRARY, ReconstructOptions
from molexa_core.base.progress import SILENT
from molexa_core.base.settings import Explosion
from molexa_core.base.tables import FloatArray
from molexa_core.base.uncertain import Uncertain
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.network.network import Network
from molexa_core.network.weights import TOLD, ModelCard, default_weights, load_network
from molexa_core.pipeline.explosions.assumed import Assumed
from molexa_core.pipeline.inversion.geometry_belief import believed
from molexa_core.pipeline.reconstruction.by_posterior import _samples_count
from molexa_core.pipeline.reconstruction.reconstruct import reconstruct
from molexa_core.pipeline.reconstruction.task import Measured, Task, measured_in

PULSE = XrayExplosion(
    photon_ev=Uncertain(900.0),
    energy_mj=Uncertain(0.1, 0.01),
    duration_fs=Uncertain(8.0, 0.8),
    focus_um=Uncertain(2.0, 0.2),
    transmission=Uncertain(1.0),
)
SO2 = pd.DataFrame(
    {
        "ion": ["S6+", "O6+", "O6+"],
        "px": [526.86, 70.82, -597.68],
        "py": [0.0, 0.0, 0.0],
        "pz": [-302.87, 725.32, -422.46],
        "px_err": [9.5, 6.1, 5.6],
        "py_err": [1e-3, 1e-3, 1e-3],
        "pz_err": [5.7, 6.0, 6.6],
    }
)
"""Mean momenta of SO2 at rest in that pulse, 27 explosions of the Monte-Carlo model."""


@pytest.fixture(scope="module")
def told() -> tuple[Network, ModelCard]:
    return load_network(TOLD)


def counted(
    loaded: tuple[Network, ModelCard],
    kind: Kind | None = PULSE,
    prior: str | None = None,
    *,
    channels: int = 1,
    unlike: bool = False,
    atoms: int = 3,
) -> bool:
    explosion = Explosion.of(kind)
    belief = believed(ReconstructOptions(prior=prior))
    task = Task(*loaded, Assumed(explosion), 16, 0, belief, 0, SILENT)
    one = measured_in(SO2[:atoms], *loaded, told=explosion.told)
    one = Measured(one.ions, one.momenta, one.errors, [], ["unlike"] if unlike else [], one.name)
    return _samples_count(task, [one] * channels)


def test_samples_count_where_the_network_knows_the_explosion(
    told: tuple[Network, ModelCard],
) -> None:
    assert counted(told)
    assert counted(told, XrayExplosion())
    assert counted(told, prior=LIBRARY)


def test_samples_are_starts_alone_where_it_does_not(told: tuple[Network, ModelCard]) -> None:
    assert not counted(told, prior=ALIKE)
    assert not counted(told, unlike=True)
    assert not counted(told, channels=2)
    assert not counted(told, atoms=2)
    assert not counted(told, None)
    assert not counted(told, LaserExplosion(duration_fs=Uncertain(30.0)))
    assert not counted(told, BuildUpExplosion(tau_fs=Uncertain(30.0)))
    assert not counted(load_network(default_weights()))


@pytest.mark.slow
def test_the_molecule_wins_over_its_twin(told: tuple[Network, ModelCard]) -> None:
    """With all structures of like bonds as probable, oxygen would be bonded to oxygen."""
    found = {
        prior: reconstruct(
            SO2,
            options=ReconstructOptions(prior=prior, search=0),
            network=told,
            explosion=Explosion.of(PULSE),
        )
        for prior in (None, ALIKE)
    }

    def error(prior: str | None) -> FloatArray:
        median = np.array([one["median"] for one in found[prior].distances])
        return np.asarray(np.abs(median * BOHR_ANGSTROM - [1.43, 1.43, 2.47]))

    assert error(None).max() < 0.12
    assert error(ALIKE).max() > 0.3
    claims = np.array([one["half_width"] for one in found[None].distances]) * BOHR_ANGSTROM
    assert (error(None) < 2.5 * claims).all()
    assert "the network say together" in found[None].explosion["geometry_prior"]
    assert "network" not in found[ALIKE].explosion["geometry_prior"]
