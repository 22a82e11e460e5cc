"""Training of the network: loop, checkpoints, several processes."""
