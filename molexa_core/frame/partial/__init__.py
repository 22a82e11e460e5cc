"""Partial coincidences: mean momenta of all ions from events in which only some are detected."""
