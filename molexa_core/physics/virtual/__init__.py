"""The virtual experiment: molecules in the light, ions in flight, signals of the detector."""
