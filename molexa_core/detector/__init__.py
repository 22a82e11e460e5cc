"""Edges to hits: sorting of delay-line signals, and its calibration."""
