"""Explosions of known molecules, and the atoms in them."""
