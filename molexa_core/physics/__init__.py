"""Physics: atoms, molecules in an X-ray pulse, Coulomb explosion, virtual experiment."""
