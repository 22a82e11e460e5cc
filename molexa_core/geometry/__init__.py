"""Structures: superposition, distances between two of them, bonds, plausibility."""
