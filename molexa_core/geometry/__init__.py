"""Structures: superposition, errors against a reference structure, bonds, plausibility."""
