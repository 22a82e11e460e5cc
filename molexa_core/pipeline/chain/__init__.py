"""The analysis chain: hits, coincidences, molecular frame, mean momenta, report."""
