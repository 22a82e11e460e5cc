from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.tables import Geometry
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.geometry.bonds import bonds
from molexa_core.physics.molecules.library import molecule


@pytest.mark.parametrize(("name", "count"), [("water", 2), ("cf4", 4), ("ethanol", 8)])
def test_equilibrium_structures_have_their_bonds(name: str, count: int) -> None:
    assert len(bonds(molecule(name).geometry)) == count


def test_a_pair_is_joined_up_to_135_percent_of_its_radii() -> None:
    # Covalent radii: O 0.63, H 0.32 angstrom.
    for stretch, joined in ((1.34, ((0, 1),)), (1.36, ())):
        positions = np.array([[0, 0, 0], [0, 0, stretch * 0.95 / BOHR_ANGSTROM]])
        assert bonds(Geometry(("O", "H"), positions)) == joined
