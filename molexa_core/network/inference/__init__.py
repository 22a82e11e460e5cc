"""From momenta to structures with a trained network: sampling, refinement, error bars."""
