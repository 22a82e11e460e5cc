"""Measured first ionization energies of neutral atoms."""

from __future__ import annotations

from typing import Final

from molexa_core.base.units import HARTREE_EV

FIRST_IONIZATION_EV: Final = {
    "H": 13.598,
    "He": 24.587,
    "Li": 5.392,
    "Be": 9.323,
    "B": 8.298,
    "C": 11.260,
    "N": 14.534,
    "O": 13.618,
    "F": 17.423,
    "Ne": 21.565,
    "Na": 5.139,
    "Mg": 7.646,
    "Al": 5.986,
    "Si": 8.152,
    "P": 10.487,
    "S": 10.360,
    "Cl": 12.968,
    "Ar": 15.760,
    "Br": 11.814,
    "Kr": 14.000,
    "I": 10.451,
    "Xe": 12.130,
}
"""NIST Atomic Spectra Database (as mendeleev 1.3.0 has it), eV. The model binds the outermost
electron of some neutral atoms 3 eV too weakly."""


def first_ionization(symbol: str) -> float:
    """Measured first ionization energy of a covered element, hartree."""
    return FIRST_IONIZATION_EV[symbol] / HARTREE_EV
