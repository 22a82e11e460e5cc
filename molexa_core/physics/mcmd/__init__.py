"""Monte Carlo cascades of the atoms and molecular dynamics of the ions in an X-ray pulse."""
