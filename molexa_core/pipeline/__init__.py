"""The stages, one file per command: where rooms meet.

Each stage is one function that takes and returns plain tables and arrays, for notebooks.
"""
