"""Coincidence search on graphics cards."""
