"""The molecular frame: alignment of coincidences, mean momenta, Newton plots."""
