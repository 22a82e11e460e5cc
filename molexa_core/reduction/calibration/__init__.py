"""Calibration of a spectrometer from what must vanish in the momenta of true break-ups."""
