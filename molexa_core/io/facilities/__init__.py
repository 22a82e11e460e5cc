"""Runs of free-electron lasers in the files that the facilities write."""
