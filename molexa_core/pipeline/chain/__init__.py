"""From hits to mean momenta in the molecular frame, and to the report."""
