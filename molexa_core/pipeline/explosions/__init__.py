"""Simulated explosions of known molecules; properties of atoms and molecules."""
