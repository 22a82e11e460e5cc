"""What the maps of covariances are made of: sums, and units of work."""
