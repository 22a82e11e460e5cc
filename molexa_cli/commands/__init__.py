"""One file per command; each defines `register(app)`."""
