"""Watching a measurement: files that grow are reduced as they come, and shown with alarms."""
