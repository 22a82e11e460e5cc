"""Molecules: the shipped library, vibrations, variations, random molecules, measured structures."""
