"""Training of the network, on simulated explosions and on data sets."""
