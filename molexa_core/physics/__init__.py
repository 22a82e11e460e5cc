"""Molecules, Coulomb explosion, virtual experiment."""
