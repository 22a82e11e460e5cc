"""The sample of a data set in the repository: what a reader finds in it."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from molexa_core.base.errors import InputFileError
from molexa_core.base.matter.elements import BY_NUMBER
from molexa_core.pipeline.datasets.entries import EntryTable, padded
from molexa_core.pipeline.datasets.read import data_files, read_dataset
from molexa_core.pipeline.datasets.recipe import read_recipe

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "sample"
RECIPE = read_recipe(SAMPLE / "recipe.json")


@pytest.fixture(scope="module")
def table() -> EntryTable:
    return read_dataset(SAMPLE)


def test_there_are_all_elements_and_sizes(table: EntryTable) -> None:
    assert len(table) > 300
    found = {BY_NUMBER[int(number)].symbol for number in np.unique(table.numbers[table.mask])}
    assert found == {"H", "C", "N", "O", "F", "Si", "P", "S", "Cl"}
    assert {2, 3, 4, 5, 6, 9} <= set(table.atoms.tolist())
    assert set(table.names) == set(RECIPE.molecules)
    assert sum(path.stat().st_size for path in data_files(SAMPLE)) < 100_000


def test_entries_are_possible(table: EntryTable) -> None:
    present = table.mask
    assert (table.charges[present] >= 1).all()
    assert (table.charges[present] <= table.numbers[present]).all()
    assert not table.charges[~present].any()
    assert (table.counts > RECIPE.minimum_count).all()
    total = np.abs(table.momenta.astype(np.float64).sum(axis=1))
    assert (total < 0.1 * np.abs(table.momenta).max(axis=(1, 2))[:, None]).all()
    error = np.sqrt((table.errors.astype(np.float64) ** 2).sum(axis=1))
    assert (total < error + 1e-2).all()


def test_ions_fly_apart(table: EntryTable) -> None:
    """Momenta point away from the centre of the charges, and heavy charges leave fast."""
    charge = table.charges[..., None].astype(float)
    centre = (charge * table.positions).sum(axis=1) / charge.sum(axis=1)
    outward = ((table.positions - centre[:, None]) * table.momenta).sum(axis=(1, 2))
    assert (outward > 0).mean() > 0.99
    known = [BY_NUMBER[n].isotope_mass if n in BY_NUMBER else 1.0 for n in range(20)]
    mass = np.array(known)[table.numbers] - table.charges
    kinetic = (table.momenta**2).sum(axis=2) / 2 / mass
    pair = np.linalg.norm(table.positions[:, :, None] - table.positions[:, None], axis=-1)
    product = table.charges[:, :, None].astype(float) * table.charges[:, None]
    both = (product > 0) & (pair > 0)
    coulomb = 0.5 * np.where(both, product / np.where(both, pair, 1), 0).sum(axis=(1, 2))
    ratio = kinetic.sum(axis=1) / coulomb
    assert (ratio < 1.001).all()  # 1: all charges are there while the atoms still rest
    assert 0.3 < np.median(ratio) < 0.9


def test_selected_entries_are_as_wide_as_their_largest_molecule(table: EntryTable) -> None:
    small = table.select(table.atoms <= 3)
    assert small.momenta.shape[1:] == (3, 3)
    assert small.numbers.shape == small.charges.shape == small.mask.shape
    assert read_dataset(SAMPLE, "set_aside").atoms.min() >= 8


def test_padding() -> None:
    dense = padded(np.arange(5), [2, 0, 3], 4)
    assert dense.tolist() == [[0, 1, 0, 0], [0, 0, 0, 0], [2, 3, 4, 0]]


def test_faults_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no such folder"):
        read_dataset(tmp_path / "none")
    with pytest.raises(InputFileError, match=r"no \.h5 files"):
        read_dataset(tmp_path)
    target = tmp_path / "pack-000.h5"
    shutil.copy(data_files(SAMPLE)[0], target)
    shutil.copy(target, tmp_path / "pack-001.h5")
    with h5py.File(tmp_path / "pack-001.h5", "r+") as file:
        file["meta"].attrs["recipe"] = "sha256:other"
    with pytest.raises(InputFileError, match=r"made by another recipe than pack-000\.h5"):
        read_dataset(tmp_path)
    (tmp_path / "pack-001.h5").unlink()
    with h5py.File(target, "r+") as file:
        file["meta"].attrs["format"] = 99
    with pytest.raises(InputFileError, match="format 99 is not known"):
        read_dataset(tmp_path)
    with h5py.File(target, "r+") as file:
        file["meta"].attrs["kind"] = "channels"
    with pytest.raises(InputFileError, match="not part of a data set"):
        read_dataset(tmp_path)
