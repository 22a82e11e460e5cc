"""The Monte-Carlo model on graphics cards."""
