"""The stages of the analysis; the command line calls one stage per command.

This is the only package that combines the others (`io`, `detector`, `physics`, `network`, ...).
Each stage is one function on tables and arrays, for notebooks, and one that reads and writes files.
"""
