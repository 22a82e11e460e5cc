"""Runs in tables of other programs: text, HDF5, Parquet, Arrow, numpy, raw records."""
