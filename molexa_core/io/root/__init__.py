"""Runs as ROOT trees."""
