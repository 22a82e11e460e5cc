"""From momenta to structures."""
