"""Entries of the Monte-Carlo model keep what they hold when joined, selected and stored."""

from pathlib import Path

import pytest
import torch

from molexa_core.base.errors import InputFileError, UsageError
from molexa_core.physics.surrogate.entries import FamilyEntries, concatenate


def _entries(atoms: int, count: int, seed: int = 0) -> FamilyEntries:
    random = torch.Generator().manual_seed(seed)

    def vectors() -> torch.Tensor:
        return torch.randn(count, atoms, 3, generator=random)

    return FamilyEntries(
        numbers=torch.full((count, atoms), 6, dtype=torch.int8),
        charges=torch.full((count, atoms), 2, dtype=torch.int8),
        positions=vectors(),
        momenta=vectors(),
        errors=vectors().abs(),
        spread=vectors().abs(),
        count=torch.arange(count, dtype=torch.int32) + 1,
        trajectories=torch.full((count,), 100, dtype=torch.int32),
        geometry=torch.arange(count) + 7,
        molecule=torch.full((count,), seed),
        settings=torch.randn(count, 9, generator=random),
    )


def test_joined_entries_are_padded_and_come_apart_again() -> None:
    small, large = _entries(2, 3, seed=1), _entries(4, 2, seed=2)
    both = concatenate([small, large])
    assert (len(both), both.width) == (5, 4)
    assert both.atoms.tolist() == [2, 2, 2, 4, 4]
    again = both.select(both.molecule == 1).narrowed()
    assert torch.equal(again.momenta, small.momenta)
    assert torch.equal(again.geometry, small.geometry)
    with pytest.raises(UsageError, match="4 atoms do not fit into 3"):
        both.narrowed(3)


def test_stored_entries_are_the_same(tmp_path: Path) -> None:
    entries = _entries(3, 4)
    path = tmp_path / "block.safetensors"
    entries.save(path)
    again = FamilyEntries.load(path)
    assert torch.equal(again.positions, entries.positions)
    assert again.count.dtype == torch.int32
    assert torch.equal(again.settings, entries.settings)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="cannot be read"):
        FamilyEntries.load(tmp_path / "absent.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors")
    with pytest.raises(InputFileError, match="cannot be read"):
        FamilyEntries.load(tmp_path / "text.safetensors")


def test_shapes_must_fit() -> None:
    entries = _entries(3, 4)
    with pytest.raises(UsageError, match="settings"):
        FamilyEntries(**{**vars(entries), "settings": entries.settings[:, :5]})
