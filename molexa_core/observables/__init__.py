"""Observables of coincidences by name, conditions on them, and regions in two of them."""
