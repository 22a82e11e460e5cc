"""Geometry from momenta under everything that is not known about the explosion."""
