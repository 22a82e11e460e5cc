"""From hits to momenta to coincidences: spectrometer, gates, false-coincidence search."""
