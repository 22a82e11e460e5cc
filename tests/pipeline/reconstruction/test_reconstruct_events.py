"""Reconstruction of single events: the right structures, in the frame of the momenta."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from molexa_core.base.errors import InputFileError, UsageError
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences, FloatArray
from molexa_core.io.results.events import write_events
from molexa_core.io.results.structures import read_structures
from molexa_core.physics.coulomb.batches import explode_many
from molexa_core.physics.coulomb.build_up import ErrorFunctionRise
from molexa_core.physics.molecules.library import molecule
from molexa_core.pipeline.reconstruction.single_events import (
    reconstruct_events,
    reconstruct_events_file,
)


def exploded(count: int, spread: float) -> tuple[Coincidences, FloatArray]:
    """Events of water with bonds of varying length, in random orientations; and the truth."""
    generator = np.random.default_rng(8)
    water = molecule("water").geometry
    ions = tuple(parse_ion(f"{symbol}+") for symbol in water.symbols)
    masses = np.array([ion.mass for ion in ions])
    stretch = 1.0 + spread * generator.standard_normal((count, 1, 1))
    truth = (water.positions - water.positions.mean(axis=0)) * stretch
    turned = np.stack(
        [one @ Rotation.random(random_state=seed).as_matrix().T for seed, one in enumerate(truth)]
    )
    rise = ErrorFunctionRise(45.0)
    momenta = explode_many(turned, np.ones(3), masses, build_up=rise)
    events = Coincidences(ions, np.arange(count) + 7, momenta, np.ones(count), {}, {})
    return events, turned


def test_every_event_gets_its_own_structure() -> None:
    events, truth = exploded(40, 0.1)
    found = reconstruct_events(events)
    structures = found.structures
    assert (structures.event_id == events.event_id).all()
    assert np.abs(structures.positions - truth).mean() < 0.05
    assert np.median(structures.closure) < 0.02
    bond = np.linalg.norm(truth[:, 0] - truth[:, 1], axis=1)
    row = found.distances[0]
    assert row["of"].startswith("O")
    assert row["mean"] == pytest.approx(bond.mean(), abs=0.03)
    assert row["standard_deviation"] == pytest.approx(bond.std(), rel=0.2)
    assert len(found.angles) == 3


def test_an_event_does_not_depend_on_the_others() -> None:
    events, _ = exploded(12, 0.1)
    whole = reconstruct_events(events, seed=3).structures
    part = reconstruct_events(events.select(np.arange(12) < 5), seed=3).structures
    np.testing.assert_allclose(part.positions, whole.positions[:5], atol=1e-4)


def test_events_without_momenta_are_left_out_and_counted() -> None:
    events, _ = exploded(6, 0.1)
    events.momentum[2] = 0.0
    events.momentum[4] = np.nan
    found = reconstruct_events(events)
    assert found.left_out == 2
    assert found.structures.event_id.tolist() == [7, 8, 10, 12]
    events.momentum[:] = 0.0
    with pytest.raises(UsageError, match="no event has usable momenta"):
        reconstruct_events(events)


def test_files(tmp_path: Path) -> None:
    events, _ = exploded(6, 0.1)
    write_events(tmp_path / "run.aligned.h5", events, Provenance.of("a test"))
    found = reconstruct_events_file(tmp_path / "run.aligned.h5", tmp_path / "structures.h5")
    again = read_structures(tmp_path / "structures.h5")
    np.testing.assert_allclose(again.positions, found.structures.positions, atol=1e-6)
    assert again.ions == events.ions
    with pytest.raises(UsageError, match=r"does not end in \.h5"):
        reconstruct_events_file(tmp_path / "run.aligned.h5", tmp_path / "structures.xyz")
    with pytest.raises(InputFileError):
        read_structures(tmp_path / "run.aligned.h5")
