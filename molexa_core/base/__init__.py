"""Shared by all rooms: errors, units, elements, ions, tables, settings, provenance, progress."""
