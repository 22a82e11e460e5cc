"""Reduction of a run: hits to ion momenta, coincidence search, momentum-sum gate, purity."""
