"""Atomic structure: Hartree-Fock-Slater orbitals, photoionization, Auger decay, fluorescence."""
