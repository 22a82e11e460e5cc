"""What a call believes of the geometry, and what of it is stated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from molexa_core.base.errors import InputFileError, UsageError
from molexa_core.base.options.reconstruct_options import ALIKE, LEARNED, LIBRARY, ReconstructOptions
from molexa_core.base.tables import Geometry
from molexa_core.io.xyz import write_xyz
from molexa_core.physics.molecules.library import molecule
from molexa_core.pipeline.inversion.geometry_belief import believed

SYMBOLS = ("O", "O", "H", "H")


def test_each_prior_says_what_it_contains() -> None:
    library = believed(ReconstructOptions(prior=LIBRARY))
    said = library.statement(samples=True)
    assert "molecules of 3 to 9 atoms that ship" in said
    assert "network" in said
    assert "network" not in library.statement(samples=False)
    assert "all alike" in believed(ReconstructOptions(prior=ALIKE)).statement(samples=False)
    usual = believed(ReconstructOptions())
    assert usual.name == LEARNED
    assert usual.bonds is None
    assert usual.samples
    assert "all alike; structures are as probable" in usual.statement(samples=True)
    none = believed(ReconstructOptions(chemistry=False))
    assert "no chemistry" in none.statement(samples=False)
    assert not none.samples
    assert none.prior(SYMBOLS).scale_width > 1.0


def test_molecules_of_a_file_say_what_is_bonded(tmp_path: Path) -> None:
    path = tmp_path / "own.xyz"
    write_xyz(path, [molecule("hydrogen_peroxide").geometry])
    own = believed(ReconstructOptions(prior=str(path)))
    assert own.bonds is not None
    assert own.bonds.weights["O", "O"] > own.bonds.weights["H", "H"]
    assert "the structure in own.xyz" in own.statement(samples=False)
    # The network knows nothing of the user's molecules.
    assert not own.samples
    library = believed(ReconstructOptions(prior=LIBRARY))
    assert library.bonds is not None

    def bonded(weights: object) -> float:
        assert isinstance(weights, dict)
        return float(weights["O", "O"] / weights["H", "O"])

    assert bonded(own.bonds.weights) > bonded(library.bonds.weights)


def test_what_makes_no_prior_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="without chemistry"):
        believed(ReconstructOptions(prior=LIBRARY, chemistry=False))
    with pytest.raises(UsageError, match="no prior 'libary'") as refused:
        believed(ReconstructOptions(prior="libary"))
    assert refused.value.do is not None
    assert "learned, library, alike, or an XYZ file" in refused.value.do
    with pytest.raises(InputFileError):
        believed(ReconstructOptions(prior=str(tmp_path / "absent.xyz")))
    pair = tmp_path / "pair.xyz"
    write_xyz(pair, [Geometry(("C", "O"), np.array([[0.0, 0.0, 0.0], [2.1, 0.0, 0.0]]))])
    with pytest.raises(UsageError, match="no molecule of three or more atoms"):
        believed(ReconstructOptions(prior=str(pair)))
