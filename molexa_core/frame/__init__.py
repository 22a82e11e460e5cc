"""The molecular frame: alignment, centroids, maps, comparison of structures."""
