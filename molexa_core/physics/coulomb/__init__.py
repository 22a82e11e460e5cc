"""Coulomb explosion of point charges: build-up of the charges, momenta, derivatives."""
