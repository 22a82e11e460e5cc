"""Delay-line anode: sorting of signal edges into hits, calibration, check of the hits."""
