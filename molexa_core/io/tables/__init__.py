"""Runs as tables of any maker: text, HDF5, Parquet, numpy, raw records."""
