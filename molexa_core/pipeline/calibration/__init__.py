"""Calibration of the explosion on molecules of known geometry."""
