"""Data sets of simulated explosions."""
