"""The two layouts of the network, and what makes them fast."""
