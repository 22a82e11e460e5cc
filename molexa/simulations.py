"""Molecules by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from molexa_core.physics.molecules.library import Molecule


def molecule(name: str) -> Molecule:
    """A shipped molecule by name or formula: geometry, vibrations, bonds.

    Raises:
        InputFileError: no such molecule, or several with this formula.
    """
    from molexa_core.physics.molecules.library import molecule as found  # noqa: PLC0415

    return found(name)
