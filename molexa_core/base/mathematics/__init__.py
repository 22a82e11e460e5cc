"""Directions on a circle, rotations, and what samples of numbers tell."""
