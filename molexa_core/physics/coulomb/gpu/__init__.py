"""Explosions of point charges on graphics cards."""
