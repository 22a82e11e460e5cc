"""The Monte-Carlo model on GPUs."""
