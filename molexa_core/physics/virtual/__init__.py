"""The virtual experiment: molecules in the light beam, ions in flight, detector signals."""
